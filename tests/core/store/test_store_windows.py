"""Images written window by window: the same arrays as in one go, however they are cut, and never a torn chunk."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr_models.v05 import Image, ImageLabel, Labels

from kseg_core.clustering.labelling import NO_COLORS, label_dtype, no_labels
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError
from kseg_core.layers.layer import LayerInput, Layout
from kseg_core.layers.pyramid import mean_of_blocks, mode_of_blocks
from kseg_core.layers.tiles import pyramid_levels
from kseg_core.store.opening import StoredImage, create_store, open_store
from kseg_core.store.record import ImageRecord
from kseg_core.store.writing import build_level, create_image, finish_image, remove_image, write_image, write_window


@pytest.fixture
def path(tmp_path: Path) -> str:
    return new_store(tmp_path)


def new_store(folder: Path, name: str = "s.zarr") -> str:
    path = str(folder / name)
    create_store(path, {"config": {}})
    return path


def layout_of(shape: tuple[int, int], k: int = 3, tile: int = 64, **more: Any) -> Layout:
    return Layout(shape, k, tile, more.pop("masks", True), more.pop("levels", pyramid_levels(shape, tile)), **more)


def labels_of(layout: Layout, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(1, layout.k), layout.shape).astype(layout.label_dtype)
    labels[rng.random(layout.shape) < 0.2] = layout.invalid
    return labels


def samples_of(layout: Layout, seed: int = 1) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*layout.shape, layout.copy_bands)).astype(layout.copy_dtype)


def record_of(labels: NDArray[Any], layout: Layout, key: str = "slide") -> ImageRecord:
    counts = np.bincount(labels.reshape(-1), minlength=layout.invalid + 1)
    return ImageRecord(key, "a/slide.tif", 9, 9, layout.shape, tuple(counts[: layout.k].tolist()), int(counts[-1]), 1.5)


def colors_of(layout: Layout) -> NDArray[np.uint8]:
    return np.arange(3 * layout.k, dtype=np.uint8).reshape(-1, 3)


def write_by_windows(
    path: str, layout: Layout, labels: NDArray[Any], samples: NDArray[Any] | None, side: int, seed: int
) -> None:
    """Everything in windows of about ``side`` pixels in a random order."""
    shuffle = random.Random(seed).shuffle
    create_image(path, "slide", layout)
    windows = list(layout.windows(0, side))
    shuffle(windows)
    for rows, columns in windows:
        write_window(path, "slide", (rows, columns), LayerInput(labels, samples).part((rows, columns)), layout)
    for level in range(1, layout.levels):
        windows = list(layout.windows(level, side))
        shuffle(windows)
        for region in windows:
            build_level(path, "slide", level, region, layout)
    finish_image(path, record_of(labels, layout), layout, colors_of(layout))


def opened(path: str, key: str = "slide") -> StoredImage:
    return open_store(path)[key]


# ------------------------------------------------------------------------------------------ windows = one go


@pytest.mark.parametrize(
    ("shape", "tile"), [((1, 1), 64), ((1000, 1), 64), ((1, 130), 64), ((130, 200), 64), ((130, 200), 1000)]
)
@pytest.mark.parametrize("side", [1, 130, 10_000])
def test_windows_of_any_size_in_any_order_are_the_same_store(
    tmp_path: Path, contents: Any, shape: tuple[int, int], tile: int, side: int
) -> None:
    layout = layout_of(shape, tile=tile, copy_bands=2, copy_dtype="uint16")
    labels, samples = labels_of(layout), samples_of(layout)
    whole, cut = new_store(tmp_path, "whole.zarr"), new_store(tmp_path, "cut.zarr")
    write_image(whole, record_of(labels, layout), LayerInput(labels, samples), colors_of(layout), layout)
    write_by_windows(cut, layout, labels, samples, side, seed=side)
    assert contents(Path(cut)) == contents(Path(whole))


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.integers(16, 80),
    st.integers(1, 160),
    st.integers(0, 2**31),
)
def test_every_level_is_the_mode_and_the_mean_of_the_one_above(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], tile: int, side: int, seed: int
) -> None:
    path = new_store(tmp_path_factory.mktemp("levels"))
    layout = layout_of(shape, tile=tile, copy_bands=1, copy_dtype="float32")
    labels, samples = labels_of(layout, seed), samples_of(layout, seed)
    samples[labels == layout.invalid] = np.nan
    write_by_windows(path, layout, labels, samples, side, seed)
    image = opened(path)
    assert len(image.levels) == len(image.image_levels) == layout.levels
    finer: NDArray[Any] = labels
    finer_image: NDArray[Any] = samples[..., 0]
    for stored, stored_image in zip(image.levels, image.image_levels, strict=True):
        np.testing.assert_array_equal(stored[...], finer)
        np.testing.assert_array_equal(stored_image[0], finer_image)
        finer, finer_image = mode_of_blocks(finer, layout.invalid), mean_of_blocks(finer_image)
    np.testing.assert_array_equal(image.masks[...], labels == np.arange(3)[:, None, None])  # type: ignore[index]


def test_windows_larger_than_what_is_held_at_once_are_written_whole(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kseg_core.store.writing.WRITE_SIDE", 64)
    layout = layout_of((150, 300), tile=32)
    labels = labels_of(layout)
    write_by_windows(path, layout, labels, None, side=128, seed=0)
    image = opened(path)
    np.testing.assert_array_equal(image.labels[...], labels)
    np.testing.assert_array_equal(image.levels[1][...], mode_of_blocks(labels, layout.invalid))
    np.testing.assert_array_equal(image.masks[...], labels == np.arange(3)[:, None, None])  # type: ignore[index]


def test_no_two_windows_write_one_file(path: str, every_file: Any) -> None:
    """A tile of 50 halves evenly once; still every file is written by one call."""
    layout = layout_of((230, 170), tile=50, copy_bands=1)
    labels, samples = labels_of(layout), samples_of(layout)
    folder = Path(path) / "images" / "slide"
    create_image(path, "slide", layout)
    before = every_file(folder)

    def chunks_changed() -> set[str]:
        nonlocal before
        now = {name: what for name, what in every_file(folder).items() if Path(name).is_file()}
        changed = {name for name, what in now.items() if before.get(name) != what}
        before = now
        return changed

    calls: list[Any] = [
        (write_window, (region, LayerInput(labels, samples).part(region))) for region in layout.windows(0, 50)
    ]
    for level in range(1, layout.levels):
        calls += [(build_level, (level, region)) for region in layout.windows(level, 50)]
    seen: set[str] = set()
    for call, arguments in calls:
        changed = chunks_changed() if not seen else set()
        call(path, "slide", *arguments, layout)
        changed = chunks_changed()
        assert changed
        assert not changed & seen
        seen |= changed


# ----------------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize("tile", [64, 1000])
def test_levels_are_halves_in_tiles_of_their_own_anchored_at_the_origin(path: str, tile: int) -> None:
    layout = layout_of((2100, 1030), k=2, tile=tile, masks=False)
    create_image(path, "slide", layout)
    shape, shapes = (2100, 1030), []
    for _ in range(layout.levels):
        shapes.append(shape)
        shape = (-(-shape[0] // 2), -(-shape[1] // 2))
    levels: list[Any] = opened(path).levels
    assert [array.shape for array in levels] == shapes
    assert [array.chunks for array in levels] == [(min(tile, h), min(tile, w)) for h, w in shapes]
    assert {(str(array.dtype), int(array.fill_value)) for array in levels} == {("uint8", 255)}
    assert len(levels) == layout.levels


def test_an_image_of_one_level_without_copy_is_what_settings_make(tmp_path: Path, contents: Any) -> None:
    layout = layout_of((70, 90), levels=1)
    labels = labels_of(layout)
    paths = [new_store(tmp_path, name) for name in ("a.zarr", "b.zarr")]
    for path, how in zip(paths, (layout, OutputSettings(tile=64)), strict=True):
        write_image(path, record_of(labels, layout), LayerInput(labels), colors_of(layout), how)
    assert contents(Path(paths[0])) == contents(Path(paths[1]))
    image = opened(paths[0])
    assert (len(image.levels), image.image, image.image_levels, image.georeference) == (1, None, [], None)


def test_more_than_254_clusters_have_pyramids_of_16_bits(path: str) -> None:
    layout = layout_of((150, 100), k=400, masks=False)
    labels = labels_of(layout)
    write_image(path, record_of(labels, layout), LayerInput(labels), np.zeros((400, 3), np.uint8), layout)
    levels = opened(path).levels
    assert [(array.dtype, array.fill_value) for array in levels] == [(np.uint16, 65_535)] * 3
    np.testing.assert_array_equal(levels[1][...], mode_of_blocks(labels, 65_535))
    ImageLabel.from_zarr(zarr.open_group(path, path="images/slide/labels/kmeans", mode="r"))


@pytest.mark.parametrize("k", [0, 3])
def test_an_image_without_a_valid_pixel_is_invalid_at_every_level(path: str, k: int) -> None:
    layout = layout_of((130, 70), k=k)
    labels = no_labels(layout.shape).astype(label_dtype(k))
    write_image(path, record_of(labels, layout), LayerInput(labels), colors_of(layout) if k else NO_COLORS, layout)
    image = opened(path)
    assert all((np.asarray(array[...]) == 255).all() for array in image.levels)
    assert (image.masks is not None) is (k > 0)
    assert image.attributes["invalid"] == labels.size
    ImageLabel.from_zarr(zarr.open_group(path, path="images/slide/labels/kmeans", mode="r"))


def test_each_document_is_what_zarr_itself_writes(path: str, tmp_path: Path) -> None:
    layout = layout_of((70, 90), levels=1)
    labels = labels_of(layout)
    write_image(path, record_of(labels, layout), LayerInput(labels), colors_of(layout), layout)
    folder = Path(path) / "images" / "slide"
    theirs = zarr.create_group(tmp_path / "theirs.zarr", attributes=dict(zarr.open_group(folder, mode="r").attrs))
    assert json.loads((folder / "zarr.json").read_bytes()) == json.loads(
        (tmp_path / "theirs.zarr" / "zarr.json").read_bytes()
    )
    assert theirs.metadata.zarr_format == 3
    document = json.loads((folder / "masks" / "zarr.json").read_bytes())
    assert json.loads(json.dumps(zarr.open_array(folder / "masks", mode="r").metadata.to_dict())) == document
    assert not list(folder.rglob("*.partial"))


# ----------------------------------------------------------------------------------------------- guards


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(0, 64), slice(0, 63)),
        (slice(1, 64), slice(0, 64)),
        (slice(0, 100), slice(64, 129)),
        (slice(64, 128), slice(0, 64)),
        (slice(0, 0), slice(0, 64)),
    ],
)
def test_windows_that_hold_a_part_of_a_tile_are_refused_and_change_nothing(
    path: str, every_file: Any, rows: slice, columns: slice
) -> None:
    layout = layout_of((100, 130), copy_bands=1)
    create_image(path, "slide", layout)
    before = every_file(Path(path))
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    with pytest.raises(ValueError, match="whole tiles of 64"):
        write_window(path, "slide", (rows, columns), LayerInput(np.zeros(shape, np.uint8)), layout)
    with pytest.raises(ValueError, match="whole tiles of 64"):
        build_level(path, "slide", 1, (slice(0, 50), slice(1, 64)), layout)
    assert every_file(Path(path)) == before


def test_pixels_that_are_not_those_of_the_window_are_refused(path: str) -> None:
    layout = layout_of((100, 130), copy_bands=3)
    create_image(path, "slide", layout)
    region, sound = (slice(0, 64), slice(64, 130)), np.zeros((64, 66), np.uint8)
    for wrong in (np.zeros((64, 64), np.uint8), np.zeros((64, 66), np.uint16), np.zeros((64, 66), np.int64)):
        with pytest.raises(ValueError, match=r"expected (labels uint8|a window) of"):
            write_window(path, "slide", region, LayerInput(wrong), layout)  # type: ignore[arg-type]
    samples: NDArray[Any]
    for samples in (sound, np.zeros((64, 66, 4), np.uint8), np.zeros((64, 66, 3), np.uint16)):
        with pytest.raises(ValueError, match=r"expected (samples of 3 bands|copy uint8)"):
            write_window(path, "slide", region, LayerInput(sound, samples), layout)
    labels = labels_of(layout)
    with pytest.raises(ValueError, match="expected a window with what copy is made of"):
        write_image(path, record_of(labels, layout), LayerInput(labels), colors_of(layout), layout)


@pytest.mark.parametrize("level", [0, -1, 3])
def test_there_is_nothing_to_build_at_levels_that_are_not(path: str, level: int) -> None:
    layout = layout_of((130, 200))
    create_image(path, "slide", layout)
    assert layout.levels == 3
    with pytest.raises(ValueError, match="a level from 1 to 2"):
        build_level(path, "slide", level, (slice(0, 64), slice(0, 64)), layout)


@pytest.mark.parametrize(
    "change", [{"shape": (0, 5)}, {"tile": 0}, {"levels": 0}, {"k": -1}, {"copy_dtype": "bool"}, {"copy_bands": -1}]
)
def test_layouts_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        replace(layout_of((5, 5)), **change)


def test_writing_needs_a_store_and_an_image_in_it(tmp_path: Path, path: str) -> None:
    layout = layout_of((5, 5))
    with pytest.raises(FileNotFoundError):
        create_image(str(tmp_path / "none.zarr"), "slide", layout)
    with pytest.raises(FileNotFoundError):
        write_window(path, "slide", (slice(0, 5), slice(0, 5)), LayerInput(np.zeros((5, 5), np.uint8)), layout)


# ------------------------------------------------------------------------------------------ completeness


def test_nothing_vouches_for_an_image_before_it_is_finished(path: str) -> None:
    layout = layout_of((130, 70), copy_bands=1)
    labels, samples = labels_of(layout), samples_of(layout)
    window = (slice(0, 130), slice(0, 70))
    create_image(path, "slide", layout)
    write_window(path, "slide", window, LayerInput(labels, samples), layout)
    assert opened(path).attributes == {}
    group = zarr.open_group(path, path="images/slide", mode="r")
    assert dict(group.attrs) == {}
    finish_image(path, record_of(labels, layout), layout, colors_of(layout))
    assert opened(path).attributes["status"] == "complete"


def test_creating_an_image_again_removes_what_was_there(path: str) -> None:
    first = layout_of((130, 200), copy_bands=1)
    labels = labels_of(first)
    write_image(path, record_of(labels, first), LayerInput(labels, samples_of(first)), colors_of(first), first)
    second = layout_of((10, 10), masks=False)
    create_image(path, "slide", second)
    image = opened(path)
    assert (image.attributes, image.image, image.masks, len(image.levels)) == ({}, None, None, 1)
    remove_image(path, "slide")
    remove_image(path, "slide")
    assert list(open_store(path)) == []


def test_an_image_half_removed_no_longer_calls_itself_complete(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while an image is removed must not leave chunks missing below attributes that say otherwise."""
    layout = layout_of((10, 10))
    labels = labels_of(layout)
    write_image(path, record_of(labels, layout), LayerInput(labels), colors_of(layout), layout)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kseg_core.storage.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_image(path, "slide")
    with pytest.raises(StoreError, match="a damaged image"):
        open_store(path)["slide"]


def test_a_pyramid_is_made_where_the_settings_ask_for_one(path: str) -> None:
    layout = layout_of((150, 100))
    labels = labels_of(layout)
    write_image(
        path, record_of(labels, layout), LayerInput(labels), colors_of(layout), OutputSettings(tile=64, pyramid=True)
    )
    assert len(opened(path).levels) == layout.levels == 3


def test_a_document_that_cannot_be_written_leaves_nothing_behind(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = layout_of((10, 10), levels=1)
    create_image(path, "slide", layout)

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("kseg_core.store.nodes.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        finish_image(path, record_of(labels_of(layout), layout), layout, colors_of(layout))
    assert not list(Path(path).rglob("*.partial"))
    assert opened(path).attributes == {}


# ------------------------------------------------------------------------------------------ other readers


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Layout]:
    """An RGB slide with its pyramid, pixels of half a micrometer."""
    path = new_store(tmp_path_factory.mktemp("copied"))
    layout = layout_of((150, 260), copy_bands=3, pixel_size=(0.5, 0.25), unit="micrometer")
    labels = labels_of(layout)
    write_image(path, record_of(labels, layout), LayerInput(labels, samples_of(layout)), colors_of(layout), layout)
    return path, layout


def test_a_copied_image_is_a_complete_ome_zarr_image(copied: tuple[str, Layout]) -> None:
    path, layout = copied
    image = Image.from_zarr(zarr.open_group(path, path="images/slide", mode="r"))
    (described,) = image.ome_attributes.multiscales
    assert [axis.name for axis in described.axes] == ["c", "y", "x"]
    assert [getattr(axis, "unit", None) for axis in described.axes][1:] == ["micrometer"] * 2
    assert [dataset.path for dataset in described.datasets] == ["0", "1", "2", "3"]
    first = described.datasets[1].coordinateTransformations
    assert first[0].scale == [1.0, 1.0, 0.5]  # type: ignore[union-attr]
    labels = ImageLabel.from_zarr(zarr.open_group(path, path="images/slide/labels/kmeans", mode="r"))
    assert len(labels.ome_attributes.multiscales[0].datasets) == layout.levels == 4
    assert Labels.from_zarr(zarr.open_group(path, path="images/slide/labels", mode="r"))
    stored = opened(path).image
    assert stored is not None
    assert (stored.dtype, stored.chunks, stored.metadata.dimension_names) == (np.uint8, (1, 64, 64), ("c", "y", "x"))  # type: ignore[union-attr]
    np.testing.assert_array_equal(np.moveaxis(np.asarray(stored[...]), 0, 2), samples_of(layout))


@pytest.mark.parametrize("group", ["", pytest.param("labels/kmeans", marks=pytest.mark.slow)])
def test_the_validator_s_command_accepts_all_groups_of_a_copied_image(copied: tuple[str, Layout], group: str) -> None:
    place = os.path.join(copied[0], "images", "slide", group)
    command = [Path(sys.executable).with_name("ome-zarr-models"), "validate", place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid" in done.stdout


def test_every_level_becomes_an_xarray_dataset(copied: tuple[str, Layout]) -> None:
    path, layout = copied
    image = opened(path)
    for level in range(layout.levels):
        dataset = image.to_xarray(level)
        height, width = layout.level_shape(level)
        assert dict(dataset.sizes) == {"y": height, "x": width, "c": 3} | ({"cluster": 3} if level == 0 else {})
        np.testing.assert_array_equal(dataset["labels"], image.levels[level][...])
        np.testing.assert_array_equal(dataset["image"], image.image_levels[level][...])
    assert dataset["labels"].dtype == np.uint8
    for level in (-1, layout.levels):
        with pytest.raises(ValueError, match="a level from 0 to 3"):
            image.to_xarray(level)


def test_the_raw_call_of_the_documents_opens_level_0(copied: tuple[str, Layout]) -> None:
    """xarray opens no group whose arrays have dimensions of one name and several sizes: the others are dropped."""
    path, layout = copied
    others = [str(level) for level in range(1, 32)]
    for group, name in itertools.product(("labels/kmeans", ""), ("0",)):
        place = f"{path}/images/slide/{group}"
        with pytest.raises(ValueError, match="conflicting sizes"):
            xarray.open_zarr(place, consolidated=False)
        raw = xarray.open_zarr(place, consolidated=False, decode_coords="all", drop_variables=others)
        assert raw[name].shape[-2:] == layout.shape
