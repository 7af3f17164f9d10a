"""Reports of stores of segments alone, and what reports tell of segments: what is shown is what the store holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.config import ExecutionSettings, SegmentsConfig
from kseg_core.errors import StoreError
from kseg_core.report.facts import read_facts
from kseg_core.report.thumbnails import pixels_of
from kseg_core.report.views import Pictures, ViewPlan
from kseg_core.segment_settings import LEVELS, SegmentSettings
from kseg_core.segments.cutting import cut_window
from kseg_core.store.opening import open_store
from kseg_core.store.originals import Originals
from tests.asking import SYNC, selection
from tests.tiffs import save_tiff
from tests.workflows.test_report import data_of, report
from workflows.computing.context import Context
from workflows.layer_job import add_to_images
from workflows.layer_request import prepare_layer
from workflows.report import pictures_of
from workflows.viewing.verify import output_settings

CLEAR = "picture-2.png"  # the one with transparent pixels
LONG = "picture-7.png"  # of many tiles


def add(inputs: Path, output: Path, level: float = 0.2, **config: Any) -> None:
    how = SegmentsConfig(SegmentSettings(level), execution=SYNC, **config)
    add_to_images(prepare_layer(selection(inputs), how, str(output)))


def seen(store: Path, longest: int = 2000) -> dict[str, Pictures]:
    """The pictures of all images of a store of segments alone."""
    opened = open_store(str(store))
    facts = [read_facts(str(store), key, None, labelled=False) for key in opened]
    plan = ViewPlan(
        str(store), Originals.of(opened.attributes), output_settings(opened), longest, None, {}, None, frozenset()
    )
    with Context.open(SYNC) as context:
        pictures, failures = pictures_of(plan, facts, context)
    assert failures == []
    return pictures


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path) -> Path:
    """A folder with the pictures ``in``, and a store of their segments alone."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "in").mkdir()
    for key in (CLEAR, LONG):
        shutil.copy(smooth_folder / key, folder / "in")
    add(folder / "in", folder / "s.zarr", tile=64)
    return folder


def test_a_store_of_segments_alone_has_a_page_of_what_it_holds(here: Path, tmp_path: Path) -> None:
    store = open_store(str(here / "s.zarr"))
    told = report(here / "s.zarr", tmp_path / "r", figures=True)
    assert (told["status"], told["images"], told["failures"]) == ("ok", {"total": 2, "shown": 2}, [])
    assert [Path(each).name for each in told["figures"]] == ["segments.png"]
    page, data = (tmp_path / "r" / "report.html").read_text(), data_of(tmp_path / "r")
    columns = [column["id"] for column in data["columns"]]
    assert columns == ["rank", "name", "pixels", "segments"]
    counts = {}
    for row in data["images"]:
        numbers = np.asarray(store[row[1]].segments[...])
        assert row[2:] == [np.count_nonzero(numbers), numbers.max()]
        counts[row[1]] = int(numbers.max())
    assert f"<dd>{sum(counts.values()):,}, level 0.2</dd>" in page
    for name, level in LEVELS.items():
        most = SegmentSettings(level).most
        cuts = [int(cut_window(np.asarray(image.array("contours")[...]), most).max()) for image in store.values()]
        assert f'<td>{name}</td><td class="n">{level:g}</td><td class="n">{sum(cuts):,}</td>' in page
    assert f'<td>as stored</td><td class="n">0.2</td><td class="n">{sum(counts.values()):,}</td>' in page
    for key in store:
        area = np.asarray(store[key].array("segments/area")[...])
        number = int(area.argmax()) + 1
        assert f'<td>{key}</td><td class="n">{number}</td>' in page
    assert page.count('data-step="51"') == 2  # the sliders
    for absent in ("K-means", "palette of its own", "Mse", "outlier"):
        assert absent not in page


def test_pictures_are_originals_and_segments_in_their_means_whatever_the_windows(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pictures = open_store(str(here / "s.zarr")), seen(here / "s.zarr")
    for key, found in pictures.items():
        numbers = np.asarray(store[key].segments[...])
        assert (found.segmented, found.lost, found.original is not None) == (None, "", True)
        original, picture = pixels_of(found.original or b""), pixels_of(dict(found.added)["segments"])
        for number in range(1, numbers.max() + 1):
            mean = original[numbers == number][:, :3].mean(axis=0)
            assert (abs(picture[numbers == number][:, :3] - mean) <= 0.5).all()
        assert [each.pixels for each in found.largest] == sorted(np.bincount(numbers.ravel())[1:], reverse=True)[:20]
        first = found.largest[0]
        rows, columns = np.nonzero(numbers == first.number)
        assert first.box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    small = seen(here / "s.zarr", 100)
    monkeypatch.setattr("kseg_core.report.views.WINDOW_PX", 64)
    assert seen(here / "s.zarr", 100) == small
    assert seen(here / "s.zarr") == pictures


def test_without_its_file_an_image_is_shown_in_the_mean_colours_of_its_segments(here: Path, tmp_path: Path) -> None:
    shutil.copytree(here / "in", tmp_path / "in")
    add(tmp_path / "in", tmp_path / "s.zarr", tile=64)
    with_files = seen(tmp_path / "s.zarr")
    (tmp_path / "in" / LONG).unlink()
    found, image = seen(tmp_path / "s.zarr")[LONG], open_store(str(tmp_path / "s.zarr"))[LONG]
    assert (found.original, "not there any more" in found.lost) == (None, True)
    assert found.hierarchy == with_files[LONG].hierarchy
    assert found.largest == with_files[LONG].largest
    numbers, mean = np.asarray(image.segments[...]), np.asarray(image.array("segments/mean")[...])
    picture = pixels_of(dict(found.added)["segments"])
    assert (abs(picture[numbers > 0] - mean[numbers[numbers > 0] - 1]) <= 0.5).all()
    report(tmp_path / "s.zarr", tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text()
    assert "The original of one picture cannot be shown" in page
    assert page.count('data-step="51"') == 2
    shutil.rmtree(tmp_path / "s.zarr" / "images" / LONG / "contours")  # then as they are stored, without a slider
    bare = seen(tmp_path / "s.zarr")[LONG]
    assert bare.hierarchy is None
    bare_picture = pixels_of(dict(bare.added)["segments"])
    assert (bare_picture[numbers > 0][:, :3] == picture[numbers > 0][:, :3]).all()


@pytest.mark.parametrize(("dtype", "count"), [("uint16", 4), ("float32", 1)])
def test_bands_are_shown_between_the_means_of_their_segments(dtype: str, count: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    samples = np.kron(random.integers(0, 9, (4, 5, count)), np.ones((16, 16, 1))) * 700 + random.integers(
        0, 20, (64, 80, count)
    )
    (tmp_path / "in").mkdir()
    save_tiff(tmp_path / "in" / "a.tif", samples.astype(dtype) if count > 1 else samples[..., 0].astype(dtype))
    add(tmp_path / "in", tmp_path / "s.zarr", 0.3)
    with_file: Pictures = seen(tmp_path / "s.zarr")["a.tif"]
    assert (with_file.lost, with_file.original is not None) == ("", True)
    original = pixels_of(with_file.original or b"")[..., 0].astype(int)
    plain = samples[..., 0]
    low, high = (original[plain == value].mean() for value in (plain.min(), plain.max()))
    assert high - low > 150  # it is seen from dark to bright
    report(tmp_path / "s.zarr", tmp_path / "r")
    assert "a.tif" in (tmp_path / "r" / "report.html").read_text()


def test_any_scheduler_makes_the_same_page(here: Path, tmp_path: Path) -> None:
    report(here / "s.zarr", tmp_path / "one")
    report(here / "s.zarr", tmp_path / "two", execution=ExecutionSettings(workers=2))
    assert (tmp_path / "one" / "report.html").read_bytes() == (tmp_path / "two" / "report.html").read_bytes()


def test_what_is_not_finished_or_damaged_is_named(here: Path, tmp_path: Path) -> None:
    shutil.copytree(here / "s.zarr", tmp_path / "s.zarr")
    image = tmp_path / "s.zarr" / "images" / CLEAR
    shutil.rmtree(image / "segments" / "area")
    told = report(tmp_path / "s.zarr", tmp_path / "r")
    assert (told["status"], told["images"]["shown"]) == ("partial", 1)
    assert told["failures"][0]["source"] == CLEAR
    for key in (CLEAR, LONG):
        shutil.rmtree(tmp_path / "s.zarr" / "images" / key / "labels")
    with pytest.raises(StoreError, match=r"no finished image to report of \(.*segments are not finished"):
        report(tmp_path / "s.zarr", tmp_path / "none")
