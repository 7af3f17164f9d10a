"""What tests of several floors share: small pictures, real data, and stores as digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Each of pytest's processes has a core: the judges' threads, several in each, would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import zarr
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from tests.asking import RunJob, run_job
from tests.command_lines import (  # noqa: F401 - fixtures, but for the first
    SILENT,
    cluster,
    kseg,
    parse_json,
    program,
    program_environment,
    programs,
)
from tests.object_store import aws, bucket, object_store  # noqa: F401 - fixtures

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs that are started here would ignore it too

settings.register_profile("no times", deadline=None)  # machines are shared, and kernels compile in the first example
settings.load_profile("no times")


ROOT = Path(__file__).parent.parent
sys.path.append(
    str(ROOT)
)  # worker processes have this path too and find what tests define; what is installed comes first
DATA_VARIABLE = "KSEG_TEST_DATA"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the cases of a test with ``@pytest.mark.few(n)`` all but n, spread over them, are slow."""
    cases = dict[tuple[Path, str], list[pytest.Item]]()
    for item in items:
        if item.get_closest_marker("few") is not None:
            cases.setdefault((item.path, item.name.partition("[")[0]), []).append(item)
    for group in cases.values():
        marker = group[0].get_closest_marker("few")
        assert marker is not None
        chosen = {round(place) for place in np.linspace(0, len(group) - 1, marker.args[0])}
        for index, item in enumerate(group):
            if index not in chosen:
                item.add_marker("slow")


U8 = NDArray[np.uint8]
Contents = dict[str, str]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests decides how they end."""
    for name in list(os.environ):
        if name.startswith("KSEG_") and name != DATA_VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv(*SILENT)


# ---------------------------------------------------------------------------------------------- real data


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real pictures; tests that want it are skipped where there is none."""
    named = os.environ.get(DATA_VARIABLE)
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            f"no real data in {folder}: set {DATA_VARIABLE} to the folder that holds kodak/, broken/ and others"
        )
    return folder


# ----------------------------------------------------------------------------------------- pictures


def smooth_picture(height: int, width: int, seed: int) -> U8:
    """A gradient with a few soft blobs and noise: clusters mean something, and thousands of colours."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    picture = np.empty((height, width, 3))
    for channel in range(3):
        a, b, phase = random.uniform(-1, 1, 3)
        picture[..., channel] = 128 + 70 * (a * x + b * y) + 40 * np.sin(6 * (x * b - y * a) + 3 * phase)
    for _ in range(3):
        cy, cx = random.uniform(0, 0.8, 2)
        blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 0.02)
        picture += blob[..., None] * random.uniform(-90, 90, 3)
    picture += random.normal(0, 6, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def flat_picture(height: int, width: int, seed: int) -> U8:
    """A checkerboard of six evenly spaced grays, each as frequent as the others: full of ties."""
    cells = np.random.default_rng(seed).permutation(6)
    y, x = np.mgrid[0:height, 0:width]
    gray = (cells[(y // 4 + x // 4) % 6] * 40).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def save_png(path: Path, picture: NDArray[Any]) -> Path:
    """Write a picture without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


#: Height and width of `smooth_folder`'s pictures: above and below tiles of 256 and of 1024.
SMOOTH_SIZES = ((300, 520), (97, 131), (260, 90), (64, 64), (33, 200), (1, 300), (150, 150), (40, 1100))


@pytest.fixture(scope="session")
def smooth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight smooth pictures, one of them with a transparent corner. Not to be changed."""
    folder = tmp_path_factory.mktemp("smooth") / "pictures"
    for index, (height, width) in enumerate(SMOOTH_SIZES):
        picture = smooth_picture(height, width, seed=index)
        if index == 2:
            alpha = np.full((height, width, 1), 255, np.uint8)
            alpha[:50, :40] = 0
            alpha[60:, :10] = 1  # nearly transparent is not transparent
            picture = np.concatenate([picture, alpha], axis=2)
        save_png(folder / f"picture-{index}.png", picture)
    return folder


@pytest.fixture(scope="session")
def flat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of six grays each, full of ties. Not to be changed."""
    folder = tmp_path_factory.mktemp("flat") / "pictures"
    for index in range(5):
        save_png(folder / f"flat-{index}.png", flat_picture(48, 24 * (index + 1), seed=index))
    return folder


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small smooth pictures for tests that are about something else. Not to be changed."""
    folder = tmp_path_factory.mktemp("small") / "pictures"
    for index, name in enumerate(["a.png", "b.png", "c.png"]):
        save_png(folder / name, smooth_picture(40, 50 + index, seed=20 + index))
    return folder


@pytest.fixture(scope="session")
def smooth() -> Callable[[int, int, int], U8]:
    """The maker of smooth pictures: height, width, seed."""
    return smooth_picture


@pytest.fixture(scope="session")
def png() -> Callable[[Path, NDArray[Any]], Path]:
    """The writer of pictures without loss."""
    return save_png


# ------------------------------------------------------------------------------------------- jobs and stores


@pytest.fixture(scope="session")
def job() -> RunJob:
    """The maker of stores, as ``kseg-batch run`` makes them."""
    return run_job


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets from which size on work is done in parts: ``parts(piece=64)``."""
    return lambda **sizes: in_parts(monkeypatch, **sizes)


def in_parts(
    patch: pytest.MonkeyPatch,
    *,
    piece: int | None = None,
    held: int | None = None,
    window: int | None = None,
    block: int | None = None,
    photo: int | None = None,
    named: int | None = None,
) -> None:
    """From which size on work is done in parts, in this process alone: small images go the way of large ones.

    The side of a piece, how many pixels of bands are held, the side of what is verified in one task, the side of a
    block that is segmented, how many pixels of a photograph are, and the side of what is named in one task.
    """
    for name, size in (
        ("kseg_core.reading.sources.PIECE_PX", piece and piece * piece),
        ("kseg_core.clustering.band_points.HELD_PX", held),
        ("kseg_core.store.tally.VERIFY_PX", window),
        ("workflows.labelling.segmenting.BLOCK", block),
        ("kseg_core.segments.lifting.WORKING_PX", photo),
        ("kseg_core.store.naming.WINDOW_PX", named),
        ("workflows.labelling.naming.WINDOW_PX", named),
    ):
        if size is not None:
            patch.setattr(name, size)


@contextlib.contextmanager
def pieces_of(side: int) -> Iterator[None]:
    """The same for a while: pieces of side x side pixels."""
    with pytest.MonkeyPatch.context() as patch:
        in_parts(patch, piece=side)
        yield


#: Attributes that say when, how long or where, and not what.
CIRCUMSTANCES = frozenset({"created", "seconds", "folder", "modified"})


def _facts_alone(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _facts_alone(item) for name, item in value.items() if name not in CIRCUMSTANCES}
        return {name: item for name, item in kept.items() if not (name == "output" and isinstance(item, str))}
    return [_facts_alone(item) for item in value] if isinstance(value, list) else value


def store_contents(path: Path) -> Contents:
    """Every array's and every group's digest, by path and part; times, durations and places apart.

    ``<path>:values`` is over dtype, shape and all values of an array, ``<path>:layout`` over its chunks and fill value,
    ``<path>:attributes`` over the attributes of either.
    """
    root = zarr.open_group(str(path), mode="r")
    contents: Contents = {}
    for name, node in [("", root), *sorted(root.members(max_depth=None))]:
        attributes = json.dumps(_facts_alone(dict(node.attrs)), sort_keys=True)
        contents[f"{name}:attributes"] = hashlib.sha256(attributes.encode()).hexdigest()
        if isinstance(node, zarr.Array):
            values = np.ascontiguousarray(node[...])
            whole = f"{values.dtype.str}{values.shape}".encode() + values.tobytes()
            contents[f"{name}:values"] = hashlib.sha256(whole).hexdigest()
            contents[f"{name}:layout"] = f"chunks {node.chunks}, fill {node.fill_value}"
    return contents


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], Contents]:
    """What a store holds, to the last bit: two runs are the same where these dictionaries are equal."""
    return store_contents


@pytest.fixture(scope="session")
def every_file() -> Callable[[Path], dict[str, tuple[int, int]]]:
    """Size and modification time of everything below a folder."""

    def look(folder: Path) -> dict[str, tuple[int, int]]:
        found = {}
        for path in sorted([folder, *folder.rglob("*")]):
            status = path.lstat()
            found[str(path)] = (status.st_size, status.st_mtime_ns)
        return found

    return look
