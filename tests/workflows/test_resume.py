"""A stopped job given again: what it had read, found and written is not done again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kseg_core import open_store
from kseg_core.config import ExecutionSettings, FitSettings, OutputSettings, RunConfig
from kseg_core.errors import StoreError
from kseg_core.reading import sources
from kseg_core.reading.sources import Piece
from kseg_core.resume.lock import sweep_after_kill
from kseg_core.storage.sidecars import sidecar
from workflows import run as jobs
from workflows.dry_run import dry_run
from workflows.labelling import label_plan
from workflows.request import InputSelection, Request, prepare


class Stopped(BaseException):
    """As from outside."""


def request(folder: Path, output: Path, k: int = 3, kind: str = "store", **fit: Any) -> Request:
    config = RunConfig(FitSettings(k, **{"attempts": 2, **fit}), OutputSettings(tile=64), ExecutionSettings("sync"))
    return prepare(InputSelection((str(folder),)), config, str(output), kind)


READ: list[str] = []
REAL = {name: getattr(Piece, name) for name in ("read", "read_samples")}


def read(piece: Piece, *more: Any) -> Any:
    """Of this module, and not of a fixture: its name is what checkpoints know it by."""
    READ.append(piece.source.file.key)
    return REAL["read"](piece, *more)


def read_samples(piece: Piece, *more: Any) -> Any:
    READ.append(piece.source.file.key)
    return REAL["read_samples"](piece, *more)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The image of every piece that is read, in order."""
    READ.clear()
    monkeypatch.setattr(Piece, "read", read)
    monkeypatch.setattr(Piece, "read_samples", read_samples)
    return READ


def stop_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int) -> None:
    """Have a function stop the job at its ``call``-th call."""
    real, calls = getattr(module, name), [0]

    def stopping(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise Stopped
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, stopping)


def test_a_job_stopped_after_the_fit_neither_reads_for_it_nor_searches_again(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: list[str], contents: Any
) -> None:
    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_at(patch, label_plan, "write_image", 2)
        with pytest.raises(Stopped):
            jobs.run(request(small_folder, output))
    assert sorted(os.listdir(tmp_path)) == [".out.zarr.resume", "out.zarr"]
    readings.clear()
    monkeypatch.setattr(jobs, "fit_one", None)  # not called
    result = jobs.run(request(small_folder, output))
    assert (result.images.labelled, result.images.reused) == (2, 1)
    assert len(readings) == 2
    assert os.listdir(tmp_path) == ["out.zarr"]
    monkeypatch.undo()
    jobs.run(request(small_folder, tmp_path / "whole.zarr"))
    assert contents(output) == contents(tmp_path / "whole.zarr")


@pytest.mark.parametrize("kind", ["store", "model"])
@pytest.mark.parametrize("features", ["rgb", "bands"])
def test_what_was_read_for_the_fit_is_not_read_again(
    features: str,
    kind: str,
    small_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    readings: list[str],
    contents: Any,
) -> None:
    output = tmp_path / "out.zarr"
    carry_out = jobs.run if kind == "store" else jobs.fit
    with monkeypatch.context() as patch:
        solver = "workflows.fitting.fit.fit_points"
        patch.setattr(solver, lambda *_, **__: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            carry_out(request(small_folder, output, kind=kind, features=features))
    kept = Path(sidecar(str(output), ".resume"))
    assert list(kept.glob("*/*.kept"))
    readings.clear()
    again = request(small_folder, output, kind=kind, features=features)
    result = carry_out(again)
    look = 4 if features == "bands" else 0  # headers: one pixel of each image, and of the first once more
    assert len(readings) - look == (3 if kind == "store" else 0)  # for labels alone
    assert result.images.failed == 0
    assert not kept.exists()
    whole = request(small_folder, tmp_path / "whole.zarr", kind=kind, features=features)
    carry_out(whole)
    assert contents(output) == contents(tmp_path / "whole.zarr")


def test_pieces_of_a_large_image_are_not_labelled_again(
    tmp_path: Path, png: Any, smooth: Any, monkeypatch: pytest.MonkeyPatch, readings: list[str], contents: Any
) -> None:
    import tifffile

    monkeypatch.setattr(sources, "PIECE_PX", 128 * 128)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", smooth(400, 500, 3), tile=(64, 64), photometric="rgb")
    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_at(patch, label_plan, "write_window", 7)
        with pytest.raises(Stopped):
            jobs.run(request(tmp_path / "in", output))
    (output / "images/a.tif/labels/kmeans/0/0.deadbeef.partial").write_text("half")
    readings.clear()
    result = jobs.run(request(tmp_path / "in", output))
    assert (result.images.labelled, result.images.reused) == (1, 0)
    assert len(readings) == 16 - 6
    jobs.run(request(tmp_path / "in", tmp_path / "whole.zarr"))
    assert contents(output) == contents(tmp_path / "whole.zarr")
    files = [{str(path.relative_to(store)) for path in store.rglob("*")} for store in (output, tmp_path / "whole.zarr")]
    assert files[0] == files[1]


def test_what_another_job_kept_is_swept_and_overwrite_starts_anew(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: list[str]
) -> None:
    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_at(patch, label_plan, "write_image", 1)
        with pytest.raises(Stopped):
            jobs.run(request(small_folder, output))
    with pytest.raises(StoreError, match="other settings"):
        request(small_folder, output, k=2)
    config = RunConfig(FitSettings(3, attempts=2), OutputSettings(tile=64, overwrite=True), ExecutionSettings("sync"))
    anew = prepare(InputSelection((str(small_folder),)), config, str(output), "store")
    readings.clear()
    result = jobs.run(anew)
    assert (len(readings), result.images.labelled) == (6, 3)
    assert open_store(str(output)).complete
    assert os.listdir(tmp_path) == ["out.zarr"]


def overwriting(folder: Path, output: str, k: int = 2) -> Request:
    config = RunConfig(FitSettings(k, attempts=2), OutputSettings(tile=64, overwrite=True), ExecutionSettings("sync"))
    return prepare(InputSelection((str(folder),)), config, output, "store")


@pytest.mark.parametrize("at", [1, 3])
def test_an_output_that_is_replaced_stays_whole_until_its_successor_is(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Any, at: int
) -> None:
    output = tmp_path / "out.zarr"
    jobs.run(request(small_folder, output))
    before = contents(output)
    with monkeypatch.context() as patch:
        stop_at(patch, label_plan, "write_image", at)
        with pytest.raises(Stopped):
            jobs.run(overwriting(small_folder, str(output)))
    assert contents(output) == before
    assert sorted(os.listdir(tmp_path)) == [".out.zarr.resume", "out.zarr"]
    result = jobs.run(overwriting(small_folder, str(output)))
    assert (result.output, result.images.labelled) == (str(output), 3)
    jobs.run(request(small_folder, tmp_path / "whole.zarr", k=2))
    assert contents(output) == contents(tmp_path / "whole.zarr")


def test_a_successor_whose_publishing_was_stopped_is_published_by_the_next_job(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    output = tmp_path / "out.zarr"
    jobs.run(request(small_folder, output))
    with monkeypatch.context() as patch:
        rename = os.rename

        def stop(path: str, to: str) -> None:
            if path.endswith(".next"):
                raise Stopped
            rename(path, to)

        patch.setattr(os, "rename", stop)
        with pytest.raises(Stopped):
            jobs.run(overwriting(small_folder, str(output)))
    assert not output.exists()
    with pytest.raises(StoreError, match="another run has just finished there"):
        jobs.run(request(small_folder, output, k=2))
    jobs.run(request(small_folder, tmp_path / "whole.zarr", k=2))
    assert contents(output) == contents(tmp_path / "whole.zarr")
    assert request(small_folder, output, k=2).finished is not None
    sweep_after_kill(str(output))
    assert sorted(os.listdir(tmp_path)) == ["out.zarr", "whole.zarr"]


def test_a_damaged_kept_file_is_read_anew(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("workflows.fitting.fit.fit_points", lambda *_, **__: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            jobs.run(request(small_folder, output))
    for path in Path(sidecar(str(output), ".resume")).glob("*/*.kept"):
        path.write_bytes(path.read_bytes()[:-1])
    jobs.run(request(small_folder, output))
    jobs.run(request(small_folder, tmp_path / "whole.zarr"))
    assert contents(output) == contents(tmp_path / "whole.zarr")


@pytest.mark.parametrize("bands", [{"features": "bands"}, {"features": "bands", "normalize": "standard"}])
def test_what_was_read_of_bands_is_not_read_again(
    bands: dict[str, Any],
    small_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    readings: list[str],
    contents: Any,
) -> None:
    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("workflows.fitting.fit.points_of_bands", lambda *_, **__: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            jobs.run(request(small_folder, output, **bands))
    readings.clear()
    jobs.run(request(small_folder, output, **bands))
    resumed = len(readings)
    jobs.run(request(small_folder, tmp_path / "whole.zarr", **bands))
    assert resumed <= len(readings) - resumed - 3  # the pass that was kept, at least
    assert contents(output) == contents(tmp_path / "whole.zarr")


# ------------------------------------------------------------------------------------------------------ a dry run


def test_a_dry_run_tells_what_is_left_to_do_and_touches_nothing(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_file: Any
) -> None:
    output = tmp_path / "out.zarr"
    sizes = {path.name: path.stat().st_size for path in small_folder.iterdir()}
    anew = dry_run(request(small_folder, output)).to_json()
    assert anew["images"] == {"total": 3, "to_do": 3, "reused": 0, "large": 0, "failed": 0}
    with monkeypatch.context() as patch:
        stop_at(patch, label_plan, "write_image", 3)
        with pytest.raises(Stopped):
            jobs.run(request(small_folder, output))
    before = every_file(tmp_path)
    left = dry_run(request(small_folder, output)).to_json()
    assert left["images"] == {"total": 3, "to_do": 1, "reused": 2, "large": 0, "failed": 0}
    assert (left["pixels"], left["read"]) == ({"total": 40 * 50}, {"bytes": sizes["a.png"]})  # the smallest comes last
    assert left["write"]["bytes_at_most"] < anew["write"]["bytes_at_most"]
    assert every_file(tmp_path) == before
    jobs.run(request(small_folder, output))
    done = dry_run(request(small_folder, output)).to_json()
    assert done["images"] == {"total": 3, "to_do": 0, "reused": 3, "large": 0, "failed": 0}
    assert (done["pixels"], done["read"], done["write"]["bytes_at_most"]) == ({"total": 0}, {"bytes": 0}, 0)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def other_figure(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        document = json.loads(path.read_text())
        facts = document["attributes"]["kseg"]
        facts[name] = [facts[name][0] + 1, *facts[name][1:]] if isinstance(facts[name], list) else facts[name] + 1
        path.write_text(json.dumps(document))

    return change


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("zarr.json", cut_short),
        ("zarr.json", other_figure("counts")),
        ("zarr.json", other_figure("invalid")),
        ("zarr.json", other_figure("shape")),
        ("labels/kmeans/zarr.json", cut_short),
        ("labels/kmeans/zarr.json", Path.unlink),
    ],
)
def test_a_finished_image_whose_documents_are_damaged_is_done_again(
    name: str,
    damage: Callable[[Path], None],
    small_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contents: Any,
) -> None:
    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_at(patch, label_plan, "write_image", 3)
        with pytest.raises(Stopped):
            jobs.run(request(small_folder, output))
    whole = tmp_path / "whole.zarr"
    jobs.run(request(small_folder, whole))
    finished = sorted(path.parent for path in output.glob("images/*/zarr.json"))
    assert len(finished) == 2
    damage(finished[0] / name)
    result = jobs.run(request(small_folder, output))
    assert (result.images.labelled, result.images.reused) == (2, 1)
    assert contents(output) == contents(whole)


@pytest.fixture
def stopped_in_pieces(tmp_path: Path, smooth: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a job that had labelled six of sixteen pieces of the one image in the folder ``in``."""
    import tifffile

    monkeypatch.setattr(sources, "PIECE_PX", 128 * 128)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", smooth(400, 500, 3), tile=(64, 64), photometric="rgb")
    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_at(patch, label_plan, "write_window", 7)
        with pytest.raises(Stopped):
            jobs.run(request(tmp_path / "in", output))
    return output


def test_a_damaged_chunk_of_a_stopped_image_is_one_error_and_the_same_command_makes_it_anew(
    stopped_in_pieces: Path, tmp_path: Path, contents: Any
) -> None:
    output, whole = stopped_in_pieces, tmp_path / "whole.zarr"
    chunk = next(path for path in (output / "images/a.tif/labels/kmeans/0/c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(StoreError, match=r"c/\d+/\d+: a damaged chunk .* the same command labels its image anew"):
        jobs.run(request(tmp_path / "in", output))
    jobs.run(request(tmp_path / "in", output))
    jobs.run(request(tmp_path / "in", whole))
    assert contents(output) == contents(whole)


@pytest.mark.few(3)
@pytest.mark.parametrize("damage", [Path.unlink, cut_short])
@pytest.mark.parametrize("name", ["labels", "labels/kmeans/0", "labels/kmeans/1", "masks"])
def test_a_stopped_image_whose_arrays_are_damaged_is_made_anew(
    name: str, damage: Callable[[Path], None], stopped_in_pieces: Path, tmp_path: Path, contents: Any
) -> None:
    whole = tmp_path / "whole.zarr"
    damage(stopped_in_pieces / "images/a.tif" / name / "zarr.json")
    jobs.run(request(tmp_path / "in", stopped_in_pieces))
    jobs.run(request(tmp_path / "in", whole))
    assert contents(stopped_in_pieces) == contents(whole)
