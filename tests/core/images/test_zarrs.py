"""Zarr arrays and OME-Zarr images as pictures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.errors import UnreadableImage
from kseg_core.images import PictureInfo, is_zarr, open_picture, read_image, read_info
from tests.pictures import WHOLE, counts, windows_of

Version = Literal[2, 3]


def numbers(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 250, shape).astype(dtype)


def write(path: Path, data: NDArray[Any], version: Version = 3, **options: Any) -> str:
    array = zarr.create_array(
        str(path), shape=data.shape, dtype=data.dtype, zarr_format=version, **{"chunks": "auto", **options}
    )
    array[...] = data
    return str(path)


def write_ome(path: Path, data: NDArray[Any], axes: str, version: str = "0.5", **options: Any) -> str:
    """An image of two levels, of which the second is half the first and all zeros."""
    named = [{"name": axis, "type": {"t": "time", "c": "channel"}.get(axis, "space")} for axis in axes]
    multiscales = [{"axes": named, "datasets": [{"path": "full"}, {"path": "half"}]}]
    write(path / "full", data, 3 if version == "0.5" else 2, **options)
    write(path / "half", np.zeros_like(data[..., ::2, ::2]), 3 if version == "0.5" else 2)
    if version == "0.5":
        attributes = {"ome": {"version": version, "multiscales": multiscales}}
        (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    else:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": [{"version": version, **multiscales[0]}]}))
    return str(path)


def check(path: str, data: NDArray[Any], name: str, block: tuple[int, int]) -> None:
    with open_picture(path) as picture:
        info = PictureInfo(name, data.shape[:2], data.shape[2], str(data.dtype), block, None)
        assert dataclasses.replace(picture.info, alpha=False, notes=()) == info
        assert picture.info == read_info(path)
        for rows, columns in windows_of(*data.shape[:2]):
            np.testing.assert_array_equal(picture.samples(rows, columns)[0], data[rows, columns])
            values, valid = picture.samples(rows, columns, (data.shape[2], 1))[:2]
            np.testing.assert_array_equal(values, data[rows, columns][..., [data.shape[2] - 1, 0]])
            assert values.dtype == data.dtype
            assert valid is None


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((40, 50), None),
        ((40, 50, 1), 2),
        ((40, 50, 3), 2),
        ((2, 40, 50), 0),
        ((16, 40, 50), 0),
        ((20, 50, 18), 2),
        ((3, 50, 4), 2),
    ],
)
def test_plain_arrays(tmp_path: Path, shape: tuple[int, ...], channels: int | None, version: Version) -> None:
    data = numbers(*shape, dtype="float32")
    chunks = (16, 32) if channels is None else (2, 16, 32) if channels == 0 else (16, 32, 6 if shape[2] == 18 else 1)
    path = write(tmp_path / "x", data, version, chunks=chunks)
    expected = data[..., None] if channels is None else np.moveaxis(data, channels, 2)
    check(path, expected, "Zarr", (16, 32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">i2", "<i4", ">u4", ">f4", "float64", "bool"])
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    data = numbers(20, 30, dtype=dtype)
    path = write(tmp_path / "x", data, 2, chunks=(8, 8))
    native = data.view(np.uint8) if dtype == "bool" else data.astype(data.dtype.newbyteorder("="))
    check(path, native[..., None], "Zarr", (8, 8))


def test_shards_are_read_by_their_chunks(tmp_path: Path) -> None:
    data = numbers(64, 64, 3)
    check(write(tmp_path / "x", data, chunks=(16, 8, 3), shards=(32, 32, 3)), data, "Zarr", (16, 8))


def test_names_of_dimensions_say_which_axis_is_which(tmp_path: Path) -> None:
    data = numbers(9, 40, 20)
    named = write(tmp_path / "x", data, dimension_names=["x", "y", "band"], chunks=(3, 8, 4))
    check(named, data.transpose(1, 0, 2), "Zarr", (8, 3))
    old = write(tmp_path / "old", data, 2, chunks=(3, 8, 4))
    zarr.open_array(old, mode="r+").attrs["_ARRAY_DIMENSIONS"] = ["time", "y", "x"]
    check(old, data[0][..., None], "Zarr", (8, 4))


@pytest.mark.parametrize(("y", "x", "version"), [("lat", "lon", 2), ("Northing", "easting", 3), ("row", "col", 3)])
def test_other_names_of_rows_and_columns_are_understood(tmp_path: Path, y: str, x: str, version: Version) -> None:
    """Four points in time are no four channels, whatever the shape looks like."""
    data = numbers(4, 40, 20)
    for first, expected, rules in (("time", data[0][..., None], 2), ("band", data.transpose(1, 2, 0), 1)):
        named: dict[str, Any] = {"dimension_names": [first, y, x]} if version == 3 else {}
        path = write(tmp_path / first, data, version, chunks=(1, 8, 4), **named)
        if version == 2:
            zarr.open_array(path, mode="r+").attrs["_ARRAY_DIMENSIONS"] = [first, y, x]
        with open_picture(path) as picture:
            np.testing.assert_array_equal(picture.samples(*WHOLE)[0], expected)
            assert picture.info.rules == rules
    path = write(tmp_path / "odd", data, dimension_names=["time", "up", "along"])
    with pytest.raises(UnreadableImage, match=r"time, up, along: which are y and x\?"):
        read_info(path)


@pytest.mark.parametrize(
    ("scales", "version"), [("right", "0.5"), ("none", "0.4"), ("equal", "0.5"), ("of one", "0.4")]
)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_largest_of_the_datasets_is_the_picture_in_whatever_order_they_are_listed(
    tmp_path: Path, order: tuple[int, ...], version: str, scales: str
) -> None:
    data = numbers(64, 48)
    path = Path(write_ome(tmp_path / "x", data, "yx", version))
    for level in range(3):
        write(path / str(level), data[:: 2**level, :: 2**level], 3 if version == "0.5" else 2)
    datasets: list[dict[str, Any]] = [{"path": str(level)} for level in order]
    for place, (level, dataset) in enumerate(zip(order, datasets, strict=True)):
        size = float(2**level) if scales != "equal" else 1.0
        if scales != "none" and (scales != "of one" or place == 0):
            dataset["coordinateTransformations"] = [{"type": "scale", "scale": [size, size]}]
    document = path / ("zarr.json" if version == "0.5" else ".zattrs")
    stated = json.loads(document.read_text())
    (stated["attributes"]["ome"] if version == "0.5" else stated)["multiscales"][0]["datasets"] = datasets
    document.write_text(json.dumps(stated))
    with open_picture(str(path)) as picture:
        np.testing.assert_array_equal(picture.samples(*WHOLE)[0][..., 0], data)
        assert picture.info.rules == (1 if order[0] == 0 else 2)


def test_multiscales_without_axes_of_fewer_than_five_are_read_by_their_shape(tmp_path: Path) -> None:
    data = numbers(40, 30)
    path = Path(write_ome(tmp_path / "x", data, "yx", "0.4"))
    stated = json.loads((path / ".zattrs").read_text())
    del stated["multiscales"][0]["axes"]
    (path / ".zattrs").write_text(json.dumps(stated))
    with open_picture(str(path)) as picture:
        np.testing.assert_array_equal(picture.samples(*WHOLE)[0][..., 0], data)


@pytest.mark.parametrize(
    ("axes", "version"),
    [("yx", "0.4"), ("cyx", "0.5"), ("yxc", "0.4"), ("tczyx", "0.5"), ("zyx", "0.4"), ("xyc", "0.5")],
)
def test_ome_zarr_at_t_0_and_z_0_of_the_highest_resolution(tmp_path: Path, axes: str, version: str) -> None:
    sizes = {"t": 2, "c": 5, "z": 2, "y": 40, "x": 50}
    chunks = {"t": 1, "c": 1, "z": 1, "y": 32, "x": 48}
    data = numbers(*(sizes[axis] for axis in axes), dtype="uint16")
    path = write_ome(tmp_path / "x", data, axes, version, chunks=tuple(chunks[axis] for axis in axes))
    part = data[tuple(0 if axis in "tz" else slice(None) for axis in axes)]
    kept = [axis for axis in axes if axis not in "tz"]
    if "c" not in kept:
        part, kept = part[..., None], [*kept, "c"]
    check(path, part.transpose([kept.index(axis) for axis in "yxc"]), "OME-Zarr", (32, 48))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(0, 30), min_size=2, max_size=2, unique=True).map(sorted),
    columns=st.lists(st.integers(0, 40), min_size=2, max_size=2, unique=True).map(sorted),
    shape=st.sampled_from([(30, 40), (30, 40, 3), (3, 30, 40), (30, 40, 4)]),
    wide=st.booleans(),
)
def test_colours(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], columns: list[int], shape: tuple[int, ...], wide: bool
) -> None:
    data = numbers(*shape, dtype="uint16") * 257 if wide else numbers(*shape)
    path = write(tmp_path_factory.mktemp("zarr") / "x", data, chunks=tuple(min(size, 16) for size in shape))
    whole = read_image(path)
    pixels = data if data.ndim == 2 or shape[0] != 3 else np.moveaxis(data, 0, 2)
    pixels = np.repeat(pixels[..., None], 3, axis=2) if data.ndim == 2 else pixels
    np.testing.assert_array_equal(whole.samples, pixels[..., :3] // (257 if wide else 1))
    valid = data[..., 3] != 0 if shape[-1] == 4 and not wide else np.ones((30, 40), np.bool_)
    np.testing.assert_array_equal(counts(whole.valid, valid.shape), valid)
    assert read_info(path).shape == (30, 40)
    window = slice(*rows), slice(*columns)
    with open_picture(path) as picture:
        part = picture.rgb(*window)
        np.testing.assert_array_equal(part.samples, whole.samples[window])
        np.testing.assert_array_equal(counts(part.valid, part.samples.shape), valid[window])
        assert picture.samples(*WHOLE)[0].shape[2] == (1 if data.ndim == 2 else 4 if wide and shape[-1] == 4 else 3)


def test_channels_of_a_microscope_are_never_alpha(tmp_path: Path) -> None:
    data = numbers(4, 30, 40)
    path = write_ome(tmp_path / "x", data, "cyx")
    image = read_image(path)
    np.testing.assert_array_equal(image.samples, np.moveaxis(data[:3], 0, 2))
    assert image.valid is None
    with open_picture(path) as picture:
        assert picture.samples(*WHOLE)[0].shape == (30, 40, 4)


def test_nodata_is_the_fill_value_that_cf_names(tmp_path: Path) -> None:
    data = numbers(30, 40)
    path = write(tmp_path / "x", data, attributes={"_FillValue": 7})
    assert read_info(path).nodata == 7
    with open_picture(path) as picture:
        np.testing.assert_array_equal(picture.rgb(*WHOLE, nodata=7).valid, data != 7)


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [
        ((30, 40), "int16", "int16 samples: not an 8- or 16-bit image; use --features bands"),
        ((2, 30, 40), "uint8", "2 bands: neither gray nor RGB; use --features bands"),
        ((30, 40), "int64", "int64 samples: not an 8- or 16-bit image; use --features bands"),
        ((30, 40), "complex64", "complex64 samples: complex numbers are not read here"),
        ((2, 3, 30, 40), "uint8", "an array of 4 axes without names"),
        ((20, 30, 20), "uint8", "an array of 20 x 30 x 20: which axis is the channels"),
        ((40,), "uint8", "an array of 1 axes without names"),
        ((0, 40), "uint8", "no pixels"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, shape: tuple[int, ...], dtype: str, reason: str) -> None:
    path = write(tmp_path / "x", numbers(*shape, dtype=dtype))
    with pytest.raises(UnreadableImage) as caught:
        read_image(path)
    assert caught.value.reason.startswith(reason)


def test_groups_without_multiscales_are_refused_by_what_is_in_them(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "x"), mode="w")
    for look in (read_info, read_image, open_picture):
        with pytest.raises(UnreadableImage, match=r"x: a Zarr group without multiscales is no image.*inside it$"):
            look(str(tmp_path / "x"))
    group.create_group("0")
    with pytest.raises(UnreadableImage, match=r"inside it \(0, …\)$"):
        read_info(str(tmp_path / "x"))


@pytest.mark.parametrize("text", ["", "{", '{"zarr_format": 3}', '{"zarr_format": 3, "node_type": "array"}', "[]"])
def test_broken_metadata_is_one_reason(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "zarr.json").write_text(text)
    assert is_zarr(str(tmp_path / "x"))
    with pytest.raises(UnreadableImage) as caught:
        read_info(str(tmp_path / "x"))
    assert "\n" not in caught.value.reason


@pytest.mark.parametrize(
    "wrong", [{"axes": ["c", "y", "x"]}, {"axes": ["y", "z"]}, {"datasets": []}, {"datasets": [{"path": "none"}]}]
)
def test_broken_multiscales_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = write_ome(tmp_path / "x", numbers(30, 40), "yx")
    metadata = json.loads((tmp_path / "x/zarr.json").read_text())
    metadata["attributes"]["ome"]["multiscales"][0].update(wrong)
    (tmp_path / "x/zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(UnreadableImage):
        read_info(path)


def test_a_damaged_chunk_is_met_by_the_windows_that_need_it_alone(tmp_path: Path) -> None:
    data = numbers(64, 64)
    path = write(tmp_path / "x", data, chunks=(32, 32))
    chunk = tmp_path / "x/c/1/0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    with open_picture(path) as picture:
        np.testing.assert_array_equal(picture.samples(slice(0, 32), slice(None))[0][..., 0], data[:32])
        np.testing.assert_array_equal(picture.samples(slice(0, 64), slice(32, 64))[0][..., 0], data[:, 32:])
        with pytest.raises(UnreadableImage):
            picture.samples(slice(31, 33), slice(0, 64))


def test_only_the_chunks_of_the_bands_asked_for_are_read(tmp_path: Path) -> None:
    data = numbers(5, 64, 64)
    path = write(tmp_path / "x", data, chunks=(1, 32, 32))
    for channel in (0, 2, 3):
        for chunk in (tmp_path / f"x/c/{channel}").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"broken")
    with open_picture(path) as picture:
        values, _ = picture.samples(slice(5, 40), slice(5, 40), (5, 2))[:2]
        np.testing.assert_array_equal(values, np.moveaxis(data[[4, 1], 5:40, 5:40], 0, 2))
