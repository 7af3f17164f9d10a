"""Segments of images that are worked on in pieces: to the last bit those of the same image in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from kseg_core.config import SegmentsConfig
from kseg_core.segment_settings import SegmentSettings
from kseg_core.segments.lifting import factor_of
from kseg_core.segments.whole import contours_of
from kseg_core.store import segments as stored
from tests.asking import SYNC, problems, run_job, selection, stopped_at
from tests.killing import files_below
from tests.reference import cut
from workflows.layer_job import add_to_images
from workflows.layer_request import prepare_layer
from workflows.repair import repair_store

Array = NDArray[Any]
LEVEL, MOST = 0.1, 25  # of 253 steps


@dataclass(frozen=True, slots=True)
class Kind:
    """An image, what of it counts, and how it is segmented."""

    samples: Array  # (y, x, c)
    valid: Array | None
    scale: str
    settings: dict[str, Any]
    options: dict[str, Any]  # of its file

    @property
    def of_bands(self) -> bool:
        return "features" in self.settings

    def save(self, path: Path, tile: int = 32) -> Path:
        samples = self.samples
        if self.valid is not None and not self.of_bands:
            samples = np.concatenate([samples, self.valid[..., None].astype(np.uint8) * 255], axis=2)
        samples = samples[..., 0] if samples.shape[2] == 1 else samples
        layout = {"photometric": "minisblack"} | ({"planarconfig": "contig"} if samples.ndim == 3 else {})
        tifffile.imwrite(path, samples, tile=(tile, tile), metadata=None, **{**layout, **self.options})
        return path


def kind_of(name: str, smooth: Any, shape: tuple[int, int] = (230, 190)) -> Kind:
    picture = smooth(*shape, 5)
    picture[80:150, 40:130] //= 3
    valid = np.ones(shape, np.bool_)
    valid[20:60, 100:] = valid[:, 64:67] = valid[120:140, 30:64] = False
    match name:
        case "colours":
            return Kind(picture, None, "native", {}, {"photometric": "rgb"})
        case "masked":
            picture[~valid] = 7
            return Kind(picture, valid, "native", {}, {"photometric": "rgb", "extrasamples": ["unassalpha"]})
        case "photo":
            picture[~valid] = 7
            return Kind(picture, valid, "photo", {}, {"photometric": "rgb", "extrasamples": ["unassalpha"]})
        case "gray":
            return Kind(picture[..., :1], None, "native", {}, {})
    samples = np.where(valid[..., None], picture.astype(np.uint16) * 37 + 1, 0).astype(np.uint16)
    return Kind(samples, valid, "native", {"features": "bands", "nodata": "0"}, {})


def contours_in_memory(kind: Kind, block: int) -> Array:
    samples = kind.samples if kind.of_bands or kind.samples.shape[2] == 3 else np.repeat(kind.samples, 3, axis=2)
    factor = factor_of((samples.shape[0], samples.shape[1])) if kind.scale == "photo" else 1
    return contours_of(samples, kind.valid, of_bands=kind.of_bands, factor=factor, side=block)


def segmented(kind: Kind, file: Path, store: Path, **settings: Any) -> zarr.Group:
    run_job(file, store, 3, segments=LEVEL, segment_scale=kind.scale, **kind.settings, **settings)
    return zarr.open_group(str(store), mode="r")[f"images/{file.name}"]  # type: ignore[return-value]  # a group


def as_in_memory(image: zarr.Group, kind: Kind, expected: Array) -> None:
    """Contours, segments, and what is told of them."""
    np.testing.assert_array_equal(image["contours"][...], expected)  # type: ignore[index]  # it is there
    segments = np.asarray(image["labels/segments/0"])
    np.testing.assert_array_equal(segments, cut(expected, MOST))
    table = {name: np.asarray(array) for name, array in image["segments"].arrays()}  # type: ignore[union-attr]  # a group
    numbers = np.arange(1, int(segments.max()) + 1)
    assert numbers.size > 3
    assert table["area"].tolist() == np.bincount(segments.ravel(), minlength=numbers.size + 1)[1:].tolist()
    labels = np.asarray(image["labels/kmeans/0"])
    for number in numbers[:: max(1, numbers.size // 9)]:
        inside = segments == number
        rows, columns = np.nonzero(inside)
        box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        assert table["box"][number - 1].tolist() == box
        mean = np.broadcast_to(kind.samples[inside].mean(axis=0, dtype=float), table["mean"].shape[1:])
        np.testing.assert_allclose(table["mean"][number - 1], mean, rtol=1e-6)
        assert table["cluster"][number - 1] == np.bincount(labels[inside]).argmax()


@pytest.mark.parametrize("name", ["colours", "masked", "photo", "gray", "bands"])
def test_pieces_have_the_segments_of_the_image_in_memory(name: str, tmp_path: Path, smooth: Any, parts: Any) -> None:
    kind, block = kind_of(name, smooth), 80
    file = kind.save(tmp_path / "scene.tif")
    parts(block=block, photo=5000)
    expected = contours_in_memory(kind, block)
    assert np.unique(expected).size > 10
    ways = [(64, 64, "threads"), (200, 200, "sync"), (512, 64, "sync")]
    for number, (tile, side, scheduler) in enumerate([*ways, (64, 4096, "sync")][name == "gray" :]):
        parts(piece=side)
        store = tmp_path / f"{number}.zarr"
        as_in_memory(segmented(kind, file, store, tile=tile, scheduler=scheduler), kind, expected)
    assert problems(store) == []


@pytest.mark.parametrize(("shape", "tile"), [((300, 40), 16), ((40, 300), 16), ((300, 300), 300)])
def test_images_one_piece_or_one_block_wide_too(
    shape: tuple[int, int], tile: int, tmp_path: Path, smooth: Any, parts: Any
) -> None:
    kind = Kind(smooth(*shape, 3), None, "native", {}, {"photometric": "rgb"})
    parts(block=64, piece=64)
    file = kind.save(tmp_path / "scene.tif", tile=16)
    if tile == 300:  # strips, which are decoded in full width
        tifffile.imwrite(file, kind.samples, photometric="rgb", rowsperstrip=8)
    expected = contours_in_memory(kind, 64)
    as_in_memory(segmented(kind, file, tmp_path / "out.zarr", tile=64, scheduler="sync"), kind, expected)


#: Where a job is stopped, by the file that it was to write next.
STOPS = {
    "masked": [("partial/block-4", 1), ("contours/c/1/1/1", 1), ("segments/0/c/1/1", 1), ("segments/zarr.json", 2)],
    "photo": [("partial/hierarchy", 1), ("contours/zarr.json", 2), ("segments/area/c", 1), ("segments/1/c/0/1", 1)],
}


@pytest.mark.parametrize("name", ["masked", "photo"])
def test_a_stopped_job_given_again_ends_with_the_same_arrays(
    name: str, tmp_path: Path, smooth: Any, parts: Any, contents: Any
) -> None:
    kind = kind_of(name, smooth)
    file = kind.save(tmp_path / "scene.tif")
    parts(block=80, photo=5000, piece=64)
    settings = {"tile": 64, "scheduler": "sync"}
    segmented(kind, file, tmp_path / "undisturbed.zarr", **settings)
    expected = contents(tmp_path / "undisturbed.zarr"), files_below(tmp_path / "undisturbed.zarr")
    for number, (place, times) in enumerate(STOPS[name]):
        store = tmp_path / f"{number}.zarr"
        with stopped_at(f"scene.tif.*{place}", times):
            segmented(kind, file, store, **settings)
        segmented(kind, file, store, **settings)
        assert (contents(store), files_below(store)) == expected, place


@contextmanager
def written(store: Path, name: str) -> Iterator[Array]:
    """Values of an array, to be changed."""
    array = zarr.open_array(str(store / "images" / "scene.tif" / name), mode="r+")
    values = np.asarray(array[...])
    yield values
    array[...] = values


def test_a_damaged_store_is_repaired_to_the_same_bits(tmp_path: Path, smooth: Any, parts: Any, contents: Any) -> None:
    kind = kind_of("masked", smooth)
    file, store = kind.save(tmp_path / "scene.tif"), tmp_path / "out.zarr"
    parts(block=80, piece=64)
    segmented(kind, file, store, tile=64, scheduler="sync")
    expected = contents(store)
    with written(store, "labels/segments/0") as segments:
        segments[4:9, 4:9] = 9999
    assert any("segments" in line for line in problems(store))
    assert repair_store(str(store), SYNC)["repaired"] == ["scene.tif"]
    with written(store, "contours") as contours:
        contours[0, 150:152, 10] = 200 - contours[0, 150:152, 10]
    assert any("segments" in line for line in problems(store))
    for chunk in ("labels/segments/0/c/1/1", "labels/segments/1/c/0/0", "contours/c/1/2/0"):
        (store / "images" / "scene.tif" / chunk).write_bytes(b"no chunk")
        assert problems(store)
        assert repair_store(str(store), SYNC)["repaired"] == ["scene.tif"]
        assert contents(store) == expected


@pytest.mark.parametrize("scale", ["photo", pytest.param("native", marks=pytest.mark.slow)])
def test_two_processes_and_pieces_as_large_as_they_are(scale: str, tmp_path: Path, smooth: Any) -> None:
    kind = Kind(np.tile(smooth(515, 525, 5), (4, 4, 1)), None, scale, {}, {"photometric": "rgb"})
    file = kind.save(tmp_path / "scene.tif", tile=256)
    settings = {"scheduler": "processes", "workers": 2, "attempts": 1, "max_iter": 5}
    image = segmented(kind, file, tmp_path / "out.zarr", **settings)
    np.testing.assert_array_equal(image["contours"][...], contours_in_memory(kind, 1024))  # type: ignore[index]  # it is there
    np.testing.assert_array_equal(image["labels/segments/0"][...], cut(np.asarray(image["contours"]), MOST))  # type: ignore[index]  # it is there


def test_an_image_whose_graph_memory_cannot_hold_fails_alone_and_says_what_helps(
    tmp_path: Path, smooth: Any, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, folder = kind_of("colours", smooth), tmp_path / "images"
    folder.mkdir()
    kind.save(folder / "large.tif")
    tifffile.imwrite(folder / "small.tif", smooth(50, 50, 5), photometric="rgb")
    parts(piece=64, block=64)
    monkeypatch.setattr("workflows.labelling.segmenting.JOINED_TIMES", 1 << 30)
    result = run_job(folder, tmp_path / "out.zarr", 3, segments=LEVEL, segment_scale="native", tile=64)
    failures = result.to_json()["failures"]
    assert [failure["source"] for failure in failures] == [str(folder / "large.tif")]
    assert "--memory" in failures[0]["reason"]
    left = files_below(tmp_path / "out.zarr")
    assert "images/small.tif/labels/segments/0/zarr.json" in left
    large = [name for name in left if name.startswith("images/large.tif/")]
    assert large
    assert not [name for name in large if "segments" in name or "contours" in name]


@pytest.mark.parametrize("alone", [False, True])
def test_a_stopped_job_goes_on_behind_the_blocks_that_are_done(
    alone: bool, tmp_path: Path, smooth: Any, parts: Any, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    kind, store = kind_of("colours", smooth), tmp_path / "out.zarr"
    file = kind.save(tmp_path / "a.tif")
    parts(piece=64, block=64)

    def find(store: Path) -> None:
        if not store.exists() and not alone:
            run_job(file, store, 3, tile=64)
        config = SegmentsConfig(execution=SYNC, settings=SegmentSettings(LEVEL), scale="native", tile=64)
        add_to_images(prepare_layer(selection(file), config, str(store)))

    find(tmp_path / "whole.zarr")
    with stopped_at(r"block-\d+\.npz$", 8):
        find(store)
    done = {each for each in files_below(store) if re.search(r"block-\d+\.npz$", each)}
    assert len(done) == 7
    made: list[int] = []
    put_block = stored.Unfinished.put_block
    monkeypatch.setattr(stored.Unfinished, "put_block", lambda *of: made.append(of[1]) or put_block(*of))
    find(store)
    assert sorted([*made, *(int(re.sub(r"\D", "", each.rpartition("/")[2])) for each in done)]) == list(range(4 * 3))
    assert contents(store) == contents(tmp_path / "whole.zarr")
    assert "contours.partial" not in " ".join(files_below(store))
