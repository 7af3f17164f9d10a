"""Models: kept to the last bit, refused when damaged, and never a way to lose other files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import zarr

import kseg_core
from kseg_core import storage
from kseg_core.clustering.features import SPACES
from kseg_core.errors import StoreError
from kseg_core.storage import sidecars
from kseg_core.store.model import Model, as_rgb
from kseg_core.store.opening import create_store, write_model
from tests import reference

FACTS = {"k_requested": 3, "seed": 7, "start": ["#00ff00"], "history": [{"attempt": 0, "steps": [2.5, 1.25]}]}


def hand_made() -> Model:
    """Dark blue and light yellow, with numbers that need all their bits."""
    centroids = np.array([[0.1, 1 / 3, 100 + 2**-40], [250.0, 240.5, -0.0]])
    colors = np.array([[0, 0, 100], [250, 241, 0]], np.uint8)
    return Model("rgb", centroids, colors, np.array([2**40, 3]), 1234.5678901234567, dict(FACTS))


def same(a: Model, b: Model) -> bool:
    return (
        (a.features, a.facts, a.digest) == (b.features, b.facts, b.digest)
        and a.centroids.tobytes() == b.centroids.tobytes()
        and a.colors.tobytes() == b.colors.tobytes()
        and a.counts.tolist() == b.counts.tolist()
        and a.inertia == b.inertia
    )


def every_file(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---------------------------------------------------------------------------------------------- facts


def test_the_digest_is_over_features_centroids_and_colours_alone() -> None:
    model = hand_made()
    raw = b"\0".join([b"kseg-model-1:rgb:2", model.centroids.tobytes(), model.colors.tobytes()])
    assert model.digest == hashlib.sha256(raw).hexdigest()
    assert model.digest == "d7d555b8b5cd98ac1589f42d71f6147b1e32b3778a3310d34d8ccfd91aad14ef"  # as earlier releases
    moved = model.centroids.copy()
    moved[0, 0] = np.nextafter(moved[0, 0], 1)
    colors = model.colors + np.uint8(1)
    others: list[dict[str, Any]] = [{"features": "lab"}, {"centroids": moved}, {"colors": colors}]
    others += [{"centroids": model.centroids[::-1].copy()}]
    assert all(dataclasses.replace(model, **change).digest != model.digest for change in others)
    same_labels: list[dict[str, Any]] = [{"counts": model.counts + 1}, {"inertia": 0.0}, {"facts": {}}]
    assert all(dataclasses.replace(model, **change).digest == model.digest for change in same_labels)


def test_what_a_model_says_of_itself() -> None:
    model = hand_made()
    assert (model.k, model.k_requested, model.pixels) == (2, 3, 2**40 + 3)
    assert model.mse == model.inertia / (2**40 + 3)
    assert dataclasses.replace(model, facts={}).k_requested == 2
    assert dataclasses.replace(model, counts=np.zeros(2, np.int64)).mse is None
    assert model.space is SPACES["rgb"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "cmyk"}, "the model's features are 'cmyk', which this version does not know"),
        ({"features": "gray"}, r"centroids are float64 \(2, 3\); expected float64 \(2, 1\)"),
        ({"centroids": np.zeros((2, 2))}, r"centroids are float64 \(2, 2\); expected float64 \(2, 3\)"),
        ({"centroids": np.zeros((2, 3), np.float32)}, r"centroids are float32 \(2, 3\); expected float64"),
        ({"centroids": np.zeros((3, 3))}, r"colors are uint8 \(2, 3\); expected uint8 \(3, 3\)"),
        ({"colors": np.zeros((2, 3), np.int64)}, r"colors are int64 \(2, 3\); expected uint8"),
        ({"counts": np.zeros(2, np.int32)}, r"counts are int32 \(2,\); expected int64"),
        ({"counts": np.zeros((2, 1), np.int64)}, r"counts are int64 \(2, 1\); expected int64 \(2,\)"),
        ({"centroids": np.full((2, 3), np.nan)}, "not 1 to 65534 rows of finite numbers"),
        ({"centroids": np.full((2, 3), np.inf)}, "not 1 to 65534 rows of finite numbers"),
        *(
            (
                {
                    "features": "gray",
                    "centroids": np.zeros((k, 1)),
                    "colors": np.zeros((k, 3), np.uint8),
                    "counts": np.zeros(k, np.int64),
                },
                "not 1 to 65534 rows",
            )
            for k in (0, 65_535)
        ),
    ],
)
def test_a_model_of_wrong_parts_cannot_be_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        dataclasses.replace(hand_made(), **changes)


# -------------------------------------------------------------------------------------- save and load


@pytest.mark.parametrize("space", list(SPACES))
def test_a_model_comes_back_to_the_last_bit(tmp_path: Path, space: str) -> None:
    rng = np.random.default_rng(0)
    d = SPACES[space].dimensions
    model = Model(
        space,
        rng.normal(size=(300, d)) * 10.0 ** rng.integers(-8, 5, (300, d)),
        rng.integers(0, 256, (300, 3), dtype=np.uint8),
        rng.integers(0, 1 << 50, 300),
        float(rng.random() * 1e15),
        dict(FACTS),
    )
    path = str(tmp_path / "m.zarr")
    model.save(path)
    assert same(Model.load(path), model)
    assert os.listdir(tmp_path) == ["m.zarr"]


def test_a_model_is_found_in_a_whole_store_too(tmp_path: Path) -> None:
    path, own = str(tmp_path / "s.zarr"), str(tmp_path / "own.zarr")
    create_store(path, {"config": {"fit": {"scope": "global"}}})
    create_store(own, {"config": {"fit": {"scope": "image"}}})
    for store, why in (
        (path, "a store without a model: its run did not get that far"),
        (own, "each of its images has"),
    ):
        with pytest.raises(StoreError, match=f"^{store}: {why}"):
            Model.load(store)
    write_model(path, hand_made())
    assert same(kseg_core.Model.load(path), hand_made())
    flip(tmp_path / "s.zarr" / "model")
    with pytest.raises(StoreError, match=f"^{path}.*its digest does not match"):
        Model.load(path)


def test_what_a_kill_leaves_of_a_store_s_model_is_swept_with_the_store(tmp_path: Path) -> None:
    path = str(tmp_path / "s.zarr")
    create_store(path, {})
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(os, "rename", Mock(side_effect=KeyboardInterrupt))
        killed.setattr(storage, "remove_tree", Mock())  # nothing is tidied up
        with pytest.raises(KeyboardInterrupt):
            write_model(path, hand_made())
    assert sorted(os.listdir(path)) == ["images", "zarr.json"]
    assert len(os.listdir(tmp_path)) == 2
    sidecars.sweep(path)
    assert os.listdir(tmp_path) == ["s.zarr"]


def test_the_model_on_disk_is_laid_out_as_documented(tmp_path: Path) -> None:
    model = hand_made()
    model.save(str(tmp_path / "m.zarr"))
    group = zarr.open_group(tmp_path / "m.zarr", mode="r", zarr_format=3)
    assert sorted(group) == ["centroids", "colors", "counts"]
    for name, dtype, shape in (("centroids", "f8", (2, 3)), ("colors", "u1", (2, 3)), ("counts", "i8", (2,))):
        array = group[name]
        assert isinstance(array, zarr.Array)
        assert (array.dtype, array.shape) == (np.dtype(dtype), shape)
        assert array.metadata.dimension_names == ("cluster", "channel")[: len(shape)]  # type: ignore[union-attr]
    attributes: Any = group.attrs["kseg"]
    assert attributes == {
        "format": 1,
        "kind": "model",
        "features": "rgb",
        "components": ["red", "green", "blue"],
        "bands": None,
        "normalisation": None,
        "k": 2,
        **FACTS,
        "inertia": model.inertia,
        "mse": model.mse,
        "digest": model.digest,
    }


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_an_existing_model_is_replaced_only_when_asked(tmp_path: Path, slash: str) -> None:
    path = f"{tmp_path / 'm.zarr'}{slash}"
    first, second = hand_made(), dataclasses.replace(hand_made(), inertia=1.0)
    first.save(path)
    before = every_file(tmp_path)
    with pytest.raises(StoreError, match=r"already exists \(a kseg store or model\); choose another output"):
        second.save(path)
    assert every_file(tmp_path) == before
    second.save(path, overwrite=True)
    assert same(Model.load(path), second)
    assert os.listdir(tmp_path) == ["m.zarr"]


def other_zarr(path: Path) -> None:
    zarr.create_group(path)
    (path / "photo.jpg").write_bytes(b"precious")


def linked(path: Path) -> None:
    hand_made().save(str(path.parent / "real.zarr"))
    path.symlink_to(path.parent / "real.zarr")


NOT_OURS: dict[str, Callable[[Path], Any]] = {
    "file": lambda path: path.write_bytes(b"precious"),
    "empty folder": Path.mkdir,
    "other zarr": other_zarr,
    "link": linked,
}


@pytest.mark.parametrize("make", NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_not_ours_is_no_model_and_left_alone_whatever_was_asked(
    tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    path = tmp_path / "thing"
    make(path)
    before = every_file(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(StoreError) as caught:
            hand_made().save(str(path), overwrite=overwrite)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert every_file(tmp_path) == before
    assert path.is_symlink() == (make is linked)
    for place in (tmp_path / "nothing", *[path] * (make is not linked)):
        with pytest.raises(StoreError, match=f"^{place}: no kseg model or store there$"):
            Model.load(str(place))


def test_a_model_that_cannot_be_written_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="the model cannot be written"):
        hand_made().save(str(tmp_path / "file" / "m.zarr"))
    assert os.listdir(tmp_path) == ["file"]


# --------------------------------------------------------------------------------------------- damage

Damage = Callable[[Path], Any]


def edit(name: str, change: Callable[[dict[str, Any]], Any]) -> Damage:
    """Change the metadata of an array, or of the model itself where ``name`` is empty."""

    def apply(model: Path) -> None:
        file = model / name / "zarr.json"
        metadata = json.loads(file.read_text())
        change(metadata)
        file.write_text(json.dumps(metadata))

    return apply


def said(**changes: Any) -> Damage:
    """Change the model's attributes."""
    return edit("", lambda metadata: metadata["attributes"]["kseg"].update(changes))


def chunk(model: Path, name: str) -> Path:
    return next(p for p in (model / name / "c").rglob("*") if p.is_file())


def flip(model: Path) -> None:
    array: Any = zarr.open_group(model, mode="r+")["centroids"]
    array[0, 0] = np.nextafter(array[0, 0], 1)


def other_dtype(model: Path) -> None:
    group = zarr.open_group(model, mode="r+")
    group.create_array("centroids", data=hand_made().centroids.astype(np.float32), overwrite=True)


DAMAGES: dict[str, Damage] = {
    "one bit of a centroid": flip,
    "float32 centroids": other_dtype,
    **{f"{name} missing": (lambda m, n=name: shutil.rmtree(m / n)) for name in ("centroids", "colors", "counts")},
    "chunk missing": lambda m: chunk(m, "colors").unlink(),
    "chunk cut short": lambda m: chunk(m, "counts").write_bytes(chunk(m, "counts").read_bytes()[:7]),
    "empty chunk": lambda m: chunk(m, "centroids").write_bytes(b""),
    "garbage chunk": lambda m: chunk(m, "centroids").write_bytes(bytes(range(60))),
    "a file where an array was": lambda m: (shutil.rmtree(m / "colors"), (m / "colors").write_text("x")),
    "a group where an array was": lambda m: (
        shutil.rmtree(m / "colors"),
        zarr.open_group(m, mode="r+").create_group("colors"),
    ),
    **{
        f"array metadata {text!r}": (lambda m, t=text: (m / "centroids" / "zarr.json").write_bytes(t))
        for text in (b"", b"[]", b"{}", b"\xff\xfe")
    },
    "unknown codec": edit("centroids", lambda a: a.update(codecs=[{"name": "nope"}])),
    "unknown dtype": edit("centroids", lambda a: a.update(data_type="float99")),
    "other shape": edit("centroids", lambda a: a.update(shape=[3, 3])),
    "negative shape": edit("centroids", lambda a: a.update(shape=[-1, 3])),
    "enormous shape": edit("centroids", lambda a: a.update(shape=[10**9, 10**6])),
    "model metadata {": lambda m: (m / "zarr.json").write_bytes(b"{"),
    "model metadata of an array": edit("", lambda a: a.update(node_type="array")),
    "model metadata of Zarr 9": edit("", lambda a: a.update(zarr_format=9)),
    "no attributes": edit("", lambda a: a.pop("attributes")),
    "attributes are a list": edit("", lambda a: a.update(attributes=[])),
    "format 2": said(format=2),
    "format none": said(format=None),
    "unknown features": said(features="cmyk"),
    "features of another dimension": said(features="gray"),
    "features are a list": said(features=["rgb"]),
    "inertia none": said(inertia=None),
    "no inertia": edit("", lambda a: a["attributes"]["kseg"].pop("inertia")),
    "other digest": said(digest="0" * 64),
    "digest none": said(digest=None),
    "no digest": edit("", lambda a: a["attributes"]["kseg"].pop("digest")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_model_is_refused_in_one_line_that_names_it(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "m.zarr"
    hand_made().save(str(path))
    damage(path)
    with pytest.raises(StoreError) as caught:
        Model.load(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    if damage is DAMAGES["format 2"]:
        assert str(caught.value) == f"{path}: a model of format 2; this version reads format 1"


# ---------------------------------------------------------------------------------- predict and paint


@pytest.mark.parametrize("space", list(SPACES))
def test_every_kind_of_image_is_labelled_by_the_nearest_centroid(space: str) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    model = model_of(space, rng.integers(0, 1 << 24, 7).astype(np.uint32))
    points = SPACES[space].points(reference.color_codes(rgb))
    expected = reference.nearest(points, model.points)[0].reshape(20, 30)
    np.testing.assert_array_equal(model.predict(rgb), expected)
    alpha = rng.integers(0, 2, (20, 30, 1), dtype=np.uint8)
    with_alpha = model.predict(np.concatenate([rgb, alpha], axis=2))
    np.testing.assert_array_equal(with_alpha, np.where(alpha[..., 0] > 0, expected, 255))
    gray = rgb[..., 0]
    as_color = model.predict(np.stack([gray] * 3, axis=-1))
    np.testing.assert_array_equal(model.predict(gray), as_color)
    np.testing.assert_array_equal(model.predict(gray[..., None]), as_color)


def model_of(space: str, codes: Any) -> Model:
    points = SPACES[space].points(codes).T.astype(np.float64)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)
    return Model(space, SPACES[space].to_features(points), colors, np.ones(len(codes), np.int64), 0.0)


@pytest.mark.parametrize(("k", "dtype", "reserved"), [(254, np.uint8, 255), (255, np.uint16, 65_535)])
def test_labels_are_as_wide_as_they_must_be(k: int, dtype: type, reserved: int) -> None:
    model = model_of("rgb", np.arange(k, dtype=np.uint32))
    image = np.array([[[0, 0, k - 1, 255], [0, 0, 0, 0]]], np.uint8)
    labels = model.predict(image)
    assert labels.dtype == dtype
    assert labels.tolist() == [[k - 1, reserved]]
    assert model.paint(labels).tolist() == [[[0, 0, k - 1], [0, 0, 0]]]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2), np.uint16),
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 3), np.int8),
        np.zeros(4, np.uint8),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((2, 2, 0), np.uint8),
        np.zeros((1, 2, 2, 3), np.uint8),
        np.uint8(3),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_other_images_are_refused(image: Any) -> None:
    with pytest.raises(ValueError, match=r"^image: expected an array of uint8 \(y, x\), \(y, x, 3\) or") as caught:
        hand_made().predict(image)
    assert f"; got {image.shape} {image.dtype}" in str(caught.value)


def test_images_become_contiguous_rgb_and_validity_and_may_have_no_pixels() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    rgb, valid = as_rgb(image[::-1])
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, image[::-1, :, :3])
    assert valid is not None
    assert valid.all()
    assert as_rgb(image[..., :3])[1] is as_rgb(image[..., 0])[1] is None
    for shape in ((0, 4), (4, 0)):
        assert hand_made().predict(np.zeros((*shape, 3), np.uint8)).shape == shape


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_labels_are_painted_in_their_clusters_colours_and_invalid_ones_black(dtype: type) -> None:
    painted = hand_made().paint(np.array([[0, 1], [255, 1]], dtype))
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[0, 0, 100], [250, 241, 0]], [[0, 0, 0], [250, 241, 0]]]


@pytest.mark.parametrize("stray", [2, 254, 256, 65_535, -1, -254])
def test_labels_that_are_no_cluster_are_not_painted(stray: int) -> None:
    with pytest.raises(ValueError, match=f"labels: expected 0 to 1 or 255, got {stray}"):
        hand_made().paint(np.array([[0, stray]]))  # type: ignore[arg-type]
