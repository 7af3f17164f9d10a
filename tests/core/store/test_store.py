"""The layout of a store, and that everybody else's readers open it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from numpy.typing import NDArray
from ome_zarr_models.v05 import ImageLabel, Labels

import kseg_core
from kseg_core.clustering.labelling import NO_COLORS, no_labels
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError
from kseg_core.layers.layer import LayerInput
from kseg_core.layers.tiles import tile_windows
from kseg_core.store import ome
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, create_store, open_store, update_attributes, write_model
from kseg_core.store.record import ImageRecord
from kseg_core.store.writing import write_image

SHAPE = (100, 130)
COLORS = np.array([[0, 0, 10], [100, 110, 120], [255, 250, 240]], np.uint8)


def labels_of(k: int, dtype: type = np.uint8, shape: tuple[int, int] = SHAPE) -> NDArray[Any]:
    """Random labels with every cluster and a few invalid pixels."""
    rng = np.random.default_rng(k)
    labels = rng.integers(0, k, shape).astype(dtype)
    labels[0, :2] = 0, k - 1
    labels[rng.random(shape) < 0.1] = np.iinfo(dtype).max
    return labels


def record_of(labels: NDArray[Any], k: int, key: str = "leaf", source: str = "day 1/leaf.png") -> ImageRecord:
    values, counts = np.unique(labels, return_counts=True)
    by_value = dict(zip(values.tolist(), counts.tolist(), strict=True))
    invalid = by_value.pop(int(np.iinfo(labels.dtype).max), 0)
    height, width = labels.shape
    per_cluster = tuple(by_value.get(j, 0) for j in range(k))
    return ImageRecord(key, source, 1234, 5_000_000_000, (height, width), per_cluster, invalid, 12.5)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "s.zarr")
    create_store(path, {"config": {"fit": {"scope": "global"}}})
    return path


@pytest.fixture
def written(path: str) -> tuple[str, NDArray[np.uint8]]:
    """A store of one image of three clusters in tiles of 64."""
    labels = labels_of(3)
    write_image(path, record_of(labels, 3), LayerInput(labels), COLORS, OutputSettings(tile=64))
    return path, labels


def model_of(k: int) -> Model:
    return Model("gray", np.arange(k, dtype=np.float64)[:, None], np.zeros((k, 3), np.uint8), np.ones(k, np.int64), 0.0)


def array(path: str, name: str) -> zarr.Array[Any]:
    found = zarr.open_group(path, mode="r")[name]
    assert isinstance(found, zarr.Array)
    return found


# ----------------------------------------------------------------------------------------------- layout


def test_labels_are_written_as_they_are_in_chunks_of_the_tile(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, labels = written
    stored = array(path, "images/leaf/labels/kmeans/0")
    np.testing.assert_array_equal(stored[...], labels)
    assert (stored.dtype, stored.shape, stored.chunks, stored.fill_value) == (np.uint8, SHAPE, (64, 64), 255)
    assert stored.metadata.zarr_format == 3
    assert stored.metadata.dimension_names == ("y", "x")


def test_masks_are_one_boolean_image_a_cluster_and_equal_the_labels(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, labels = written
    masks = array(path, "images/leaf/masks")
    assert (masks.dtype, masks.shape, masks.chunks, masks.fill_value) == (bool, (3, *SHAPE), (1, 64, 64), False)
    assert masks.metadata.dimension_names == ("cluster", "y", "x")  # type: ignore[union-attr]
    for j in range(3):
        np.testing.assert_array_equal(masks[j], labels == j)


@pytest.mark.parametrize(("shape", "tile"), [((1, 1), 64), ((64, 64), 64), ((65, 63), 64), ((1100, 70), 1024)])
def test_images_of_any_size_in_any_tiles_hold_the_same(path: str, shape: tuple[int, int], tile: int) -> None:
    labels = labels_of(2, shape=shape) if shape != (1, 1) else np.array([[1]], np.uint8)
    write_image(path, record_of(labels, 2), LayerInput(labels), COLORS[:2], OutputSettings(tile=tile))
    stored, masks = array(path, "images/leaf/labels/kmeans/0"), array(path, "images/leaf/masks")
    np.testing.assert_array_equal(stored[...], labels)
    np.testing.assert_array_equal(masks[...], labels == np.arange(2)[:, None, None])
    assert stored.chunks == masks.chunks[1:] == (min(tile, shape[0]), min(tile, shape[1]))


@pytest.mark.parametrize(
    ("k", "asked", "made"), [(32, None, True), (33, None, False), (33, True, True), (2, False, False)]
)
def test_masks_are_made_up_to_32_clusters_or_as_asked(path: str, k: int, asked: bool | None, made: bool) -> None:
    labels = labels_of(k)
    write_image(path, record_of(labels, k), LayerInput(labels), np.zeros((k, 3), np.uint8), OutputSettings(asked, 64))
    image = open_store(path)["leaf"]
    assert (image.masks is not None) is made
    assert (image.masks is not None) is made


def test_more_than_254_clusters_have_labels_of_16_bits(path: str) -> None:
    labels = labels_of(300, np.uint16)
    write_image(path, record_of(labels, 300), LayerInput(labels), np.zeros((300, 3), np.uint8), OutputSettings(tile=64))
    stored = array(path, "images/leaf/labels/kmeans/0")
    assert (stored.dtype, stored.fill_value) == (np.uint16, 65_535)
    np.testing.assert_array_equal(stored[...], labels)


def test_the_image_s_attributes_say_what_is_in_it(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, labels = written
    record = record_of(labels, 3)
    attributes = dict(zarr.open_group(path, path="images/leaf", mode="r").attrs)
    assert attributes["kseg"] == {
        "source": "day 1/leaf.png",
        "size": 1234,
        "modified": 5_000_000_000,
        "shape": [100, 130],
        "counts": [int((labels == j).sum()) for j in range(3)],
        "invalid": int((labels == 255).sum()),
        "inertia": 12.5,
        "mse": 12.5 / sum(record.counts),
        "status": "complete",
    }


def test_an_image_without_valid_pixels_has_labels_and_no_masks(path: str) -> None:
    labels = no_labels((4, 5))
    write_image(path, record_of(labels, 0), LayerInput(labels), NO_COLORS, OutputSettings())
    image = open_store(path)["leaf"]
    assert (np.asarray(image.labels[...]) == 255).all()
    assert image.masks is None
    assert (image.attributes["mse"], image.attributes["invalid"], image.attributes["counts"]) == (None, 20, [])
    ImageLabel.from_zarr(zarr.open_group(path, path="images/leaf/labels/kmeans", mode="r"))


def test_writing_an_image_again_replaces_all_of_it(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, _ = written
    labels = labels_of(2, shape=(10, 10))
    write_image(path, record_of(labels, 2), LayerInput(labels), COLORS[:2], OutputSettings(masks=False))
    image = open_store(path)["leaf"]
    np.testing.assert_array_equal(image.labels[...], labels)
    assert image.masks is None


def test_an_image_is_declared_complete_last_of_all(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails in the masks leaves an image that does not call itself complete."""

    def fail(*_: Any) -> Any:
        raise OSError("disk full")

    labels = labels_of(3)
    monkeypatch.setattr("kseg_core.layers.labelled.MaskLayer.planes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(path, record_of(labels, 3), LayerInput(labels), COLORS, OutputSettings(tile=64))
    assert "status" not in open_store(path)["leaf"].attributes


def test_a_store_begins_as_running_and_is_complete_when_told(path: str) -> None:
    root = zarr.open_group(path, mode="r")
    facts: Any = root.attrs["kseg"]
    assert {"format", "kind", "status", "config", "software", "created"} <= set(facts)
    assert (facts["format"], facts["kind"], facts["status"]) == (1, "store", "running")
    assert facts["software"]["numpy"] == np.__version__
    assert not open_store(path).complete
    update_attributes(path, {"status": "complete", "result": None})
    store = open_store(path)
    assert store.complete
    assert store.attributes == {**facts, "status": "complete", "result": None}


def test_a_store_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="the output cannot be written") as caught:
        create_store(str(tmp_path / "file" / "s.zarr"), {})
    assert "\n" not in str(caught.value)


def test_tiles_cover_an_image_once_row_by_row() -> None:
    windows = list(tile_windows(5, 7, 3))
    covered = np.zeros((5, 7), int)
    for rows, columns in windows:
        covered[rows, columns] += 1
    assert (covered == 1).all()
    assert windows[:3] == [
        (slice(0, 3), slice(0, 3)),
        (slice(0, 3), slice(3, 6)),
        (slice(0, 3), slice(6, 7)),
    ]


# --------------------------------------------------------------------------------------------- OME-Zarr


def test_colours_and_properties_list_the_same_values_the_reserved_one_included(
    written: tuple[str, NDArray[np.uint8]],
) -> None:
    path, labels = written
    attributes: Any = zarr.open_group(path, path="images/leaf/labels/kmeans", mode="r").attrs["ome"]
    described = attributes["image-label"]
    colors = {entry["label-value"]: entry["rgba"] for entry in described["colors"]}
    areas = {entry["label-value"]: entry["area"] for entry in described["properties"]}
    assert list(colors) == list(areas) == [0, 1, 2, 255]
    assert colors == {0: [0, 0, 10, 255], 1: [100, 110, 120, 255], 2: [255, 250, 240, 255], 255: [0, 0, 0, 0]}
    assert areas == {value: int((labels == value).sum()) for value in areas}
    assert sum(areas.values()) == labels.size


def test_16_bit_labels_reserve_their_own_largest_value() -> None:
    described = ome.label_image(np.zeros((300, 3), np.uint8), [1] * 300, 65_535, 7)["ome"]["image-label"]
    assert [entry["label-value"] for entry in described["colors"]] == [*range(300), 65_535]
    assert described["properties"][-1] == {"label-value": 65_535, "area": 7}


def test_ome_zarr_models_accepts_the_labels_and_the_label_image(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, _ = written
    index = Labels.from_zarr(zarr.open_group(path, path="images/leaf/labels", mode="r"))
    assert index.ome_attributes.labels == ["kmeans"]
    image = ImageLabel.from_zarr(zarr.open_group(path, path="images/leaf/labels/kmeans", mode="r"))
    assert image.ome_attributes.version == "0.5"
    assert [d.path for d in image.ome_attributes.multiscales[0].datasets] == ["0"]


# ----------------------------------------------------------------------------------------------- xarray


def test_xarray_opens_the_label_group_and_the_image_group(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, labels = written
    opened = xarray.open_zarr(f"{path}/images/leaf/labels/kmeans", consolidated=False)
    assert (opened["0"].dims, opened["0"].dtype) == (("y", "x"), np.uint8)
    np.testing.assert_array_equal(opened["0"], labels)
    masks = xarray.open_zarr(f"{path}/images/leaf", consolidated=False)["masks"]
    assert (masks.dims, masks.dtype) == (("cluster", "y", "x"), bool)
    np.testing.assert_array_equal(masks, labels == np.arange(3)[:, None, None])


def test_an_image_becomes_an_xarray_dataset(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, labels = written
    dataset = open_store(path)["leaf"].to_xarray()
    assert dict(dataset.sizes) == {"y": 100, "x": 130, "cluster": 3}
    assert (dataset["labels"].dtype, dataset["masks"].dtype) == (np.uint8, bool)
    np.testing.assert_array_equal(dataset["labels"], labels)
    np.testing.assert_array_equal(dataset["masks"].sel(cluster=1), labels == 1)
    assert dataset.attrs["source"] == "day 1/leaf.png"


def test_an_image_without_masks_becomes_a_dataset_of_labels(path: str) -> None:
    labels = labels_of(300, np.uint16)
    write_image(path, record_of(labels, 300), LayerInput(labels), np.zeros((300, 3), np.uint8), OutputSettings(tile=64))
    dataset = open_store(path)["leaf"].to_xarray()
    assert list(dataset.data_vars) == ["labels"]
    np.testing.assert_array_equal(dataset["labels"], labels)
    assert dataset["labels"].dtype == np.uint16


# ---------------------------------------------------------------------------------------------- opening


def test_images_are_found_by_key_and_by_source(path: str) -> None:
    for key, source in (("b", "x/b.png"), ("a", "x/a.png")):
        labels = labels_of(2)
        write_image(path, record_of(labels, 2, key, source), LayerInput(labels), COLORS[:2], OutputSettings())
    store = kseg_core.open_store(path)
    assert isinstance(store, Store)
    assert (list(store), len(store)) == (["a", "b"], 2)
    assert store["b"].key == store["x/b.png"].key == "b"
    assert store["a"].source == "x/a.png"
    assert {key: image.source for key, image in store.items()} == {"a": "x/a.png", "b": "x/b.png"}
    assert "x/a.png" in store
    assert "nothing" not in store
    with pytest.raises(KeyError, match="nothing"):
        store["nothing"]


def test_a_path_object_opens_a_store(written: tuple[str, NDArray[np.uint8]]) -> None:
    path, labels = written
    np.testing.assert_array_equal(open_store(Path(path))["leaf"].labels[...], labels)  # type: ignore[arg-type]


def test_a_store_has_the_model_of_all_its_images_or_each_image_its_own(path: str) -> None:
    labels = labels_of(3)
    write_image(path, record_of(labels, 3), LayerInput(labels), COLORS, OutputSettings(), own_model=model_of(3))
    store = open_store(path)
    assert not store.has_model
    own = store["leaf"].model
    assert own is not None
    assert own.digest == model_of(3).digest
    write_model(path, model_of(2))
    store = open_store(path)
    assert store.has_model
    assert store.model.digest == model_of(2).digest


def test_an_image_without_its_own_model_has_none(written: tuple[str, NDArray[np.uint8]]) -> None:
    assert open_store(written[0])["leaf"].model is None


def test_opening_what_is_no_store_is_one_line_that_says_what_is_there(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(StoreError) as caught:
            open_store(str(path))
        return str(caught.value)

    missing, model, foreign = (tmp_path / name for name in ("missing", "m.zarr", "other.zarr"))
    model_of(2).save(str(model))
    zarr.create_group(foreign)
    assert refused(missing) == f"{missing}: no kseg store there"
    assert refused(tmp_path) == f"{tmp_path}: no kseg store there"
    assert refused(foreign) == f"{foreign}: no kseg store there"
    assert refused(model) == f"{model}: a kseg model, not a store"


def test_a_store_of_another_format_is_refused(path: str) -> None:
    update_attributes(path, {"format": 2})
    with pytest.raises(StoreError) as caught:
        open_store(path)
    assert str(caught.value) == f"{path}: a store of format 2; this version reads format 1"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"attributes": {"kseg": []}}'])
def test_a_damaged_store_is_a_store_error(path: str, text: bytes) -> None:
    (Path(path) / "zarr.json").write_bytes(text)
    with pytest.raises(StoreError) as caught:
        open_store(path)
    assert str(caught.value).startswith(path)


@pytest.mark.parametrize(
    "text", [None, b"", b"{", b"[]", b'{"zarr_format": 3, "node_type": "group", "attributes": {"kseg": 3}}']
)
def test_a_damaged_image_is_a_store_error_that_names_it(
    written: tuple[str, NDArray[np.uint8]], text: bytes | None
) -> None:
    file = Path(written[0]) / "images" / "leaf" / "zarr.json"
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text)
    with pytest.raises(StoreError) as caught:
        open_store(written[0])["leaf"]
    assert str(file.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, b"{", b"{}", b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'])
def test_missing_and_damaged_labels_are_a_store_error_that_names_them(
    written: tuple[str, NDArray[np.uint8]], text: bytes | None
) -> None:
    file = Path(written[0]) / "images" / "leaf" / "labels" / "kmeans" / "0" / "zarr.json"
    if text is None:
        shutil.rmtree(file.parent)
    else:
        file.write_bytes(text)
    with pytest.raises(StoreError, match="labels/kmeans/0") as caught:
        _ = open_store(written[0])["leaf"].labels
    assert "\n" not in str(caught.value)


def test_the_damaged_model_of_an_image_is_named(path: str) -> None:
    labels = labels_of(3)
    write_image(path, record_of(labels, 3), LayerInput(labels), COLORS, OutputSettings(), own_model=model_of(3))
    file = Path(path) / "images" / "leaf" / "model" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["attributes"]["kseg"]["digest"] = "0"
    file.write_text(json.dumps(metadata))
    with pytest.raises(StoreError) as caught:
        _ = open_store(path)["leaf"].model
    assert str(caught.value).startswith(str(file.parent))
