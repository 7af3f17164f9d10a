"""The layout of a store and of its images, written whole or window by window; everybody else's readers open it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr_models.v05 import Image, ImageLabel, Labels

import kseg_core
from kseg_core.clustering.labelling import label_dtype, no_labels
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError
from kseg_core.layers.layer import LayerInput, Layout
from kseg_core.layers.pyramid import mean_of_blocks, mode_of_blocks
from kseg_core.layers.tiles import pyramid_levels
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage, create_store, open_store, update_attributes, write_model
from kseg_core.store.record import ImageRecord
from kseg_core.store.writing import (
    build_level,
    create_image,
    finish_image,
    mend_level,
    remove_image,
    write_image,
    write_window,
)

KEY, SOURCE = "slide", "day 1/slide.tif"


def new_store(folder: Path, name: str = "s.zarr") -> str:
    path = str(folder / name)
    create_store(path, {"config": {"fit": {"scope": "global"}}})
    return path


@pytest.fixture
def path(tmp_path: Path) -> str:
    return new_store(tmp_path)


def layout_of(shape: tuple[int, int], k: int = 3, tile: int = 64, **more: Any) -> Layout:
    return Layout(shape, k, tile, more.pop("masks", True), more.pop("levels", pyramid_levels(shape, tile)), **more)


def labels_of(layout: Layout, seed: int = 0) -> NDArray[Any]:
    """Random labels, every fifth invalid."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(1, layout.k), layout.shape).astype(layout.label_dtype)
    labels[rng.random(layout.shape) < 0.2] = layout.invalid
    return labels


def samples_of(layout: Layout, seed: int = 1) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*layout.shape, layout.copy_bands)).astype(layout.copy_dtype)


def record_of(labels: NDArray[Any], layout: Layout, key: str = KEY, source: str = SOURCE) -> ImageRecord:
    counts = np.bincount(labels.reshape(-1), minlength=layout.invalid + 1)
    return ImageRecord(key, source, 9, 5, layout.shape, tuple(counts[: layout.k].tolist()), int(counts[-1]), 1.5)


def colors_of(layout: Layout) -> NDArray[np.uint8]:
    return np.arange(3 * layout.k).astype(np.uint8).reshape(-1, 3)


def write(path: str, layout: Layout, how: Layout | OutputSettings | None = None, **more: Any) -> NDArray[Any]:
    """An image in one go, as the layout or settings say; its labels."""
    labels = more.pop("labels", labels_of(layout))
    window = LayerInput(labels, samples_of(layout) if layout.copy_bands else None)
    own = more.pop("own_model", None)
    write_image(path, record_of(labels, layout, **more), window, colors_of(layout), how or layout, own_model=own)
    return labels


def write_by_windows(path: str, layout: Layout, labels: NDArray[Any], samples: Any, side: int, seed: int) -> None:
    """Everything in windows of about ``side`` pixels in a random order."""
    shuffle = random.Random(seed).shuffle
    create_image(path, KEY, layout)
    for level in range(layout.levels):
        windows = list(layout.windows(level, side))
        shuffle(windows)
        for region in windows:
            if level:
                build_level(path, KEY, level, region, layout)
            else:
                write_window(path, KEY, region, LayerInput(labels, samples).part(region), layout)
    finish_image(path, record_of(labels, layout), layout, colors_of(layout))


def opened(path: str) -> StoredImage:
    return open_store(path)[KEY]


def group(path: str, inside: str = "") -> zarr.Group:
    return zarr.open_group(path, path=os.path.join("images", KEY, inside), mode="r")


def model_of(k: int) -> Model:
    return Model("gray", np.arange(k, dtype=np.float64)[:, None], np.zeros((k, 3), np.uint8), np.ones(k, np.int64), 0.0)


def is_one_line_of(error: BaseException, path: str | Path) -> bool:
    return str(path) in str(error) and "\n" not in str(error)


# ----------------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize(
    ("shape", "tile", "k"),
    [
        *(((100, 130), 64, 3), ((1, 1), 64, 2), ((64, 64), 64, 2), ((65, 63), 64, 2), ((1100, 70), 1024, 2)),
        *(((9, 12), 64, 254), ((9, 12), 64, 255)),
    ],
)
def test_labels_and_masks_are_as_they_were_made_whoever_opens_them(
    path: str, shape: tuple[int, int], tile: int, k: int
) -> None:
    layout = layout_of(shape, k, tile, levels=1)
    labels = write(path, layout, OutputSettings(True, tile))
    invalid = 255 if k <= 254 else 65_535
    chunks = (min(tile, shape[0]), min(tile, shape[1]))
    stored, masks = (opened(path).array(name) for name in ("labels/kmeans/0", "masks"))
    np.testing.assert_array_equal(stored[...], labels)
    assert (stored.dtype, stored.shape, stored.chunks, stored.fill_value) == (labels.dtype, shape, chunks, invalid)
    assert (np.iinfo(labels.dtype).max, stored.metadata.zarr_format) == (invalid, 3)
    np.testing.assert_array_equal(masks[...], labels == np.arange(k)[:, None, None])
    assert (masks.dtype, masks.chunks, masks.fill_value) == (bool, (1, *chunks), False)
    described: Any = group(path, "labels/kmeans").attrs["ome"]
    colors = {entry["label-value"]: entry["rgba"] for entry in described["image-label"]["colors"]}
    areas = {entry["label-value"]: entry["area"] for entry in described["image-label"]["properties"]}
    assert colors == {**{j: [*row, 255] for j, row in enumerate(colors_of(layout).tolist())}, invalid: [0, 0, 0, 0]}
    assert areas == {value: int((labels == value).sum()) for value in colors}
    assert list(areas) == list(colors)
    image = ImageLabel.from_zarr(group(path, "labels/kmeans"))
    assert [each.path for each in image.ome_attributes.multiscales[0].datasets] == ["0"]
    assert Labels.from_zarr(group(path, "labels")).ome_attributes.labels == ["kmeans"]
    raw = xarray.open_zarr(f"{path}/images/{KEY}/labels/kmeans", consolidated=False)["0"]
    raw_masks = xarray.open_zarr(f"{path}/images/{KEY}", consolidated=False)["masks"]
    dataset = opened(path).to_xarray()
    for found, expected in ((raw, raw_masks), (dataset["labels"], dataset["masks"])):
        assert (found.dims, found.dtype, expected.dims, expected.dtype) == (
            ("y", "x"), labels.dtype, ("cluster", "y", "x"), bool,
        )  # fmt: skip
        np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(dataset["masks"].sel(cluster=1), labels == 1)
    assert dataset.attrs["source"] == SOURCE


def test_the_attributes_of_an_image_and_of_its_labels_say_what_is_in_it(path: str) -> None:
    labels = write(path, layout_of((100, 130)))
    counts, invalid = [int((labels == j).sum()) for j in range(3)], int((labels == 255).sum())
    told = {"source": SOURCE, "size": 9, "modified": 5}
    of_labels = {"shape": [100, 130], "counts": counts, "invalid": invalid, "inertia": 1.5, "mse": 1.5 / sum(counts)}
    assert group(path).attrs["kseg"] == {**told, **of_labels, "status": "complete"}
    assert group(path, "labels/kmeans").attrs["kseg"] == told


@pytest.mark.parametrize(
    ("k", "asked", "made"), [(32, None, True), (33, None, False), (33, True, True), (2, False, False)]
)
def test_masks_are_made_up_to_32_clusters_or_as_asked(path: str, k: int, asked: bool | None, made: bool) -> None:
    write(path, layout_of((100, 130), k), OutputSettings(asked, 64))
    assert (opened(path).masks is not None) is made
    assert list(opened(path).to_xarray().data_vars) == ["labels", *["masks"] * made]


@pytest.mark.parametrize("k", [0, 3])
def test_an_image_without_a_valid_pixel_is_invalid_at_every_level(path: str, k: int) -> None:
    layout = layout_of((130, 70), k)
    write(path, layout, labels=no_labels(layout.shape).astype(label_dtype(k)))
    image = opened(path)
    assert all((np.asarray(array[...]) == 255).all() for array in image.levels)
    assert (image.masks is not None) is (k > 0)
    facts = image.attributes
    assert (facts["invalid"], facts["counts"], facts["mse"]) == (130 * 70, [0] * k, None)
    ImageLabel.from_zarr(group(path, "labels/kmeans"))


@pytest.mark.parametrize(("tile", "k"), [(64, 2), (1000, 2), (64, 400)])
def test_levels_are_halves_in_tiles_of_their_own_anchored_at_the_origin(path: str, tile: int, k: int) -> None:
    layout = layout_of((2100, 1030), k, tile, masks=False)
    create_image(path, KEY, layout)
    shapes = [(2100, 1030)]
    while len(shapes) < layout.levels:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    levels: list[Any] = opened(path).levels
    assert [array.shape for array in levels] == shapes
    assert [array.chunks for array in levels] == [(min(tile, h), min(tile, w)) for h, w in shapes]
    kinds = {(str(array.dtype), int(array.fill_value)) for array in levels}
    assert kinds == {("uint8", 255) if k == 2 else ("uint16", 65_535)}


def test_settings_make_one_level_and_no_copy_or_the_pyramid_asked_for(tmp_path: Path, contents: Any) -> None:
    layout = layout_of((150, 100))
    paths = [new_store(tmp_path, name) for name in ("a.zarr", "b.zarr", "c.zarr")]
    for path, how in zip(paths, (replace(layout, levels=1), OutputSettings(tile=64), None), strict=True):
        write(path, layout, how or OutputSettings(tile=64, pyramid=True))
    assert contents(Path(paths[0])) == contents(Path(paths[1]))
    image = opened(paths[0])
    assert (len(image.levels), image.image, image.image_levels, image.georeference) == (1, None, [], None)
    assert len(opened(paths[2]).levels) == layout.levels == 3


def test_each_document_is_what_zarr_itself_writes(path: str, tmp_path: Path) -> None:
    write(path, layout_of((70, 90), levels=1))
    folder = Path(path) / "images" / KEY
    zarr.create_group(tmp_path / "theirs.zarr", zarr_format=3, attributes=dict(group(path).attrs))
    theirs = json.loads((tmp_path / "theirs.zarr" / "zarr.json").read_bytes())
    assert json.loads((folder / "zarr.json").read_bytes()) == theirs
    document = json.loads((folder / "masks" / "zarr.json").read_bytes())
    assert json.loads(json.dumps(zarr.open_array(folder / "masks", mode="r").metadata.to_dict())) == document
    assert not list(folder.rglob("*.partial"))


# ------------------------------------------------------------------------------------------ windows = one go


@settings(max_examples=8, deadline=None)
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 150)), st.integers(16, 80), st.integers(1, 160), st.integers(0, 2**31)
)
@example((1, 1), 64, 1, 0)
@example((1000, 1), 64, 130, 0)
@example((1, 130), 64, 10_000, 0)
@example((130, 200), 1000, 130, 0)
def test_windows_of_any_size_in_any_order_are_the_same_store_and_levels_the_mode_and_mean_of_the_one_above(
    tmp_path_factory: pytest.TempPathFactory, contents: Any, shape: tuple[int, int], tile: int, side: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("levels")
    path, in_one_go = new_store(folder, "cut.zarr"), new_store(folder, "whole.zarr")
    layout = layout_of(shape, tile=tile, copy_bands=2, copy_dtype="float32")
    labels, samples = labels_of(layout, seed), samples_of(layout, seed)
    samples[labels == layout.invalid] = np.nan
    write_by_windows(path, layout, labels, samples, side, seed)
    write_image(in_one_go, record_of(labels, layout), LayerInput(labels, samples), colors_of(layout), layout)
    assert contents(Path(path)) == contents(Path(in_one_go))
    image = opened(path)
    assert len(image.levels) == len(image.image_levels) == layout.levels
    finer, finer_image = labels, samples[..., 0]
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
    np.testing.assert_array_equal(opened(path).labels[...], labels)
    np.testing.assert_array_equal(opened(path).levels[1][...], mode_of_blocks(labels, layout.invalid))


def test_no_two_windows_write_one_file(path: str, every_file: Any) -> None:
    """A tile of 50 halves evenly once; still every file is written by one call."""
    layout = layout_of((230, 170), tile=50, copy_bands=1)
    whole = LayerInput(labels_of(layout), samples_of(layout))
    create_image(path, KEY, layout)

    def there() -> dict[str, Any]:
        return {name: what for name, what in every_file(Path(path)).items() if Path(name).is_file()}

    seen: set[str] = set()
    before = there()
    for level in range(layout.levels):
        for region in layout.windows(level, 50):
            if level:
                build_level(path, KEY, level, region, layout)
            else:
                write_window(path, KEY, region, whole.part(region), layout)
            now = there()
            changed = {name for name, what in now.items() if before.get(name) != what}
            assert changed
            assert not changed & seen
            seen, before = seen | changed, now


def test_of_a_level_that_is_mended_what_is_sound_is_left_alone(path: str, every_file: Any) -> None:
    layout = layout_of((230, 170), copy_bands=1)
    write(path, layout)
    sound = every_file(Path(path))
    first, second = (Path(path) / "images" / KEY / "labels/kmeans/1/c" / name for name in ("0/0", "1/1"))
    for damage in (lambda: first.write_bytes(b"no chunk"), second.unlink):
        damage()
    for region in layout.windows(1, 64):
        mend_level(path, KEY, 1, region, layout)
    mended = every_file(Path(path))
    changed = {name for name in sound if Path(name).is_file() and sound[name] != mended.get(name)}
    assert changed <= {str(first), str(second)}
    assert (first.is_file(), second.is_file()) == (True, True)
    np.testing.assert_array_equal(opened(path).levels[1][...], mode_of_blocks(labels_of(layout), 255))


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
    create_image(path, KEY, layout)
    before = every_file(Path(path))
    labels = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    with pytest.raises(ValueError, match="whole tiles of 64"):
        write_window(path, KEY, (rows, columns), LayerInput(labels), layout)
    with pytest.raises(ValueError, match="whole tiles of 64"):
        build_level(path, KEY, 1, (slice(0, 50), slice(1, 64)), layout)
    assert every_file(Path(path)) == before


def test_pixels_that_are_not_those_of_the_window_are_refused(path: str) -> None:
    layout = layout_of((100, 130), copy_bands=3)
    create_image(path, KEY, layout)
    region, sound = (slice(0, 64), slice(64, 130)), np.zeros((64, 66), np.uint8)
    wrong: list[tuple[Any, Any]] = [
        *((sound[:, :64], None), (sound.astype(np.uint16), None), (sound.astype(np.int64), None), (sound, sound)),
        *((sound, np.zeros((64, 66, 4), np.uint8)), (sound, np.zeros((64, 66, 3), np.uint16))),
    ]
    for labels, samples in wrong:
        with pytest.raises(ValueError, match=r"expected (labels uint8|a window|samples of 3 bands|copy uint8)"):
            write_window(path, KEY, region, LayerInput(labels, samples), layout)
    window = LayerInput(labels_of(layout))
    with pytest.raises(ValueError, match="expected a window with what copy is made of"):
        write_image(path, record_of(window.labels, layout), window, colors_of(layout), layout)  # type: ignore[arg-type]


def test_levels_and_layouts_that_make_no_sense_and_places_without_a_store_are_refused(tmp_path: Path) -> None:
    path, layout = new_store(tmp_path), layout_of((130, 200))
    region = (slice(0, 130), slice(0, 200))
    with pytest.raises(FileNotFoundError):
        create_image(str(tmp_path / "none.zarr"), KEY, layout)
    with pytest.raises(FileNotFoundError):
        write_window(path, KEY, region, LayerInput(np.zeros((130, 200), np.uint8)), layout)
    create_image(path, KEY, layout)
    for level in (0, -1, 3):
        with pytest.raises(ValueError, match="a level from 1 to 2"):
            build_level(path, KEY, level, (slice(0, 64), slice(0, 64)), layout)
    odd = ("shape", (0, 5)), ("tile", 0), ("levels", 0), ("k", -1), ("copy_dtype", "bool"), ("copy_bands", -1)
    for name, value in odd:
        with pytest.raises(ValueError, match="expected"):
            replace(layout, **{name: value})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="the output cannot be written") as caught:
        create_store(str(tmp_path / "file" / "s.zarr"), {})
    assert is_one_line_of(caught.value, tmp_path)


# ------------------------------------------------------------------------------------------ completeness


def test_nothing_vouches_for_an_image_before_it_is_finished(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = layout_of((130, 70), copy_bands=1)
    window = LayerInput(labels_of(layout), samples_of(layout))
    create_image(path, KEY, layout)
    write_window(path, KEY, (slice(0, 130), slice(0, 70)), window, layout)
    assert opened(path).attributes == {}
    assert dict(group(path).attrs) == {}
    write(path, layout)
    assert opened(path).attributes["status"] == "complete"

    def fail(*_: Any) -> Any:
        raise OSError("disk full")

    create_image(path, KEY, layout)
    with monkeypatch.context() as patch:
        patch.setattr("kseg_core.storage.os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            finish_image(path, record_of(labels_of(layout), layout), layout, colors_of(layout))
    assert opened(path).attributes == {}
    monkeypatch.setattr("kseg_core.layers.labelled.MaskLayer.planes", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, layout)
    assert opened(path).attributes == {}
    assert not list(Path(path).rglob("*.partial"))


def test_an_image_made_again_replaces_all_of_it_and_one_half_removed_is_not_complete(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while an image is removed must not leave chunks missing below attributes that say otherwise."""
    write(path, layout_of((130, 200), copy_bands=1))
    again = layout_of((10, 10), 2, masks=False)
    create_image(path, KEY, again)
    image = opened(path)
    assert (image.attributes, image.image, image.masks, len(image.levels)) == ({}, None, None, 1)
    labels = write(path, again)
    np.testing.assert_array_equal(opened(path).labels[...], labels)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kseg_core.storage.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_image(path, KEY)
    with pytest.raises(StoreError, match="a damaged image"):
        opened(path)
    for _ in range(2):
        remove_image(path, KEY)
    assert list(open_store(path)) == []


def test_a_store_begins_as_running_and_is_complete_when_told(path: str) -> None:
    facts: Any = zarr.open_group(path, mode="r").attrs["kseg"]
    assert {"format", "kind", "status", "config", "software", "created"} <= set(facts)
    assert (facts["format"], facts["kind"], facts["status"]) == (1, "store", "running")
    assert facts["software"]["numpy"] == np.__version__
    assert not open_store(path).complete
    update_attributes(path, {"status": "complete", "result": None})
    assert not open_store(path).complete  # it does not say with what
    images, pixels = {"total": 1, "done": 1, "reused": 0, "failed": 0}, {"total": 9}
    result = {"status": "ok", "output": "o", "images": images, "pixels": pixels, "failures": [], "seconds": {}}
    told = {"status": "complete", "result": {**result, "edge_pixels": 2}}
    update_attributes(path, told)
    store = open_store(path)
    assert store.complete
    assert store.attributes == {**facts, **told}


# ------------------------------------------------------------------------------------------ other readers


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Layout]:
    """An RGB slide with its pyramid, pixels of half a micrometer."""
    path = new_store(tmp_path_factory.mktemp("copied"))
    layout = layout_of((150, 260), copy_bands=3, pixel_size=(0.5, 0.25), unit="micrometer")
    write(path, layout)
    return path, layout


def test_a_copied_image_is_a_complete_ome_zarr_image(copied: tuple[str, Layout]) -> None:
    path, layout = copied
    (described,) = Image.from_zarr(group(path)).ome_attributes.multiscales
    assert [axis.name for axis in described.axes] == ["c", "y", "x"]
    assert [getattr(axis, "unit", None) for axis in described.axes][1:] == ["micrometer"] * 2
    assert [dataset.path for dataset in described.datasets] == ["0", "1", "2", "3"]
    assert described.datasets[1].coordinateTransformations[0].scale == [1.0, 1.0, 0.5]  # type: ignore[union-attr]
    labels = ImageLabel.from_zarr(group(path, "labels/kmeans"))
    assert len(labels.ome_attributes.multiscales[0].datasets) == layout.levels == 4
    assert Labels.from_zarr(group(path, "labels"))
    stored = opened(path).image
    assert stored is not None
    assert (stored.dtype, stored.chunks, stored.metadata.dimension_names) == (np.uint8, (1, 64, 64), ("c", "y", "x"))  # type: ignore[union-attr]
    np.testing.assert_array_equal(np.moveaxis(np.asarray(stored[...]), 0, 2), samples_of(layout))


@pytest.mark.parametrize("inside", ["", pytest.param("labels/kmeans", marks=pytest.mark.slow)])
def test_the_validator_s_command_accepts_all_groups_of_a_copied_image(copied: tuple[str, Layout], inside: str) -> None:
    place = os.path.join(copied[0], "images", KEY, inside)
    command = [Path(sys.executable).with_name("ome-zarr-models"), "validate", place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid" in done.stdout


def test_every_level_becomes_an_xarray_dataset_and_level_0_by_the_raw_call_of_the_documents(
    copied: tuple[str, Layout],
) -> None:
    """xarray opens no group whose arrays have dimensions of one name and several sizes: the others are dropped."""
    path, layout = copied
    image = opened(path)
    for level in range(layout.levels):
        dataset = image.to_xarray(level)
        height, width = layout.level_shape(level)
        assert dict(dataset.sizes) == {"y": height, "x": width, "c": 3} | ({"cluster": 3} if level == 0 else {})
        np.testing.assert_array_equal(dataset["labels"], image.levels[level][...])
        np.testing.assert_array_equal(dataset["image"], image.image_levels[level][...])
    for level in (-1, layout.levels):
        with pytest.raises(ValueError, match="a level from 0 to 3"):
            image.to_xarray(level)
    others = [str(level) for level in range(1, 32)]
    for place in (f"{path}/images/{KEY}/labels/kmeans", f"{path}/images/{KEY}"):
        with pytest.raises(ValueError, match="conflicting sizes"):
            xarray.open_zarr(place, consolidated=False)
        raw = xarray.open_zarr(place, consolidated=False, decode_coords="all", drop_variables=others)
        assert raw["0"].shape[-2:] == layout.shape


# ---------------------------------------------------------------------------------------------- opening


def test_images_are_found_by_key_and_by_source(path: str) -> None:
    for key in ("b", "a"):
        write(path, layout_of((10, 10)), key=key, source=f"x/{key}.png")
    store = kseg_core.open_store(Path(path))  # type: ignore[arg-type]
    assert isinstance(store, Store)
    assert (list(store), len(store)) == (["a", "b"], 2)
    assert store["b"].key == store["x/b.png"].key == "b"
    assert {key: image.source for key, image in store.items()} == {"a": "x/a.png", "b": "x/b.png"}
    assert "x/a.png" in store
    assert "nothing" not in store
    with pytest.raises(KeyError, match="nothing"):
        store["nothing"]


def test_a_store_has_the_model_of_all_its_images_or_each_image_its_own(path: str) -> None:
    write(path, layout_of((10, 10)))
    assert opened(path).model is None
    remove_image(path, KEY)
    write(path, layout_of((10, 10)), own_model=model_of(3))
    own = opened(path).model
    assert own is not None
    assert (own.digest, open_store(path).has_model) == (model_of(3).digest, False)
    for k in (4, 2):
        write_model(path, model_of(k))
        assert open_store(path).has_model
        assert open_store(path).model.digest == model_of(k).digest
    folder = Path(path) / "images" / KEY / "model"
    metadata = json.loads((folder / "zarr.json").read_text())
    metadata["attributes"]["kseg"]["digest"] = "0"
    (folder / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match=f"^{folder}"):
        _ = opened(path).model


def test_opening_what_is_no_store_is_one_line_that_says_what_is_there(tmp_path: Path) -> None:
    model_of(2).save(str(tmp_path / "m.zarr"))
    zarr.create_group(tmp_path / "other.zarr")
    update_attributes(new_store(tmp_path, "later.zarr"), {"format": 2})
    told = {
        **dict.fromkeys(("missing", "", "other.zarr"), "no kseg store there"),
        "m.zarr": "a kseg model, not a store",
        "later.zarr": "a store of format 2; this version reads format 1",
    }
    for name, what in told.items():
        with pytest.raises(StoreError) as caught:
            open_store(str(tmp_path / name))
        assert str(caught.value).startswith(f"{tmp_path / name}: {what}")


GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'


@pytest.mark.parametrize(
    ("inside", "contents"),
    [
        ("", [b"", b"{", b"[]", b'{"attributes": {"kseg": []}}']),
        (f"images/{KEY}", [None, b"", b"{", b"[]", GROUP.replace(b"{}", b'{"kseg": 3}')]),
        (f"images/{KEY}", [GROUP.replace(b"{}", b'{"kseg": {"counts": ["many"]}}')]),
        (f"images/{KEY}/labels/kmeans/0", [None, b"{", b"{}", GROUP]),
    ],
)
def test_what_is_damaged_or_missing_is_one_line_that_names_it(
    path: str, inside: str, contents: list[bytes | None]
) -> None:
    write(path, layout_of((10, 10)))
    folder = Path(path) / inside
    for content in contents:
        (folder / "zarr.json").unlink() if content is None else (folder / "zarr.json").write_bytes(content)
        with pytest.raises(StoreError) as caught:
            _ = opened(path).labels
        assert is_one_line_of(caught.value, "labels/kmeans/0" if inside.endswith("0") else folder)
        folder.mkdir(exist_ok=True)
    if inside.endswith("0"):
        shutil.rmtree(folder)
        with pytest.raises(StoreError, match="labels/kmeans/0 is missing"):
            _ = opened(path).labels
