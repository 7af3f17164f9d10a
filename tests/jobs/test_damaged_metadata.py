"""A store or model whose metadata is damaged: one clear line or the right answer, never a traceback or a wrong one."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobs import main
from tests.command_lines import parser
from tests.fuzzing import damaged_document

QUICK = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,  # what is refused once must be refused again; with another seed it looks for others
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_folder: Path) -> Iterator[Path]:
    """A store with all that a store can hold, and a model, beside their pictures."""
    folder = tmp_path_factory.mktemp("damaged")
    root = logging.getLogger()
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers, level = list(root.handlers), root.level
    patch = pytest.MonkeyPatch()
    patch.setattr(main, "app", parser())
    patch.chdir(folder)
    shutil.copytree(small_folder, "in")
    fit = ["in", "--k", "3", "--attempts", "1", "--scheduler", "sync"]
    assert call("run", *fit, "-o", "store.zarr", "--confidence", "--edges", "50,100")[0] == 0
    assert call("fit", *fit, "-o", "model.zarr")[0] == 0
    yield folder
    patch.undo()
    root.handlers[:] = handlers
    root.setLevel(level)
    for number, handler in heard.items():
        signal.signal(number, handler)


def call(*line: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.run_command(list(line))
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def damage(path: Path, seed: int) -> Iterator[None]:
    sound = path.read_bytes()
    try:
        path.write_bytes(damaged_document(sound, np.random.default_rng(seed)))
        yield
    finally:
        path.write_bytes(sound)


def told(line: str) -> dict[str, object] | None:
    """What a command says on stdout, once it has ended as commands end."""
    code, out, err = call(*line.split())
    assert code in (0, 1, 2, 3)
    assert "kseg-batch: unexpected" not in err
    assert "Traceback" not in err
    assert code in (0, 3) or err.count("\n") <= 1, err
    return json.loads(out) if code in (0, 3) else None


DOCUMENTS = (
    "zarr.json",
    "model/zarr.json",
    "model/centroids/zarr.json",
    "images/a.png/zarr.json",
    "images/a.png/labels/kmeans/zarr.json",
    "images/a.png/labels/kmeans/0/zarr.json",
    "images/a.png/masks/zarr.json",
    "images/a.png/edges/zarr.json",
)


@given(seed=st.integers(0, 2**32 - 1), document=st.sampled_from(DOCUMENTS))
@example(seed=1773, document="images/a.png/labels/kmeans/0/zarr.json")  # no column
@example(seed=277, document="images/a.png/zarr.json")  # sums above all that NumPy counts
@QUICK
def test_a_damaged_store_is_described_checked_and_exported_or_refused(made: Path, seed: int, document: str) -> None:
    with damage(made / "store.zarr" / document, seed):
        told("inspect store.zarr --json")
        told("check store.zarr --json --scheduler sync")
        told("export store.zarr --to out --what labels,masks,boundaries --overwrite --json --scheduler sync")


@pytest.mark.slow
@given(seed=st.integers(0, 2**32 - 1), document=st.sampled_from(DOCUMENTS))
@settings(QUICK, max_examples=4)
def test_a_report_of_a_damaged_store_is_made_or_refused(made: Path, seed: int, document: str) -> None:
    with damage(made / "store.zarr" / document, seed):
        told("report store.zarr --to report --overwrite --json --scheduler sync --thumbnail 16")


@given(
    seed=st.integers(0, 2**32 - 1),
    document=st.sampled_from(["zarr.json", "centroids/zarr.json", "colors/zarr.json", "counts/zarr.json"]),
)
@example(seed=10, document="centroids/zarr.json")  # the same
@QUICK
def test_a_damaged_model_labels_as_it_did_or_is_refused(made: Path, seed: int, document: str) -> None:
    line = "apply in --model model.zarr -o applied.zarr --json --scheduler sync"
    shutil.rmtree("applied.zarr", ignore_errors=True)
    sound = told(line)
    assert sound is not None
    with damage(made / "model.zarr" / document, seed):
        told("inspect model.zarr --json")
        told("check model.zarr --json")
        told("fit in --k 3 --attempts 1 -o model.zarr --scheduler sync --json")
        shutil.rmtree("applied.zarr", ignore_errors=True)
        labelled = told(line)
        assert labelled is None or labelled["counts"] == sound["counts"]


CONTENTS = (b"{", b"null", b"", b"[]", b"\xff\xfe", b'{"zarr_format": 3}', b"[" * 100_000)


@pytest.mark.few(8)
@pytest.mark.parametrize(
    ("document", "content"),
    [
        pytest.param(
            document,
            content,
            marks=() if document in ("zarr.json", "images/a.png/zarr.json") or i < 2 else pytest.mark.slow,
            id=f"{document}-{i}",
        )
        for document in DOCUMENTS
        for i, content in enumerate(CONTENTS)
    ],
)
def test_a_document_that_is_none_is_a_clear_error(made: Path, document: str, content: bytes) -> None:
    path = made / "store.zarr" / document
    sound = path.read_bytes()
    path.write_bytes(content)
    try:
        for line in ("inspect store.zarr --json", "check store.zarr --json --scheduler sync"):
            told(line)
    finally:
        path.write_bytes(sound)
