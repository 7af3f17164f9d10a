"""Documents and chunks written here are those that zarr-python writes."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec, ZstdCodec

from kseg_core.errors import StoreError
from kseg_core.layers import LAYERS
from kseg_core.layers.layer import ArraySpec, LayerInput, Layout
from kseg_core.layers.tiles import whole
from kseg_core.store.nodes import array_document, create_array, read_plane, write_array, write_group, write_plane
from kseg_core.store.writing import write_tiles

SPECS = {
    "labels": ArraySpec((300, 200), (128, 128), "uint8", 255, ("y", "x")),
    "wide labels": ArraySpec((300, 200), (128, 128), "uint16", 65535, ("y", "x")),
    "masks": ArraySpec((2, 300, 200), (1, 128, 128), "bool", False, ("cluster", "y", "x"), "bits"),
    "copy": ArraySpec((2, 300, 200), (1, 128, 128), "float32", 0, ("c", "y", "x"), "numbers"),
    "bytes of a copy": ArraySpec((2, 300, 200), (1, 128, 128), "uint8", 0, ("c", "y", "x"), "numbers"),
    "a scalar": ArraySpec((), (), "int64", 0, ()),
}


def blosc(**how: object) -> BloscCodec:
    return BloscCodec(cname="zstd", clevel=1, blocksize=1 << 18, **how)


def zarrs_own(path: Path, spec: ArraySpec) -> zarr.Array:
    """The same array, made by zarr-python."""
    item = np.dtype(spec.dtype).itemsize
    compressor = {
        "bytes": ZstdCodec(level=1, checksum=True),
        "bits": (blosc(shuffle=BloscShuffle.bitshuffle, typesize=1), Crc32cCodec()),
        "numbers": (blosc(shuffle=BloscShuffle.shuffle, typesize=item), Crc32cCodec())
        if item > 1
        else ZstdCodec(level=1, checksum=True),
    }[spec.compression]
    return zarr.create_array(
        str(path),
        shape=spec.shape,
        chunks=spec.chunks,
        dtype=spec.dtype,
        fill_value=spec.fill,
        compressors=compressor,
        dimension_names=spec.names or None,
    )


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


EVERYTHING = (slice(0, 300), slice(0, 200))
PLANES = [name for name, spec in SPECS.items() if spec.shape]


def planes(spec: ArraySpec) -> list[tuple[int, ...]]:
    """The index of each plane of an array."""
    return list(np.ndindex(spec.shape[:-2]))


def values_of(spec: ArraySpec) -> NDArray[Any]:
    """Values of which the first chunk of each plane holds nothing but the fill value."""
    values = np.random.default_rng(0).integers(0, 5, spec.shape).astype(spec.dtype)
    values[..., :128, :128] = spec.fill
    return values


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_an_arrays_document_says_what_zarrs_own_says(spec: ArraySpec, tmp_path: Path) -> None:
    zarrs_own(tmp_path / "theirs", spec)
    assert json.loads(array_document(spec)) == json.loads((tmp_path / "theirs" / "zarr.json").read_bytes())


def test_groups_and_small_arrays_are_as_zarr_makes_them_by_default(tmp_path: Path) -> None:
    data = np.arange(12.0).reshape(4, 3)
    zarr.create_array(str(tmp_path / "a"), data=data, chunks=(4, 3), dimension_names=("cluster", "channel"))
    write_array(str(tmp_path / "b"), data, ArraySpec((4, 3), (4, 3), "float64", 0, ("cluster", "channel"), "small"))
    ours, theirs = files(tmp_path / "b"), files(tmp_path / "a")
    assert json.loads(ours.pop("zarr.json")) == json.loads(theirs.pop("zarr.json"))
    assert ours == theirs
    write_group(str(tmp_path / "g"), {"kseg": {"name": "Blätter"}})
    assert dict(zarr.open_group(str(tmp_path / "g"), mode="r").attrs) == {"kseg": {"name": "Blätter"}}


@pytest.mark.parametrize("name", PLANES)
def test_chunks_are_those_that_zarr_writes_and_are_read_as_zarr_reads_them(name: str, tmp_path: Path) -> None:
    """Byte for byte, at the edges too; chunks of nothing but the fill value are not there, or are removed."""
    spec = SPECS[name]
    values, ours, theirs = values_of(spec), str(tmp_path / "ours"), zarrs_own(tmp_path / "theirs", spec)
    theirs[...] = values
    create_array(ours, spec)
    for plane in planes(spec):
        write_plane(ours, spec, EVERYTHING, np.ones((300, 200), spec.dtype), plane)
        for rows in (slice(0, 128), slice(128, 300)):
            write_plane(ours, spec, (rows, slice(0, 200)), values[plane][rows], plane)
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")
    write_array(str(tmp_path / "whole"), values, spec)
    assert files(tmp_path / "whole") == files(tmp_path / "theirs")
    first = "/".join(["c", *"0" * len(spec.shape)])
    assert first not in files(tmp_path / "ours")
    assert f"{first[:-3]}2/1" in files(tmp_path / "ours")
    for window in EVERYTHING, (slice(100, 131), slice(7, 130)), (slice(299, 300), slice(128, 200)):
        for plane in planes(spec):
            found = read_plane(ours, spec, window, plane)
            np.testing.assert_array_equal(found, theirs[(*plane, *window)])
            assert found.dtype == spec.dtype
    with pytest.raises(FileNotFoundError):
        read_plane(str(tmp_path / "none"), spec, (slice(0, 1), slice(0, 1)), planes(spec)[0])


def test_coordinates_are_written_as_zarr_writes_them(tmp_path: Path) -> None:
    spec = ArraySpec((70_000,), (1 << 16,), "float64", 0, ("x",), "numbers")
    values = np.arange(70_000) * 0.1
    write_array(str(tmp_path / "ours"), values, spec, {"units": "m"})
    zarrs_own(tmp_path / "theirs", spec)[...] = values
    assert {**files(tmp_path / "ours"), "zarr.json": b""} == {**files(tmp_path / "theirs"), "zarr.json": b""}
    assert dict(zarr.open_array(str(tmp_path / "ours"), mode="r").attrs) == {"units": "m"}


def test_the_chunks_of_masks_are_those_that_zarr_writes(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 2, (300, 200)).astype(np.uint8)
    labels[:128, :128] = 1
    labels[5, 5] = 255
    create_array(str(tmp_path / "ours"), SPECS["masks"])
    layout = Layout((300, 200), 2, 128, masks=True)
    write_tiles(str(tmp_path / "ours"), LAYERS["masks"], whole(layout.shape), LayerInput(labels), layout)
    zarrs_own(tmp_path / "theirs", SPECS["masks"])[...] = labels == np.arange(2, dtype=np.uint8)[:, None, None]
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")
    assert "c/0/0/0" not in files(tmp_path / "ours")


@pytest.mark.parametrize("name", PLANES)
def test_no_byte_of_a_chunk_changes_unnoticed(name: str, tmp_path: Path) -> None:
    """Neither by this program nor by Zarr: what is damaged is refused, or the byte means nothing."""
    spec = replace(SPECS[name], shape=(*SPECS[name].shape[:-2], 16, 16), chunks=(*SPECS[name].chunks[:-2], 16, 16))
    values = np.random.default_rng(0).integers(0, 2, spec.shape).astype(spec.dtype)
    write_array(str(tmp_path / "a"), values, spec)
    stored = zarr.open_array(str(tmp_path / "a"), mode="r")
    window, plane = (slice(0, 16), slice(0, 16)), planes(spec)[0]
    chunk = next(path for path in sorted((tmp_path / "a/c").rglob("*")) if path.is_file())
    sound = chunk.read_bytes()
    for at in range(len(sound)):
        chunk.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << at % 8]) + sound[at + 1 :])
        with contextlib.suppress(ValueError, RuntimeError):
            np.testing.assert_array_equal(stored[...], values)
        try:
            np.testing.assert_array_equal(read_plane(str(tmp_path / "a"), spec, window, plane), values[plane])
        except StoreError as error:
            named = str(error)
            assert named.startswith(f"{chunk}: a damaged chunk"), named
    chunk.write_bytes(sound)
    np.testing.assert_array_equal(stored[...], values)
