"""Jobs as the commands ask for them, with settings by their names alone, and what is asked of their stores."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core import open_store, storage
from kseg_core.classes import Classes
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.inputs.keys import earlier_key
from workflows.request import InputSelection, Request, prepare
from workflows.result import JobResult

if TYPE_CHECKING:
    from workflows.sweep import SweepResult

SYNC = ExecutionSettings("sync")
RunJob = Callable[..., JobResult]
Inputs = Path | str | Sequence[Path | str]
Settings = TypeVar("Settings")
MODEL = ".model.zarr"  # how the output of a fit is named here


def selection(inputs: Inputs) -> InputSelection:
    """Inputs as a command names them."""
    return InputSelection(tuple(map(str, (inputs,) if isinstance(inputs, str | Path) else inputs)))


def configured(
    k: Any = 4,
    *,
    model: Path | str | None = None,
    match: Path | str | None = None,
    refit: bool = False,
    classes: Classes | None = None,
    mask: Path | str | None = None,
    **settings: Any,
) -> RunConfig:
    """What a job is told: each setting goes to the part that has it. With a model nothing is fitted."""
    settings = {"scheduler": "sync", "mask": None if mask is None else str(mask), **settings}

    def part(of: type[Settings], **given: Any) -> Settings:
        names = {field.name for field in fields(of)} & settings.keys()  # type: ignore[arg-type]
        return of(**{**given, **{name: settings.pop(name) for name in names}})

    written, execution, read = part(OutputSettings), part(ExecutionSettings), part(InputSettings)
    fit = None if model is not None else part(FitSettings, k=k, attempts=3)
    assert not settings, f"no job has the settings {sorted(settings)}"
    given = (None if path is None else str(path) for path in (model, match))
    return RunConfig(fit, written, execution, read, *given, classes=classes, refit=refit)


def kind_of(output: Path | str) -> str:
    return "model" if str(output).endswith(MODEL) else "store"


def asked(inputs: Inputs, output: Path | str, k: Any = 4, *, result: str | None = None, **settings: Any) -> Request:
    """The request of a run; of a fit where ``output`` is named ``*.model.zarr``, or ``result`` says so."""
    return prepare(selection(inputs), configured(k, **settings), str(output), result or kind_of(output))


def run_job(inputs: Inputs, output: Path | str, k: Any = 4, *, progress: Any = None, **settings: Any) -> JobResult:
    """Make a store as ``kseg-batch run`` does, or a model with ``output`` named ``*.model.zarr``."""
    from workflows import run as jobs

    request = asked(inputs, output, k, **settings)
    assert request.finished is None, "the output is there already"
    return (jobs.fit if kind_of(output) == "model" else jobs.run)(request, progress)


def as_earlier(store: Path) -> None:
    """Name the images of a store as release 0.1.0 did."""
    for key in list(open_store(str(store))):
        (store / "images" / key).rename(store / "images" / f"{key.replace('/', ' ')}.aside")
    for folder in store.joinpath("images").iterdir():
        if folder.is_dir() and not folder.name.endswith(".aside"):
            shutil.rmtree(folder)
    for folder in store.joinpath("images").glob("*.aside"):
        source = json.loads((folder / "zarr.json").read_text())["attributes"]["kseg"]["source"]
        folder.rename(store / "images" / earlier_key(source.partition("/in/")[2]))
    document = json.loads((store / "zarr.json").read_text())
    del document["attributes"]["kseg"]["names"]
    (store / "zarr.json").write_text(json.dumps(document))


def run_sweep(inputs: Inputs, output: Path, k_range: tuple[int, int], **settings: Any) -> SweepResult:
    """Sweep as ``kseg-batch sweep`` does."""
    from workflows.sweep import sweep
    from workflows.sweep_request import prepare_sweep

    config = configured("auto", k_range=k_range, **{"attempts": 2, **settings})
    return sweep(prepare_sweep(selection(inputs), config, str(output)))


def problems(store: Path) -> list[str]:
    """What ``check`` finds wrong with a store."""
    from workflows.check import check_store

    found = check_store(str(store), SYNC)
    assert found["status"] == ("failed" if found["problems"] else "ok")
    lines: list[str] = found["problems"]
    return lines


def labels_of(store: Path, key: str | None = None) -> NDArray[Any]:
    """Labels of an image, or of the first."""
    opened = open_store(str(store))
    return np.asarray((opened[key] if key else next(iter(opened.values()))).labels[...])


def failed(result: JobResult) -> dict[str, str]:
    """Why each input failed, by its name."""
    return {Path(failure.source).name: failure.reason for failure in result.failures}


@contextmanager
def stopped_at(file: str, times: int = 1) -> Iterator[None]:
    """Ctrl-C comes as a file whose path matches is to be written, for the so-manieth time, and the job ends so."""
    written, left = storage.put, [times]

    def put(path: str, parts: Any) -> None:
        matches = re.search(file, path) is not None
        if matches and left[0] == 1:
            raise KeyboardInterrupt
        written(path, parts)
        left[0] -= matches

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012 - what is within
        patch.setattr(storage, "put", put)
        yield


#: The document of an image, which is written last.
IMAGE_DOCUMENT = r"/images/[^/]+/zarr\.json$"
