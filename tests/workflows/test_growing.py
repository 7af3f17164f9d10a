"""A folder labelled night after night with one model: what is new or changed is labelled, nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio.shutil
import shapely

from jobs._render import drift_lines
from kseg_core import open_store
from kseg_core.errors import NothingReadable, StoreError
from kseg_core.store.manifest import read_attributes
from kseg_core.store.model import Model
from tests.asking import IMAGE_DOCUMENT, SYNC, asked, problems, stopped_at
from workflows.dry_run import dry_run
from workflows.inspect import describe
from workflows.repair import repair_store
from workflows.result import JobResult
from workflows.run import run

Files = dict[str, tuple[int, int]]


@pytest.fixture
def folder(small_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_folder, tmp_path / "in"))


@pytest.fixture(scope="module")
def model(small_folder: Path, tmp_path_factory: pytest.TempPathFactory, job: Any) -> Path:
    """A model of the folder's pictures. Not to be changed."""
    made = tmp_path_factory.mktemp("model") / "m.model.zarr"
    job(small_folder, made, k=3)
    return made


def night(folder: Path, model: Path, output: Path, **settings: Any) -> JobResult | None:
    """One night's run; None where all was done already."""
    request = asked(folder, output, model=model, **settings)
    return None if request.finished is not None else run(request)


def told(result: JobResult | None) -> dict[str, Any]:
    assert result is not None
    return result.to_json()


def of_image(files: Files, key: str) -> Files:
    return {path: status for path, status in files.items() if f"/images/{key}/" in path}


def counted(labelled: int, reused: int, *, failed: int = 0) -> dict[str, int]:
    return {"total": labelled + reused + failed, "labelled": labelled, "reused": reused, "failed": failed}


def changes(
    *, added: int = 0, changed: int = 0, repaired: int = 0, removed: int = 0, outdated: int = 0
) -> dict[str, int]:
    return {"added": added, "changed": changed, "repaired": repaired, "removed": removed, "outdated": outdated}


def test_only_what_changed_is_touched_over_three_nights(
    folder: Path, model: Path, tmp_path: Path, png: Any, smooth: Any, every_file: Callable[[Path], Files], contents: Any
) -> None:
    store = tmp_path / "out.zarr"
    first = told(night(folder, model, store))
    assert (first["images"], first["changes"]) == (counted(3, 0), changes(added=3))
    before = every_file(store)
    assert night(folder, model, store) is None  # nothing happened that day
    assert every_file(store) == before
    png(folder / "d.png", smooth(30, 60, 77))
    second = told(night(folder, model, store))
    assert (second["images"], second["changes"]) == (counted(1, 3), changes(added=1))
    after = every_file(store)
    for key in ("a.png", "b.png", "c.png"):
        assert of_image(after, key) == of_image(before, key) != {}
    assert of_image(after, "d.png")
    png(folder / "b.png", smooth(44, 44, 5))
    (folder / "a.png").unlink()
    third = told(night(folder, model, store))
    assert (third["images"], third["changes"]) == (counted(1, 2), changes(changed=1, removed=1))
    last = every_file(store)
    for key in ("a.png", "c.png", "d.png"):
        assert of_image(last, key) == of_image(after, key)
    assert of_image(last, "b.png") != of_image(after, "b.png")
    assert np.asarray(open_store(str(store))["b.png"].labels).shape == (44, 44)
    assert night(folder, model, store) is None
    assert problems(store) == []


def test_a_grown_store_is_that_of_all_inputs_at_once(
    folder: Path, model: Path, tmp_path: Path, png: Any, smooth: Any, contents: Any
) -> None:
    night(folder, model, tmp_path / "grown.zarr")
    png(folder / "d.png", smooth(30, 60, 77))
    grown = told(night(folder, model, tmp_path / "grown.zarr"))
    fresh = told(night(folder, model, tmp_path / "fresh.zarr"))
    for name in ("inertia", "mse", "counts", "pixels"):
        assert grown[name] == fresh[name]
    once, at_once = contents(tmp_path / "grown.zarr"), contents(tmp_path / "fresh.zarr")
    assert once.keys() == at_once.keys()
    differing = {name for name, value in at_once.items() if once[name] != value}
    assert differing <= {":attributes"}  # its result tells of the new image's drift, and of no other


def test_what_cannot_be_read_is_told_and_tried_again_and_what_is_there_stays(
    folder: Path, model: Path, tmp_path: Path, every_file: Callable[[Path], Files]
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store)
    before = every_file(store / "images")
    (folder / "bad.png").write_bytes(b"nothing")
    found = told(night(folder, model, store))
    assert (found["status"], found["images"]) == ("partial", counted(0, 3, failed=1))
    (folder / "b.png").write_bytes(b"nothing")  # which keeps its labels
    found = told(night(folder, model, store))
    assert (found["images"], found["changes"]) == (counted(0, 2, failed=2), changes(outdated=1))
    assert every_file(store / "images") == before
    (folder / "bad.png").unlink()
    found = told(night(folder, model, store))
    assert (found["images"], found["changes"]) == (counted(0, 2, failed=1), changes(outdated=1))
    assert every_file(store / "images") == before
    assert problems(store) == []
    before = every_file(store)
    for path in folder.iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(NothingReadable):
        night(folder, model, store)
    assert every_file(store) == before


def test_a_changed_mask_changes_its_image_alone(
    folder: Path, model: Path, tmp_path: Path, png: Any, every_file: Callable[[Path], Files]
) -> None:
    store, masks = tmp_path / "out.zarr", tmp_path / "masks"
    for name, width in (("a.png", 50), ("b.png", 51), ("c.png", 52)):
        png(masks / name, np.full((40, width), 255, np.uint8))
    night(folder, model, store, mask=masks)
    before = every_file(store)
    half = np.zeros((40, 51), np.uint8)
    half[:20] = 255
    png(masks / "b.png", half)
    assert told(night(folder, model, store, mask=masks))["images"] == counted(1, 2)
    assert of_image(every_file(store), "a.png") == of_image(before, "a.png")
    assert open_store(str(store))["b.png"].attributes["invalid"] == 20 * 51


COMPANIONS = {
    "a world file": "a.pgw", "another spelling of it": "a.PNGW", "metadata": "a.png.aux.xml", "a mask": "a.png.msk",
    "a coordinate system": "a.prj",
}  # fmt: skip


@pytest.mark.parametrize("name", COMPANIONS.values(), ids=COMPANIONS)
def test_a_companion_that_comes_changes_or_goes_changes_its_image_alone(
    name: str, folder: Path, model: Path, tmp_path: Path, every_file: Callable[[Path], Files]
) -> None:
    store, companion = tmp_path / "out.zarr", folder / name
    night(folder, model, store)
    before = every_file(store)
    for step in (
        lambda: companion.write_text("1\n0\n0\n-1\n7\n8\n"),
        lambda: os.utime(companion, (5, 5)),
        companion.unlink,
    ):
        step()
        result = told(night(folder, model, store))
        assert (result["images"], result["changes"]) == (counted(1, 2), changes(changed=1))
        assert night(folder, model, store) is None
    assert of_image(every_file(store), "b.png") == of_image(before, "b.png")


def test_a_part_of_a_mask_of_polygons_that_changes_changes_what_it_masks(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    store, mask = tmp_path / "out.zarr", tmp_path / "aoi.shp"
    shapes = shapely.to_wkb(np.array([shapely.box(0, 0, 20, 20)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.raw.write(mask, shapes, [], [], geometry_type="Polygon", driver="ESRI Shapefile", crs=None)
    night(folder, model, store, mask=mask)
    assert night(folder, model, store, mask=mask) is None
    for part in ("shx", "dbf", "cpg"):
        (tmp_path / f"aoi.{part}").touch()
        assert told(night(folder, model, store, mask=mask))["images"] == counted(3, 0), part


def test_a_virtual_raster_changes_with_what_it_names(small_folder: Path, model: Path, tmp_path: Path) -> None:
    folder, store = tmp_path / "vrt", tmp_path / "out.zarr"
    folder.mkdir()
    shutil.copy(small_folder / "a.png", tmp_path / "tile.png")
    rasterio.shutil.copy(tmp_path / "tile.png", tmp_path / "inner.vrt", driver="VRT")
    inner = (tmp_path / "inner.vrt").read_text()
    assert 'relativeToVRT="1">tile.png' in inner
    (folder / "outer.vrt").write_text(inner.replace(">tile.png", ">../inner.vrt"))
    night(folder, model, store)
    assert night(folder, model, store) is None
    for changed in (tmp_path / "tile.png", tmp_path / "inner.vrt"):
        os.utime(changed, (5, 5))
        assert told(night(folder, model, store))["changes"] == changes(changed=1)


# -------------------------------------------------------------------------------------------------- lost or damaged

DAMAGES: dict[str, Callable[[Path], None]] = {
    "the whole image": shutil.rmtree,
    "its labels": lambda image: shutil.rmtree(image / "labels"),
    "its label image": lambda image: shutil.rmtree(image / "labels/kmeans"),
    "its masks": lambda image: shutil.rmtree(image / "masks"),
    "its confidence": lambda image: shutil.rmtree(image / "confidence"),
    "its copy": lambda image: shutil.rmtree(image / "0"),
    "its edges": lambda image: shutil.rmtree(image / "edges"),
}
EVERYTHING: dict[str, Any] = {"masks": True, "confidence": True, "copy_image": True, "edges": (50.0, 100.0)}


@pytest.mark.few(3)
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_lost_of_an_image_is_noticed_and_made_anew_by_the_same_command(
    damage: str, folder: Path, model: Path, tmp_path: Path, contents: Any
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store, **EVERYTHING)
    before = contents(store)
    DAMAGES[damage](store / "images/b.png")
    found = told(night(folder, model, store, **EVERYTHING))
    if damage != "its edges":  # its labels stay as they are
        assert (found["images"], found["changes"]) == (counted(1, 2), changes(repaired=1))
    after = contents(store)
    assert {name for name, value in after.items() if before.get(name) != value} <= {":attributes"}
    assert after.keys() == before.keys()
    assert problems(store) == []
    assert night(folder, model, store, **EVERYTHING) is None


def test_an_empty_document_is_made_anew_beside_what_is_new_and_changed_and_each_is_counted_as_what_it_is(
    folder: Path, model: Path, tmp_path: Path, png: Any, smooth: Any
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store)
    (store / "images/b.png/zarr.json").write_bytes(b"")
    png(folder / "c.png", smooth(44, 44, 5))
    png(folder / "d.png", smooth(30, 60, 77))
    found = told(night(folder, model, store))
    assert (found["images"], found["changes"]) == (counted(3, 1), changes(added=1, changed=1, repaired=1))
    assert problems(store) == []


def test_an_image_without_input_that_is_lost_is_told_once(
    folder: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store)
    (folder / "a.png").unlink()
    night(folder, model, store)
    shutil.rmtree(store / "images/a.png")
    found = told(night(folder, model, store))
    assert (found["images"], found["changes"]) == (counted(0, 2), changes())
    assert "it had a.png, which is lost" in caplog.text
    assert night(folder, model, store) is None
    assert problems(store) == []


def test_a_lost_image_is_missed_though_there_are_as_many_folders(folder: Path, tmp_path: Path, job: Any) -> None:
    job(folder, tmp_path / "out.zarr", k=3)
    store = tmp_path / "out.zarr"
    (store / "images/b.png").rename(store / "images/stray.png")
    (store / "images/stray.png/zarr.json").unlink()
    assert "1 image is missing: b.png; the command that made the store labels what is missing" in problems(store)
    result = job(folder, store, k=3)
    assert result.to_json()["images"] == counted(1, 2)
    assert sorted(open_store(str(store))) == ["a.png", "b.png", "c.png"]
    assert problems(store) == []


# ------------------------------------------------------------------------------------------------------ checksums


def test_with_checksums_content_decides(
    folder: Path, model: Path, tmp_path: Path, png: Any, smooth: Any, every_file: Callable[[Path], Files]
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store, checksum=True)
    before = every_file(store)
    assert told(night(folder, model, store, checksum=True))["images"] == counted(0, 3)
    os.utime(folder / "a.png", ns=(1, 1))  # copied anew
    status = (folder / "b.png").stat()
    content = bytearray((folder / "b.png").read_bytes())
    content[-5] ^= 1  # within its size and time: the checksum of its last chunk, which is damaged now
    (folder / "b.png").write_bytes(content)
    os.utime(folder / "b.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    result = told(night(folder, model, store, checksum=True))
    assert result["images"]["reused"] == 2  # a and c
    after = every_file(store)
    assert of_image(after, "c.png") == of_image(before, "c.png")
    labels = f"{store}/images/a.png/labels/kmeans/0"
    assert [status for path, status in after.items() if path.startswith(labels)] == [
        status for path, status in before.items() if path.startswith(labels)
    ]
    image = open_store(str(store))["a.png"]
    assert image.attributes["modified"] == image.origin["modified"] == 1
    (store / "images/a.png/zarr.json").unlink()
    assert repair_store(str(store), SYNC)["repaired"] == ["a.png"]


def test_where_no_checksum_was_kept_that_is_told_once(
    folder: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store)
    for file in folder.iterdir():
        os.utime(file, ns=(1, 1))
    assert told(night(folder, model, store, checksum=True))["changes"] == changes(changed=3)
    assert "no checksum was kept of 3 of the images that changed: told by size and time" in caplog.text
    caplog.clear()
    for file in folder.iterdir():
        os.utime(file, ns=(2, 2))
    assert told(night(folder, model, store, checksum=True))["changes"] == changes()
    assert caplog.text == ""


# ---------------------------------------------------------------------------------------------------------- drift


def test_drift_points_at_the_odd_one(model: Path, tmp_path: Path, png: Any, smooth: Any) -> None:
    store, folder = tmp_path / "out.zarr", tmp_path / "many"
    for i in range(6):
        png(folder / f"n{i}.png", smooth(60, 80, 20))
    first = told(night(folder, model, store))
    assert first["drift"]["batch"]["images"] == 6
    assert not any(image["outlier"] for image in first["drift"]["images"])
    png(folder / "n7.png", smooth(60, 80, 20))
    png(folder / "odd.png", np.full((60, 80, 3), (255, 0, 255), np.uint8))
    drift = told(night(folder, model, store))["drift"]
    assert drift["batch"]["images"] == 2
    worst = drift["images"][0]
    assert (Path(worst["source"]).name, worst["outlier"]) == ("odd.png", True)
    assert [image["outlier"] for image in drift["images"]] == [True, False]
    assert (drift["outliers"], drift["not_listed"]) == (1, 0)
    facts = open_store(str(store))["odd.png"].attributes
    known = Model.load(str(model))
    shares = np.array(facts["counts"]) / sum(facts["counts"]), known.counts / known.counts.sum()
    assert worst["share_distance"] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
    assert worst["mse_ratio"] == pytest.approx(facts["mse"] / known.mse)
    stored = read_attributes(store)
    assert stored is not None
    assert stored["result"]["drift"] == drift


def test_drift_says_how_many_images_it_does_not_list(
    model: Path, tmp_path: Path, png: Any, smooth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.labelling.label.WORST", 2)
    for i in range(9):
        png(tmp_path / "many" / f"n{i}.png", smooth(60, 80, 20))
    for name in "abc":
        png(tmp_path / "many" / f"{name}.png", np.full((60, 80, 3), (255, 0, 255), np.uint8))
    drift = told(night(tmp_path / "many", model, tmp_path / "out.zarr"))["drift"]
    assert (len(drift["images"]), drift["outliers"], drift["not_listed"]) == (2, 3, 10)
    assert drift_lines(drift)[-1] == "  … and 1 more stands out"


def test_of_the_models_own_images_there_is_no_drift(folder: Path, model: Path, tmp_path: Path) -> None:
    batch = told(night(folder, model, tmp_path / "out.zarr"))["drift"]["batch"]
    assert batch == {"images": 3, "mse_ratio": pytest.approx(1.0), "share_distance": pytest.approx(0.0)}


# ---------------------------------------------------------------------------------------------------------- refit


@pytest.mark.parametrize("features", ["rgb", "lab", "bands"])
def test_a_refit_starts_from_the_models_centroids_and_keeps_its_numbers(
    features: str, folder: Path, tmp_path: Path, job: Any
) -> None:
    job(folder, tmp_path / "first.model.zarr", k=4, features=features)
    first = Model.load(str(tmp_path / "first.model.zarr"))
    given = {"features": features, "bands": first.bands.bands if first.bands is not None else ()}
    again_as = {"match": tmp_path / "first.model.zarr", "refit": True, "attempts": 1}
    job(folder, tmp_path / "again.model.zarr", k=4, **given, **again_as)
    again = Model.load(str(tmp_path / "again.model.zarr"))
    np.testing.assert_array_equal(again.centroids, first.centroids)  # an optimum of the same images stays what it is
    (attempt,) = again.facts["history"]
    assert attempt["batch"] == []  # no search, and not one step that changed a label
    assert len(set(attempt["steps"])) == 1
    with pytest.raises(StoreError, match=r"other settings \(--refit on → off\)"):
        asked(folder, tmp_path / "again.model.zarr", 4, **given, **{**again_as, "refit": False})


# ---------------------------------------------------------------------------------------------- stopped on the way


def test_a_night_that_was_stopped_means_the_same_by_new(
    folder: Path, model: Path, tmp_path: Path, png: Any, smooth: Any, contents: Any
) -> None:
    night(folder, model, tmp_path / "out.zarr")
    shutil.copytree(tmp_path / "out.zarr", tmp_path / "whole.zarr")
    for i in range(2):
        png(folder / f"new{i}.png", smooth(30, 60, i))
    png(folder / "b.png", smooth(30, 60, 5))
    night(folder, model, tmp_path / "whole.zarr")
    with stopped_at(IMAGE_DOCUMENT, 6):
        night(folder, model, tmp_path / "out.zarr")
    assert not open_store(str(tmp_path / "out.zarr")).complete
    result = told(night(folder, model, tmp_path / "out.zarr"))
    assert result["images"] == counted(1, 4)
    assert result["changes"] == changes(added=2, changed=1)
    assert result["drift"]["batch"]["images"] == 3
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.zarr", "whole.zarr"]


def test_what_a_stopped_night_left_half_written_of_a_file_that_is_gone_is_swept(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store)
    root = store / "zarr.json"
    document = json.loads(root.read_text())
    document["attributes"]["kseg"] |= {"status": "running", "inputs_digest": "of another night"}
    root.write_text(json.dumps(document))
    (store / "images" / "half.png" / "labels").mkdir(parents=True)
    (store / "zarr.json.0badcafe.partial").write_text("{")
    assert told(night(folder, model, store))["images"] == counted(0, 3)
    assert sorted(path.name for path in (store / "images").iterdir()) == ["a.png", "b.png", "c.png", "zarr.json"]
    assert sorted(path.name for path in store.iterdir()) == ["images", "model", "zarr.json"]


def test_an_image_of_a_file_that_is_gone_stays_though_its_document_is_damaged(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store)
    (folder / "a.png").rename(tmp_path / "a.png")
    document = store / "images/a.png/zarr.json"
    document.write_bytes(document.read_bytes()[:-9])
    assert told(night(folder, model, store))["changes"]["removed"] == 1
    assert (store / "images/a.png/labels/kmeans/0/c/0/0").exists()
    assert problems(store)
    (tmp_path / "a.png").rename(folder / "a.png")
    assert repair_store(str(store), SYNC)["repaired"] == ["a.png"]


@pytest.mark.parametrize("modified", [-1, -(10**18), 2**62])
def test_files_of_any_time_can_be_labelled_checked_and_repaired(
    modified: int, folder: Path, model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "out.zarr"
    os.utime(folder / "a.png", ns=(modified, modified))
    assert told(night(folder, model, store))["images"] == counted(3, 0)
    assert night(folder, model, store) is None  # nothing to do
    assert problems(store) == []
    (store / "images/a.png/labels/kmeans/0/c/0/0").unlink()
    repaired = repair_store(str(store), SYNC)
    assert (repaired["status"], repaired["repaired"]) == ("ok", ["a.png"])
    assert [image["key"] for image in describe(str(store))["images"]] == ["a.png", "b.png", "c.png"]


def test_a_store_of_a_given_model_is_described_by_its_own_pixels(folder: Path, model: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    (folder / "b.png").unlink()
    (folder / "c.png").unlink()
    of_run = told(night(folder, model, store))
    found, of_model = describe(str(store))["model"], describe(str(model))["model"]
    labels = np.asarray(open_store(str(store))["a.png"].labels)
    assert found["counts"] == of_run["counts"] == np.bincount(labels[labels < 255], minlength=3).tolist()
    assert (found["inertia"], found["mse"]) == (of_run["inertia"], of_run["mse"])
    assert found["mse"] != of_model["mse"]
    assert (found["digest"], found["centroids"]) == (of_model["digest"], of_model["centroids"])
    (store / "images/a.png/labels/kmeans/0/zarr.json").unlink()  # of what is not complete, as far as it goes
    attributes = json.loads((store / "zarr.json").read_text())
    attributes["attributes"]["kseg"]["status"] = "incomplete"
    (store / "zarr.json").write_text(json.dumps(attributes))
    partly = describe(str(store))["model"]
    assert partly["counts"] == found["counts"]
    assert partly["mse"] == pytest.approx(found["mse"], rel=1e-12)


def test_a_dry_run_tells_what_is_new_or_changed_and_touches_nothing(
    folder: Path, model: Path, tmp_path: Path, png: Any, smooth: Any, every_file: Callable[[Path], Files]
) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store, checksum=True)
    png(folder / "d.png", smooth(30, 60, 77))
    os.utime(folder / "a.png", ns=(1, 1))
    before = every_file(tmp_path)
    left = dry_run(asked(folder, store, model=model, checksum=True)).to_json()
    assert left["images"] == {"total": 4, "to_do": 1, "reused": 3, "large": 0, "failed": 0}
    assert left["pixels"] == {"total": 30 * 60}
    assert every_file(tmp_path) == before
