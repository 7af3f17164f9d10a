"""A stopped job given again: what it had read, found and written is not done again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile

from kseg_core import open_store
from kseg_core.errors import StoreError
from kseg_core.resume.lock import sweep_after_kill
from kseg_core.storage.sidecars import sidecar
from tests.asking import asked
from tests.conftest import Contents, pieces_of
from tests.killing import files_below, finished_images, finished_pieces, stamp
from tests.progress import Listener, Stopped
from workflows import run as jobs
from workflows.dry_run import dry_run
from workflows.request import Request

LABELLED = 4  # tasks of a stopped job: the two small images, and two of the four pieces of the large one


def request(folder: Path, output: Path, k: int = 3, **how: Any) -> Request:
    return asked(folder, output, k, **{"result": "store", "tile": 64, "attempts": 2, "features": "rgb", **how})


def stopped(asked: Request, at: str, after: int = 0, carry_out: Any = jobs.run) -> None:
    with pytest.raises(Stopped):
        carry_out(asked, Listener(at, after))


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    with pieces_of(128):
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """Two small images, and one of four pieces that is worked on last. Not to be changed for good."""
    folder = tmp_path_factory.mktemp("resume") / "in"
    for name, seed in (("a.png", 20), ("b.png", 21)):
        png(folder / name, smooth(60 + seed, 70, seed))
    tifffile.imwrite(folder / "c.tif", smooth(140, 150, 3), tile=(64, 64), photometric="rgb")
    return folder


@pytest.fixture(scope="module")
def whole(pictures: Path, contents: Any) -> tuple[Path, Contents]:
    """An undisturbed run. Not to be changed."""
    output = pictures.parent / "whole.zarr"
    jobs.run(request(pictures, output))
    return output, contents(output)


@pytest.fixture(scope="module")
def halfway(pictures: Path) -> Path:
    """The folder of a job that was stopped as it labelled. Not to be changed."""
    folder = pictures.parent / "halfway"
    folder.mkdir()
    stopped(request(pictures, folder / "out.zarr"), "labelling", LABELLED)
    assert sorted(os.listdir(folder)) == [".out.zarr.resume", "out.zarr"]
    return folder


@pytest.fixture
def output(halfway: Path, tmp_path: Path) -> Path:
    """The output of that job, to be gone on with."""
    shutil.copytree(halfway, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out.zarr"


def test_a_job_stopped_as_it_labelled_neither_fits_again_nor_writes_again_what_was_written(
    pictures: Path, output: Path, whole: tuple[Path, Contents], contents: Any
) -> None:
    (output / "images/c.tif/labels/kmeans/0/0.deadbeef.partial").write_text("half")
    written = finished_images(output) | finished_pieces(output, 64)
    assert {path.split("/images/")[1][:5] for path in written} == {"a.png", "b.png", "c.tif"}
    listener = Listener()
    result = jobs.run(request(pictures, output), listener)
    assert (result.images.labelled, result.images.reused) == (1, 2)
    assert not {"reading colours", "finding centroids"} & set(listener.stages)
    assert listener.tasks["labelling"] == 1 + 2  # what is there is told at once; then two pieces
    assert {path: stamp(Path(path)) for path in written} == written
    assert os.listdir(output.parent) == ["out.zarr"]
    assert contents(output) == whole[1]
    assert files_below(output) == files_below(whole[0])


@pytest.mark.parametrize("kind", ["store", "model"])
@pytest.mark.parametrize(
    "fit", [{}, {"features": "bands"}, {"features": "bands", "normalize": "standard"}], ids=["rgb", "bands", "standard"]
)
def test_what_was_read_for_the_fit_is_not_read_again(
    fit: dict[str, Any], kind: str, pictures: Path, tmp_path: Path, contents: Any
) -> None:
    """Nobody notices that the pictures' ends are damaged meanwhile."""
    output, carry_out = tmp_path / "out.zarr", jobs.fit if kind == "model" else jobs.run
    folder = Path(shutil.copytree(pictures, tmp_path / "in"))
    stopped(request(folder, output, result=kind, **fit), "finding centroids", carry_out=carry_out)
    kept = Path(sidecar(str(output), ".resume"))
    assert list(kept.glob("*/*.kept"))
    # Of bands one pixel of each image is read again: all of one that can only be decoded whole.
    for path in folder.glob("*.tif" if fit else "*"):
        change(path, lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2))

    def restore() -> None:
        shutil.copytree(pictures, folder, dirs_exist_ok=True)

    result = carry_out(request(folder, output, result=kind, **fit), Listener("labelling", deed=restore))
    assert result.images.failed == 0
    assert not kept.exists()
    restore()
    carry_out(request(folder, tmp_path / "whole.zarr", result=kind, **fit))
    assert contents(output) == contents(tmp_path / "whole.zarr")


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    """Another content with the same time."""
    status = path.stat()
    path.write_bytes(how(path.read_bytes()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_damaged_kept_file_is_read_anew(
    pictures: Path, tmp_path: Path, whole: tuple[Path, Contents], contents: Any
) -> None:
    output = tmp_path / "out.zarr"
    stopped(request(pictures, output), "finding centroids")
    for path in Path(sidecar(str(output), ".resume")).glob("*/*.kept"):
        path.write_bytes(path.read_bytes()[:-1])
    jobs.run(request(pictures, output))
    assert contents(output) == whole[1]


# -------------------------------------------------------------------------------------------------------- replacing


def test_what_another_job_kept_is_swept_and_overwrite_starts_anew(pictures: Path, output: Path) -> None:
    with pytest.raises(StoreError, match="other settings"):
        request(pictures, output, k=2)
    listener = Listener()
    result = jobs.run(request(pictures, output, overwrite=True), listener)
    assert (listener.images["reading colours"], listener.images["labelling"], result.images.labelled) == (3, 3, 3)
    assert open_store(str(output)).complete
    assert os.listdir(output.parent) == ["out.zarr"]


@pytest.fixture(scope="module")
def successor(pictures: Path, contents: Any) -> Contents:
    """What an undisturbed run of other settings makes."""
    output = pictures.parent / "successor.zarr"
    jobs.run(request(pictures, output, k=2))
    return dict(contents(output))


@pytest.mark.parametrize("after", [0, 3])
def test_an_output_that_is_replaced_stays_whole_until_its_successor_is(
    after: int, pictures: Path, tmp_path: Path, whole: tuple[Path, Contents], successor: Contents, contents: Any
) -> None:
    output = Path(shutil.copytree(whole[0], tmp_path / "out.zarr"))
    stopped(request(pictures, output, k=2, overwrite=True), "labelling", after)
    assert contents(output) == whole[1]
    assert sorted(os.listdir(tmp_path)) == [".out.zarr.resume", "out.zarr"]
    result = jobs.run(request(pictures, output, k=2, overwrite=True))
    assert (result.output, result.images.labelled) == (str(output), 3)
    assert contents(output) == successor


def test_a_successor_whose_publishing_was_stopped_is_published_by_the_next_job(
    pictures: Path, tmp_path: Path, whole: tuple[Path, Contents], successor: Contents, contents: Any, monkeypatch: Any
) -> None:
    output = Path(shutil.copytree(whole[0], tmp_path / "out.zarr"))
    rename = os.rename

    def stop(path: str, to: str) -> None:
        if path.endswith(".next"):
            raise Stopped
        rename(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", stop)
        with pytest.raises(Stopped):
            jobs.run(request(pictures, output, k=2, overwrite=True))
    assert not output.exists()
    with pytest.raises(StoreError, match="another run has just finished there"):
        jobs.run(request(pictures, output, k=2))
    assert contents(output) == successor
    assert request(pictures, output, k=2).finished is not None
    sweep_after_kill(str(output))
    assert os.listdir(tmp_path) == ["out.zarr"]


# ------------------------------------------------------------------------------------------------------ a dry run


def test_a_dry_run_tells_what_is_left_to_do_and_touches_nothing(
    pictures: Path, output: Path, tmp_path: Path, whole: tuple[Path, Contents], every_file: Any
) -> None:
    anew = dry_run(request(pictures, tmp_path / "new.zarr")).to_json()
    assert anew["images"] == {"total": 3, "to_do": 3, "reused": 0, "large": 1, "failed": 0}
    before = every_file(tmp_path)
    left = dry_run(request(pictures, output)).to_json()
    assert left["images"] == {"total": 3, "to_do": 1, "reused": 2, "large": 1, "failed": 0}
    assert (left["pixels"], left["read"]) == ({"total": 140 * 150}, {"bytes": (pictures / "c.tif").stat().st_size})
    assert left["write"]["bytes_at_most"] < anew["write"]["bytes_at_most"]
    assert every_file(tmp_path) == before
    done = dry_run(request(pictures, whole[0])).to_json()
    assert done["images"] == {"total": 3, "to_do": 0, "reused": 3, "large": 0, "failed": 0}
    assert (done["pixels"], done["read"], done["write"]["bytes_at_most"]) == ({"total": 0}, {"bytes": 0}, 0)


# ---------------------------------------------------------------------------------------- damaged meanwhile


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def other_figure(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        document = json.loads(path.read_text())
        facts = document["attributes"]["kseg"]
        facts[name] = [facts[name][0] + 1, *facts[name][1:]] if isinstance(facts[name], list) else facts[name] + 1
        path.write_text(json.dumps(document))

    return change


FINISHED: list[tuple[str, Callable[[Path], None]]] = [
    ("zarr.json", cut_short),
    ("zarr.json", other_figure("counts")),
    ("zarr.json", other_figure("invalid")),
    ("zarr.json", other_figure("shape")),
    ("labels/kmeans/zarr.json", cut_short),
    ("labels/kmeans/zarr.json", Path.unlink),
]
IN_PIECES: list[tuple[str, Callable[[Path], None]]] = [
    (f"{name}/zarr.json", act)
    for name in ("labels", "labels/kmeans/0", "labels/kmeans/1", "masks")
    for act in (Path.unlink, cut_short)
]
DAMAGES = [("a.png", *each) for each in FINISHED] + [("c.tif", *each) for each in IN_PIECES]


@pytest.mark.parametrize(("key", "name", "damage"), DAMAGES)
def test_an_image_whose_documents_are_damaged_is_done_again(
    key: str, name: str, damage: Callable[[Path], None], pictures: Path, output: Path, whole: Any, contents: Any
) -> None:
    damage(output / "images" / key / name)
    listener = Listener()
    result = jobs.run(request(pictures, output), listener)
    assert (result.images.labelled, result.images.reused) == ((2, 1) if key == "a.png" else (1, 2))
    assert listener.tasks["labelling"] == 4
    assert contents(output) == whole[1]


def test_a_damaged_chunk_of_a_stopped_image_is_one_error_and_the_same_command_makes_it_anew(
    pictures: Path, output: Path, whole: tuple[Path, Contents], contents: Any
) -> None:
    chunk = next(path for path in (output / "images/c.tif/labels/kmeans/0/c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(StoreError, match=r"c/\d+/\d+: a damaged chunk .* the same command labels its image anew"):
        jobs.run(request(pictures, output))
    jobs.run(request(pictures, output))
    assert contents(output) == whole[1]
