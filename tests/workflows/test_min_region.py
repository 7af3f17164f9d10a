"""``--min-region``: the same labels everywhere a store tells of them, whatever pieces an image is worked on in."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr

from kseg_core import Model, open_store
from kseg_core.clustering.cleaning import Cleaning, clean_labels
from kseg_core.config import ExecutionSettings, OutputSettings
from kseg_core.errors import KsegWarning, NothingReadable, UsageError
from kseg_core.layers import LABEL_LAYER, RAW_LAYER
from kseg_core.layers.pyramid import mode_of_blocks
from tests import reference
from tests.asking import configured, problems, run_job
from tests.conftest import pieces_of, store_contents
from workflows import segment
from workflows.check import check_store
from workflows.regions import write_region_table
from workflows.repair import repair_store

SYNC = ExecutionSettings("sync")
LEAST = 12
LARGE, SMALL = "large.tif", "small.png"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("kseg_core.store.cleaned.WINDOW_PX", 64)
    with pieces_of(128):
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """The same speckled picture with invalid pixels, whole and in tiles, and a small one."""
    folder = tmp_path_factory.mktemp("cleaned") / "in"
    folder.mkdir()
    pixels = np.dstack([smooth(150, 140, 7), np.full((150, 140), 255, np.uint8)])
    pixels[30:33, :90, 3] = pixels[80:130, 100, 3] = 0
    tifffile.imwrite(folder / LARGE, pixels, tile=(64, 64), photometric="rgb", extrasamples=["unassalpha"])
    png(folder / SMALL, smooth(40, 50, 2))
    return folder


def make(inputs: Path, output: Path, **how: Any) -> Any:
    fit = {} if "model" in how else {"features": "rgb", "attempts": 1}
    return run_job(inputs, output, 4, **{"tile": 64, "min_region": LEAST, **fit, **how})


@pytest.fixture(scope="module")
def made(pictures: Path) -> Path:
    """A store with all that labels decide. Not to be changed."""
    with pieces_of(128):
        make(pictures, pictures.parent / "made.zarr", keep_raw=True, pyramid=True, confidence=True)
    return pictures.parent / "made.zarr"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out.zarr"))


def arrays_of(store: Path, key: str) -> tuple[Any, Any]:
    image = open_store(str(store))[key]
    return np.asarray(image.labels[...]), np.asarray(image.array("labels/raw/0")[...])


def test_a_store_holds_the_cleaned_labels_and_tells_of_them_everywhere(
    made: Path, pictures: Path, tmp_path: Path
) -> None:
    plain = run_job(pictures, tmp_path / "plain.zarr", 4, tile=64, attempts=1, features="rgb", pyramid=True)
    store, as_before = open_store(str(made)), open_store(str(tmp_path / "plain.zarr"))
    assert store.model.digest == as_before.model.digest
    of_all = np.zeros(4, np.int64)
    for key in (LARGE, SMALL):
        image, before = store[key], as_before[key]
        labels, raw = arrays_of(made, key)
        np.testing.assert_array_equal(raw, before.labels[...])
        how = Cleaning(LEAST, store.model.centroids)
        of_small = reference.cleaned(raw, 255, how.centroids, LEAST) if key == SMALL else None
        expected = clean_labels(raw, how)[0] if of_small is None else of_small
        assert (expected != raw).any()
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(image.masks[...], labels == np.arange(4)[:, None, None])  # type: ignore[index]  # it is there
        for layer in (LABEL_LAYER, RAW_LAYER):
            levels = [np.asarray(level[...]) for level in image.layer_levels(layer)]
            for above, level in pairwise(levels):
                np.testing.assert_array_equal(level, mode_of_blocks(above, 255))
        counts = np.bincount(labels[labels != 255], minlength=4)
        facts, told = image.attributes, json.loads((made / f"images/{key}/labels/kmeans/zarr.json").read_text())
        assert facts["counts"] == counts.tolist()
        assert facts["raw_counts"] == before.attributes["counts"]
        assert facts["inertia"] == before.attributes["inertia"]
        assert facts["sums"] == before.attributes["sums"]
        assert told["attributes"]["kseg"]["cleaned"] == {"min_region": LEAST}
        assert [each["area"] for each in told["attributes"]["ome"]["image-label"]["properties"]][:4] == counts.tolist()
        of_all += counts
    result = store.attributes["result"]
    assert result["counts"] == of_all.tolist()
    assert result["inertia"] == plain.inertia
    write_region_table(str(made), str(tmp_path / "regions.csv"), SYNC)
    rows = (tmp_path / "regions.csv").read_text().splitlines()[1:]
    assert sum(int(row.split(",")[4]) for row in rows) == of_all.sum()
    assert check_store(str(made), SYNC)["problems"] == []


@pytest.mark.parametrize("how", [{"tile": 200}, {"tile": 512, "workers": 2, "scheduler": "threads"}, {"tile": 80}])
def test_pieces_and_workers_change_no_label(made: Path, pictures: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    make(pictures, tmp_path / "out.zarr", model=made, **how)
    for key in (LARGE, SMALL):
        found = np.asarray(open_store(str(tmp_path / "out.zarr"))[key].labels[...])
        np.testing.assert_array_equal(found, arrays_of(made, key)[0])
    assert not list(tmp_path.glob("**/raw*"))


def test_python_gives_the_labels_of_a_run(made: Path, pictures: Path) -> None:
    output, model = OutputSettings(min_region=LEAST), Model.load(str(made))
    expected, _ = arrays_of(made, LARGE)
    pixels = tifffile.imread(pictures / LARGE)
    np.testing.assert_array_equal(model.predict(pixels, output), expected)
    with pytest.warns(KsegWarning, match="alpha"):
        lazy = segment(str(pictures / LARGE), configured(model=made, min_region=LEAST, tile=64)).labels[LARGE]
    assert len(lazy.chunks[0]) > 1
    np.testing.assert_array_equal(lazy.compute(), expected)
    np.testing.assert_array_equal(
        segment(pixels, configured(model=made, min_region=LEAST)).labels["image"].compute(), expected
    )
    with pytest.raises(ValueError, match="50um2"):
        model.predict(pixels, OutputSettings(min_region="50um2"))
    with pytest.raises(UsageError, match="pixels"):
        segment(pixels, configured(model=made, min_region="50um2"))


def damage(store: Path, key: str, name: str, change: str) -> None:
    """Give one pixel another label; the sums of an image of one changed pixel still agree."""
    array = zarr.open_array(f"{store}/images/{key}/{name}", mode="r+")
    labels = np.asarray(array[...])
    numbers = reference.regions(labels, 255)
    areas = dict(zip(*np.unique(numbers, return_counts=True), strict=True))
    if change == "small":  # a hole in a large region
        largest = max((n for n in areas if n >= 0), key=areas.__getitem__)
        inside = np.argwhere(np.lib.stride_tricks.sliding_window_view(numbers == largest, (3, 3)).all(axis=(2, 3)))
        where = numbers == -2
        where[tuple(inside[len(inside) // 2] + 1)] = True
    else:  # a whole region that is large enough
        where = numbers == next(n for n, area in areas.items() if n >= 0 and 4 * LEAST < area < 4000)
    labels[where] = (labels[where] + 1) % 4
    array[...] = labels


@pytest.mark.parametrize("key", [LARGE, SMALL])
@pytest.mark.parametrize("name", ["labels/kmeans/0", "labels/raw/0"])
@pytest.mark.parametrize("change", ["small", "large"])
def test_check_finds_labels_that_cleaning_does_not_make_and_repair_mends_them(
    made: Path, store: Path, key: str, name: str, change: str
) -> None:
    damage(store, key, name, change)
    found = problems(store)
    assert any(re.search(f"{key}: .*(below {LEAST} pixels|raw labels are not)", line) for line in found), found
    assert repair_store(str(store), SYNC)["problems"] == []
    assert store_contents(store) == store_contents(made)


def test_without_source_and_raw_labels_small_regions_are_found_still(
    made: Path, pictures: Path, tmp_path: Path
) -> None:
    inputs = Path(shutil.copytree(pictures, tmp_path / "in"))
    make(inputs, tmp_path / "out.zarr", model=made)
    shutil.rmtree(inputs)
    assert check_store(str(tmp_path / "out.zarr"), SYNC)["problems"] == []
    damage(tmp_path / "out.zarr", LARGE, "labels/kmeans/0", "small")
    assert any(f"in regions below {LEAST} pixels" in line for line in problems(tmp_path / "out.zarr"))


@pytest.mark.parametrize("keep_raw", [False, True])
@pytest.mark.parametrize("stop", ["patch_at", "write_cleaned", "discard_raw", "finish_image"])
def test_a_stopped_job_goes_on_to_the_same_store(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str, keep_raw: bool
) -> None:
    how = {"keep_raw": keep_raw, "attempts": 1}
    make(pictures, tmp_path / "whole.zarr", **how)
    module = f"workflows.labelling.{'clean' if stop in ('patch_at', 'write_cleaned') else 'label_plan'}"
    with monkeypatch.context() as patched:
        calls = iter(range(100))

        def stopping(*details: Any, **more: Any) -> Any:
            if next(calls) == (0 if module.endswith("plan") else 3):
                raise KeyboardInterrupt
            return undisturbed(*details, **more)

        undisturbed = getattr(import_module(module), stop)
        patched.setattr(f"{module}.{stop}", stopping)
        with pytest.raises(KeyboardInterrupt):
            make(pictures, tmp_path / "out.zarr", **how)
    assert not (tmp_path / f"out.zarr/images/{LARGE}/zarr.json").read_text().count("complete")
    make(pictures, tmp_path / "out.zarr", **how)
    assert store_contents(tmp_path / "out.zarr") == store_contents(tmp_path / "whole.zarr")


def test_areas_with_a_unit_are_of_the_pixels_of_each_image(tmp_path: Path, smooth: Any, png: Any) -> None:
    pixels, folder = smooth(60, 70, 3), tmp_path / "in"
    folder.mkdir()
    sizes = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(folder / "um.ome.tif", pixels, metadata=sizes, photometric="rgb")
    for name, crs, side in (("ground", "EPSG:32632", 2.0), ("degrees", "EPSG:4326", 0.1)):
        transform = rasterio.Affine(side, 0, 0, 0, -side, 50)
        profile = {"width": 70, "height": 60, "count": 3, "dtype": "uint8", "crs": crs, "transform": transform}
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
            file.write(np.moveaxis(pixels, -1, 0))
    png(folder / "plain.png", pixels)
    result = run_job(folder, tmp_path / "um.zarr", 4, min_region="1.5um2", features="rgb", attempts=1)
    assert {Path(f.source).name for f in result.failures} == {"plain.png", "degrees.tif"}
    assert all("give pixels" in f.reason for f in result.failures)
    store = open_store(str(tmp_path / "um.zarr"))
    assert {key: store[key].attributes["min_region"] for key in store} == {"um.ome.tif": 12, "ground.tif": 1}
    labels = np.asarray(store["um.ome.tif"].labels[...])
    raw = store.model.predict(pixels)
    np.testing.assert_array_equal(labels, reference.cleaned(raw, 255, store.model.centroids, 12))
    assert check_store(str(tmp_path / "um.zarr"), SYNC)["problems"] == []
    with pytest.raises(NothingReadable, match=r"plain\.png"):
        run_job(folder / "plain.png", tmp_path / "none.zarr", 4, min_region="1ha")


def test_keep_raw_goes_with_min_region() -> None:
    with pytest.raises(UsageError, match="--min-region"):
        OutputSettings(keep_raw=True)


def test_more_regions_than_memory_has_room_for_fail_their_image_alone(
    made: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseg_core.clustering.cleaning.NODE_BYTES", 1 << 28)
    result = make(pictures, tmp_path / "out.zarr", model=made, memory=1 << 33)
    assert [Path(failure.source).name for failure in result.failures] == [LARGE]
    assert "--memory" in result.failures[0].reason
    assert list(open_store(str(tmp_path / "out.zarr"))) == [SMALL]
    assert check_store(str(tmp_path / "out.zarr"), SYNC)["problems"] == []
