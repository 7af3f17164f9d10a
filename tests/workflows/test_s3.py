"""Inputs and outputs in an object store: the bits of a disk, and what is different where nothing can be renamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

import kseg_core
from kseg_core import storage
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import StoreError
from kseg_core.resume.lock import sweep_after_kill
from kseg_core.storage import s3
from kseg_core.store.manifest import read_attributes, remove_kseg_store
from kseg_core.store.model import Model
from kseg_core.store.opening import open_store
from tests.object_store import chunks_below, documents_below, objects_below, upload, versions
from workflows import run as jobs
from workflows.check import check_store
from workflows.repair import repair_store
from workflows.request import InputSelection, Request, prepare
from workflows.result import JobResult

LABELS = "/labels/kmeans/0/c/"
SETTINGS = FitSettings(4, attempts=2)


def asked(inputs: str, output: str, kind: str = "store", scheduler: str = "threads", **how: Any) -> Request:
    execution = ExecutionSettings(scheduler, 2 if scheduler == "threads" else None)
    fit = None if how.get("model") else how.pop("fit", SETTINGS)
    config = RunConfig(fit, how.pop("stored", OutputSettings()), execution, **how)
    return prepare(InputSelection((inputs,)), config, output, kind)


def done(inputs: str, output: str, **how: Any) -> JobResult:
    request = asked(inputs, output, **how)
    assert request.finished is None
    return (jobs.fit if how.get("kind") == "model" else jobs.run)(request)


@pytest.fixture
def pictures(small_folder: Path, bucket: str) -> str:
    """The address of three pictures."""
    return upload(small_folder, f"{bucket}/in")


def test_from_and_to_an_object_store_are_the_bits_of_a_disk(
    small_folder: Path, pictures: str, bucket: str, tmp_path: Path
) -> None:
    local = str(tmp_path / "out.zarr")
    done(str(small_folder), local)
    outputs = [f"{bucket}/out.zarr", f"{bucket}/from-disk.zarr", str(tmp_path / "from-store.zarr")]
    for inputs, output in zip((pictures, str(small_folder), pictures), outputs, strict=True):
        result = done(inputs, output)
        assert result.images.labelled == 3
        assert chunks_below(output) == chunks_below(local)
    names = {name.split("/")[0] for name in objects_below(bucket)}
    assert names == {"in", "out.zarr", "from-disk.zarr"}  # no lock and nothing kept is left
    assert not any(name.startswith(".") for name in objects_below(bucket))


@pytest.mark.slow
def test_a_store_there_is_read_as_one_on_a_disk(pictures: str, bucket: str) -> None:
    done(pictures, f"{bucket}/out.zarr", stored=OutputSettings(masks=True, pyramid=True, copy_image=True))
    store = kseg_core.open_store(f"{bucket}/out.zarr")
    assert list(store) == ["a.png", "b.png", "c.png"]
    image = store["a.png"]
    assert image.source == f"{pictures}/a.png"
    labels = np.asarray(image.labels[...])
    assert image.masks is not None
    assert (np.asarray(image.masks[...]).argmax(axis=0) == labels).all()
    assert store.model.digest == Model.load(f"{bucket}/out.zarr").digest == kseg_core.Model.load(store.path).digest
    dataset = image.to_xarray()
    assert (dataset["labels"].values == labels).all()
    assert set(dataset.data_vars) == {"labels", "masks", "image"}
    found = check_store(f"{bucket}/out.zarr", ExecutionSettings("sync"))
    assert found["problems"] == []


@pytest.mark.slow
def test_a_model_there_labels_what_is_new_and_leaves_the_rest(
    small_folder: Path, pictures: str, bucket: str, smooth: Callable[..., Any], png: Callable[..., Path], tmp_path: Path
) -> None:
    model, output = f"{bucket}/m.zarr", f"{bucket}/out.zarr"
    done(pictures, model, kind="model")
    assert done(pictures, output, model=model).images.labelled == 3
    before = {name: storage.stat(f"{output}/{name}").st_mtime_ns for name in objects_below(output)}
    storage.put(f"{pictures}/d.png", [png(tmp_path / "d.png", smooth(30, 40, 9)).read_bytes()])
    storage.put(f"{pictures}/b.png", [(small_folder / "c.png").read_bytes()])  # another picture of that name
    result = done(pictures, output, model=model)
    assert (result.images.labelled, result.images.reused) == (2, 2)
    after = {name: storage.stat(f"{output}/{name}").st_mtime_ns for name in objects_below(output)}
    rewritten = {name.split("/")[1] for name in after if after[name] != before.get(name) and "/" in name}
    assert rewritten == {"b.png", "d.png"}


@pytest.mark.slow
def test_the_same_job_again_does_nothing_and_another_is_refused(pictures: str, bucket: str) -> None:
    done(pictures, f"{bucket}/out.zarr")
    assert asked(pictures, f"{bucket}/out.zarr").finished is not None
    with pytest.raises(StoreError, match="made with other settings"):
        asked(pictures, f"{bucket}/out.zarr", fit=FitSettings(3))
    storage.put(f"{pictures}/a.png", [storage.read(f"{pictures}/b.png")])
    with pytest.raises(StoreError, match="made from other inputs"):
        asked(pictures, f"{bucket}/out.zarr")
    done(pictures, f"{bucket}/out.zarr", stored=OutputSettings(overwrite=True))
    assert asked(pictures, f"{bucket}/out.zarr").finished is not None


def test_what_is_replaced_stays_whole_until_its_successor_is_and_publishing_goes_on_where_it_was_stopped(
    pictures: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, other = f"{bucket}/out.zarr", f"{bucket}/other.zarr"
    done(pictures, output)
    before = chunks_below(output)
    anew = {"fit": FitSettings(3), "stored": OutputSettings(overwrite=True)}
    done(pictures, other, fit=FitSettings(3))
    with monkeypatch.context() as patch:
        patch.setattr("workflows.run.label_plan", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            done(pictures, output, **anew)
    assert chunks_below(output) == before
    with monkeypatch.context() as patch:
        patch.setattr(s3, "copy_tree", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            done(pictures, output, fit=FitSettings(3), stored=OutputSettings(overwrite=True))
    assert objects_below(output) == []
    with pytest.raises(StoreError, match="another run has just finished there"):
        done(pictures, output, fit=FitSettings(3))
    assert chunks_below(output) == chunks_below(other)
    assert asked(pictures, output, fit=FitSettings(3)).finished is not None
    sweep_after_kill(output)
    assert not any(name.startswith(".") for name in objects_below(bucket))


def test_only_a_kseg_store_is_replaced(pictures: str, bucket: str) -> None:
    with pytest.raises(StoreError, match="not a kseg store"):
        asked(pictures, pictures, stored=OutputSettings(overwrite=True))
    with pytest.raises(StoreError, match="not a kseg store"):
        asked(pictures, f"{pictures}/a.png")
    assert objects_below(pictures) == ["a.png", "b.png", "c.png"]


@pytest.mark.slow
def test_a_store_whose_removal_was_stopped_is_completed_by_the_same_command(
    pictures: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"{bucket}/out.zarr"
    done(pictures, output)
    whole = chunks_below(output)
    remove, calls = s3._remove, [0]

    def once(path: str, bucket: str, keys: Any) -> None:
        calls[0] += 1
        if calls[0] == 2:
            remove(path, bucket, [key for key in keys if "a.png" in key])
            raise KeyboardInterrupt
        remove(path, bucket, keys)

    monkeypatch.setattr(s3, "_remove", once)
    with pytest.raises(KeyboardInterrupt):
        remove_kseg_store(output)
    monkeypatch.setattr(s3, "_remove", remove)
    assert (read_attributes(output) or {})["status"] == "running"
    assert 0 < len(objects_below(output)) < len(whole)
    assert done(pictures, output).images.labelled == 3
    assert chunks_below(output) == whole


def test_pieces_written_before_a_stop_are_not_written_again(
    bucket: str, tmp_path: Path, smooth: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 128 * 128)
    tiles = OutputSettings(tile=64)
    tifffile.imwrite(tmp_path / "in.tif", smooth(220, 210, 1), tile=(64, 64), photometric="rgb")
    storage.put(f"{bucket}/in.tif", [(tmp_path / "in.tif").read_bytes()])
    done(str(tmp_path / "in.tif"), str(tmp_path / "whole.zarr"), stored=tiles)
    put, written, stop_at = storage.put, list[str](), [2]

    def stopping(path: str, parts: Any) -> None:
        if "/.pieces-" in path and sum("/.pieces-" in each for each in written) in stop_at:
            raise KeyboardInterrupt
        put(path, parts)
        written.append(path)

    output = f"{bucket}/out.zarr"
    monkeypatch.setattr(storage, "put", stopping)
    with pytest.raises(KeyboardInterrupt):
        done(f"{bucket}/in.tif", output, scheduler="sync", stored=tiles)
    last_told = max(at for at, path in enumerate(written) if "/.pieces-" in path)
    told, untold = ({path for path in part if LABELS in path} for part in (written[:last_told], written[last_told:]))
    assert told
    assert untold
    written.clear()
    stop_at.clear()
    done(f"{bucket}/in.tif", output, scheduler="sync", stored=tiles)
    again = {path for path in written if LABELS in path}
    assert not told & again
    assert untold < again
    assert len(told | again) == 16  # tiles of 64 x 64
    assert chunks_below(output) == chunks_below(str(tmp_path / "whole.zarr"))


def test_of_a_large_picture_each_task_fetches_its_window_alone(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = np.random.default_rng(0).integers(0, 64, (2048, 2048, 3), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", picture, tile=(256, 256), photometric="rgb", compression="deflate")
    size = (tmp_path / "in.tif").stat().st_size
    storage.put(f"{bucket}/in.tif", [(tmp_path / "in.tif").read_bytes()])
    from kseg_core.images import open_picture
    from kseg_core.storage import ranges

    fetched: list[int] = []
    made = ranges.RangeFile.__init__

    def counting(self: Any, fetch: Any, size_bytes: int) -> None:
        def counted(ranges: Any) -> Any:
            fetched.extend(stop - start for start, stop in ranges)
            return fetch(ranges)

        made(self, counted, size_bytes)

    monkeypatch.setattr(ranges.RangeFile, "__init__", counting)
    with open_picture(f"{bucket}/in.tif") as opened:
        window = opened.rgb(slice(512, 1024), slice(1024, 1536)).samples
    assert (window == picture[512:1024, 1024:1536]).all()
    assert size / 16 < sum(fetched) < size / 10
    assert max(fetched) < size / 20


def test_a_georeference_and_a_folder_of_masks_are_read_from_there(bucket: str, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(0).integers(0, 255, (3, 64, 80), np.uint8)
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000)
    with rasterio.open(
        tmp_path / "in" / "a.tif", "w", driver="GTiff", width=80, height=64, count=3, dtype="uint8",
        crs="EPSG:32633", transform=transform, photometric="RGB",
    ) as file:  # fmt: skip
        file.write(values)
    mask = np.zeros((64, 80), np.uint8)
    mask[10:, :] = 255
    tifffile.imwrite(tmp_path / "masks" / "a.tif", mask)
    upload(tmp_path, f"{bucket}/all")
    outputs = []
    for place, output in ((str(tmp_path), str(tmp_path / "out.zarr")), (f"{bucket}/all", f"{bucket}/out.zarr")):
        done(f"{place}/in", output, input=InputSettings(mask=f"{place}/masks"))
        image = open_store(output)["a.tif"]
        assert (np.asarray(image.labels[:10]) == 255).all()
        outputs.append((image.georeference, chunks_below(output)))
    assert outputs[0] == outputs[1]
    assert outputs[0][0] is not None
    assert "32633" in outputs[0][0].crs_wkt


def test_a_zarr_array_there_is_an_image(bucket: str, tmp_path: Path, smooth: Callable[..., Any]) -> None:
    picture = smooth(90, 120, 3)
    for place in (str(tmp_path / "in" / "a.zarr"), f"{bucket}/in/a.zarr"):
        zarr.create_array(storage.for_zarr(place), data=picture, chunks=(64, 64, 3))
    done(str(tmp_path / "in"), str(tmp_path / "out.zarr"))
    assert done(f"{bucket}/in", f"{bucket}/out.zarr").images.labelled == 1
    assert chunks_below(f"{bucket}/out.zarr") == chunks_below(str(tmp_path / "out.zarr"))


def test_an_object_that_changes_while_it_is_read_is_no_image(
    pictures: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(pictures, f"{bucket}/out.zarr")
    storage.put(f"{pictures}/b.png", [storage.read(f"{pictures}/a.png")])
    storage.remove_file(f"{pictures}/c.png")
    result = jobs.run(request)
    assert [(error.source.rpartition("/")[2], error.reason) for error in result.failures] == [
        ("b.png", "changed while it was being read; run again"),
        ("c.png", "no such object"),
    ]


# ---------------------------------------------------------------------------------------------- check and repair

LARGE = "large.tif"  # of several pieces and levels


def remove(path: str) -> None:
    assert storage.is_file(path)
    storage.remove_file(path)


def cut_short(path: str) -> None:
    content = storage.read(path)
    storage.put(path, [content[: len(content) // 2]])


def flip(path: str) -> None:
    content = bytearray(storage.read(path))
    content[-6] ^= 1
    storage.put(path, [bytes(content)])


def break_document(path: str) -> None:
    assert path.endswith("zarr.json")
    cut_short(path)


#: What is done to which object of which image, and what is told of that; and of the large image the corners (in tiles)
#: of the windows that are labelled anew. None: all of it is.
Damages = list[tuple[Callable[[str], None], str, str, str]]
DAMAGES: dict[str, tuple[Damages, set[tuple[int, int]] | None]] = {
    "deleted": (
        [
            (remove, "b.png", "confidence/c/0/0", "the confidence of 2040 pixels disagrees with their validity"),
            (remove, LARGE, "labels/kmeans/0/c/1/0", "no file for tiles 1/0 of its labels: 4096 pixels are lost"),
            (remove, LARGE, "masks/c/1/0/2", "mask pixels disagree with the labels"),
            (remove, LARGE, "labels/kmeans/2/c/0/0", "pixels of level 2 of its labels are not of the level above"),
            (remove, LARGE, "edges/c/1/1", "its edges have"),
        ],
        {(0, 0), (0, 2)},
    ),
    "cannot be read": (
        [
            (flip, "b.png", "0/c/1/0/0", "cannot be read"),
            (cut_short, "c.png", "edges/c/0/0", "cannot be read"),
            (flip, LARGE, "labels/kmeans/0/c/2/2", "cannot be read"),
            (cut_short, LARGE, "0/c/0/2/1", "cannot be read"),
        ],
        {(2, 0), (2, 2)},
    ),
    "documents": (
        [
            (break_document, "b.png", "labels/kmeans/0/zarr.json", "cannot be read"),
            (remove, "c.png", "zarr.json", "cannot be read"),
            (break_document, LARGE, "zarr.json", "cannot be read"),
        ],
        None,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("damages", "windows"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_there_is_named_and_made_anew_and_nothing_else_is_written(
    damages: Damages,
    windows: set[tuple[int, int]] | None,
    small_folder: Path,
    bucket: str,
    smooth: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 128 * 128)
    inputs, output, threads = (
        upload(small_folder, f"{bucket}/in"),
        f"{bucket}/out.zarr",
        ExecutionSettings("threads", 2),
    )
    tifffile.imwrite(tmp_path / LARGE, smooth(180, 190, 5), tile=(64, 64), photometric="rgb")
    storage.put(f"{inputs}/{LARGE}", [(tmp_path / LARGE).read_bytes()])
    everything = OutputSettings(masks=True, tile=64, copy_image=True, confidence=True, edges=(50.0, 100.0))
    done(inputs, output, fit=FitSettings(3, attempts=1), stored=everything)
    chunks, documents = chunks_below(output), documents_below(output)
    for act, key, part, _ in damages:
        act(f"{output}/images/{key}/{part}")
    concerned = {key for _, key, _, _ in damages}
    found = check_store(output, threads)["problems"]
    assert all(any(line.startswith(f"{key}: ") and told in line for line in found) for _, key, _, told in damages)
    assert {line.partition(":")[0] for line in found} == concerned
    before = versions(bucket)
    mended = repair_store(output, threads)
    assert (mended["status"], mended["problems"], mended["repaired"]) == ("ok", [], sorted(concerned))
    assert (chunks_below(output), documents_below(output)) == (chunks, documents)
    after = versions(bucket)
    written = {name.removeprefix("out.zarr/") for name in after if after[name] != before.get(name)}
    of_images = {name for name in written if name.startswith("images/")}
    assert {name.split("/")[1] for name in of_images} == concerned
    assert written - of_images == {"zarr.json", ".out.zarr.lock.json"}
    if windows is not None:
        rewritten = {
            tuple(name.split("/c/")[1].split("/")) for name in of_images if f"{LARGE}/labels/kmeans/0/c/" in name
        }
        assert {(int(row) // 2 * 2, int(column) // 2 * 2) for row, column in rewritten} == windows
    assert check_store(output, threads)["problems"] == []
    assert {name.split("/")[0] for name in objects_below(bucket)} == {"in", "out.zarr"}


@pytest.mark.slow
def test_where_nothing_is_damaged_there_nothing_is_written(pictures: str, bucket: str) -> None:
    output = f"{bucket}/out.zarr"
    done(pictures, output, stored=OutputSettings(masks=True, pyramid=True, copy_image=True, edges=(50.0, 100.0)))
    before = versions(bucket)
    mended = repair_store(output, ExecutionSettings("sync"))
    assert (mended["status"], mended["repaired"]) == ("ok", [])
    after = versions(bucket)
    assert {name for name in after if after[name] != before.get(name)} == {".out.zarr.lock.json"}
