"""Inputs and outputs in an object store: the bits of a disk, and what is different where nothing can be renamed.

What is damaged there: ``test_repair.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr

import kseg_core
from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError
from kseg_core.resume.lock import sweep_after_kill
from kseg_core.storage import s3
from kseg_core.store.manifest import read_attributes, remove_kseg_store
from kseg_core.store.model import Model
from kseg_core.store.opening import open_store
from tests.asking import SYNC, asked, run_job
from tests.conftest import pieces_of
from tests.object_store import chunks_below, objects_below, upload
from tests.progress import Listener, Stopped
from workflows import run as jobs
from workflows.check import check_store

LABELS = "/labels/kmeans/0/c/"
#: Few objects: most of a test's time goes to the server.
HOW: dict[str, Any] = {"k": 2, "attempts": 1, "masks": False, "scheduler": "threads", "workers": 2}


@pytest.fixture
def pictures(small_folder: Path, bucket: str) -> str:
    """The address of three pictures."""
    return upload(small_folder, f"{bucket}/in")


@pytest.fixture
def picture(small_folder: Path, bucket: str) -> str:
    """The address of one."""
    storage.put(f"{bucket}/in/a.png", [(small_folder / "a.png").read_bytes()])
    return f"{bucket}/in"


def test_from_and_to_an_object_store_are_the_bits_of_a_disk(
    small_folder: Path, bucket: str, tmp_path: Path, smooth: Callable[..., Any]
) -> None:
    """Of a file, and of a Zarr array."""
    local, there, values = str(tmp_path / "in"), f"{bucket}/in", smooth(90, 120, 3)
    for place in (local, there):
        zarr.create_array(storage.for_zarr(f"{place}/z.zarr"), data=values, chunks=(64, 64, 3))
        storage.make_folders(f"{place}/Plot A/é")
        storage.put(f"{place}/Plot A/é/a.png", [(small_folder / "a.png").read_bytes()])
    how = HOW | {"masks": True}
    run_job(local, tmp_path / "out.zarr", **how)
    expected = chunks_below(str(tmp_path / "out.zarr"))
    assert len(expected) == 3 + 2 * 3  # of the model; labels and two masks of each image
    outputs = [f"{bucket}/out.zarr", f"{bucket}/from-disk.zarr", str(tmp_path / "from-store.zarr")]
    for inputs, output in zip((there, local, there), outputs, strict=True):
        assert run_job(inputs, output, **how).images.labelled == 2
        assert chunks_below(output) == expected
        assert list(open_store(output)) == ["Plot A/é/a.png", "z.zarr"]
        assert check_store(output, SYNC)["status"] == "ok"
    # no lock and nothing kept is left
    assert {name.split("/")[0] for name in objects_below(bucket)} == {"in", "out.zarr", "from-disk.zarr"}


@pytest.mark.slow
def test_a_store_there_is_read_as_one_on_a_disk(pictures: str, bucket: str) -> None:
    run_job(pictures, f"{bucket}/out.zarr", **HOW | {"masks": True}, pyramid=True, copy_image=True)
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
    assert check_store(f"{bucket}/out.zarr", ExecutionSettings("sync"))["problems"] == []


@pytest.mark.slow
def test_a_model_there_labels_what_is_new_and_leaves_the_rest(
    small_folder: Path, pictures: str, bucket: str, smooth: Callable[..., Any], png: Callable[..., Path], tmp_path: Path
) -> None:
    model, output = f"{bucket}/m.model.zarr", f"{bucket}/out.zarr"
    run_job(pictures, model, **HOW)
    assert run_job(pictures, output, model=model).images.labelled == 3
    before = {name: storage.stat(f"{output}/{name}").st_mtime_ns for name in objects_below(output)}
    storage.put(f"{pictures}/d.png", [png(tmp_path / "d.png", smooth(30, 40, 9)).read_bytes()])
    storage.put(f"{pictures}/b.png", [(small_folder / "c.png").read_bytes()])  # another picture of that name
    result = run_job(pictures, output, model=model)
    assert (result.images.labelled, result.images.reused) == (2, 2)
    after = {name: storage.stat(f"{output}/{name}").st_mtime_ns for name in objects_below(output)}
    rewritten = {name.split("/")[1] for name in after if after[name] != before.get(name) and "/" in name}
    assert rewritten == {"b.png", "d.png"}


@pytest.mark.slow
def test_the_same_job_again_does_nothing_and_another_is_refused(pictures: str, bucket: str) -> None:
    job = pictures, f"{bucket}/out.zarr"
    run_job(*job, **HOW)
    assert asked(*job, **HOW).finished is not None
    with pytest.raises(StoreError, match="made with other settings"):
        asked(*job, **HOW | {"k": 3})
    storage.put(f"{pictures}/a.png", [storage.read(f"{pictures}/b.png")])
    with pytest.raises(StoreError, match="made from other inputs"):
        asked(*job, **HOW)
    run_job(*job, **HOW, overwrite=True)
    assert asked(*job, **HOW).finished is not None


def test_what_is_replaced_stays_whole_until_its_successor_is_and_publishing_goes_on_where_it_was_stopped(
    picture: str, small_folder: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, anew = f"{bucket}/out.zarr", HOW | {"k": 3}
    run_job(picture, output, **HOW)
    before = chunks_below(output)
    run_job(small_folder / "a.png", tmp_path / "other.zarr", **anew)
    successor = chunks_below(str(tmp_path / "other.zarr"))
    with pytest.raises(Stopped):
        run_job(picture, output, **anew, overwrite=True, progress=Listener("labelling"))
    assert chunks_below(output) == before
    with monkeypatch.context() as patch:
        patch.setattr(s3, "copy_tree", lambda *_: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            run_job(picture, output, **anew, overwrite=True)
    assert objects_below(output) == []
    with pytest.raises(StoreError, match="another run has just finished there"):
        run_job(picture, output, **anew)
    assert chunks_below(output) == successor
    assert asked(picture, output, **anew).finished is not None
    sweep_after_kill(output)
    assert not any(name.startswith(".") for name in objects_below(bucket))


def test_only_a_kseg_store_is_replaced(picture: str) -> None:
    with pytest.raises(StoreError, match="not a kseg store"):
        asked(picture, picture, overwrite=True)
    with pytest.raises(StoreError, match="not a kseg store"):
        asked(picture, f"{picture}/a.png")
    assert objects_below(picture) == ["a.png"]


@pytest.mark.slow
def test_a_store_whose_removal_was_stopped_is_completed_by_the_same_command(
    pictures: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"{bucket}/out.zarr"
    run_job(pictures, output, **HOW)
    whole, everything = chunks_below(output), objects_below(output)
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
    assert 0 < len(objects_below(output)) < len(everything)
    assert run_job(pictures, output, **HOW).images.labelled == 3
    assert chunks_below(output) == whole


def test_pieces_written_before_a_stop_are_not_written_again(
    bucket: str, tmp_path: Path, smooth: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", smooth(220, 210, 1), tile=(64, 64), photometric="rgb")
    storage.put(f"{bucket}/in.tif", [(tmp_path / "in.tif").read_bytes()])
    put, written, stop_at = storage.put, list[str](), [2]

    def stopping(path: str, parts: Any) -> None:
        if "/.pieces-" in path and sum("/.pieces-" in each for each in written) in stop_at:
            raise Stopped
        put(path, parts)
        written.append(path)

    output, how = f"{bucket}/out.zarr", HOW | {"scheduler": "sync", "workers": None, "tile": 64}
    with pieces_of(128):
        run_job(tmp_path / "in.tif", tmp_path / "whole.zarr", **how)
        monkeypatch.setattr(storage, "put", stopping)
        with pytest.raises(Stopped):
            run_job(f"{bucket}/in.tif", output, **how)
        last_told = max(at for at, path in enumerate(written) if "/.pieces-" in path)
        told, untold = (
            {path for path in part if LABELS in path} for part in (written[:last_told], written[last_told:])
        )
        assert told
        assert untold
        written.clear()
        stop_at.clear()
        run_job(f"{bucket}/in.tif", output, **how)
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
    values = np.random.default_rng(0).integers(0, 255, (3, 24, 30), np.uint8)
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000)
    with rasterio.open(
        tmp_path / "in" / "a.tif", "w", driver="GTiff", width=30, height=24, count=3, dtype="uint8",
        crs="EPSG:32633", transform=transform, photometric="RGB",
    ) as file:  # fmt: skip
        file.write(values)
    mask = np.zeros((24, 30), np.uint8)
    mask[10:, :] = 255
    tifffile.imwrite(tmp_path / "masks" / "a.tif", mask)
    upload(tmp_path, f"{bucket}/all")
    outputs = []
    for place, output in ((str(tmp_path), str(tmp_path / "out.zarr")), (f"{bucket}/all", f"{bucket}/out.zarr")):
        run_job(f"{place}/in", output, **HOW, mask=f"{place}/masks")
        image = open_store(output)["a.tif"]
        assert (np.asarray(image.labels[:10]) == 255).all()
        outputs.append((image.georeference, chunks_below(output)))
    assert outputs[0] == outputs[1]
    assert outputs[0][0] is not None
    assert "32633" in outputs[0][0].crs_wkt


def test_an_object_that_changes_while_it_is_read_is_no_image(pictures: str, bucket: str) -> None:
    request = asked(pictures, f"{bucket}/out.zarr", **HOW)
    storage.put(f"{pictures}/b.png", [storage.read(f"{pictures}/a.png")])
    storage.remove_file(f"{pictures}/c.png")
    result = jobs.run(request)
    assert [(error.source.rpartition("/")[2], error.reason) for error in result.failures] == [
        ("b.png", "changed while it was being read; run again"),
        ("c.png", "no such object"),
    ]
