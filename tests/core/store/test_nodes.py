"""Documents and chunks written here are those that zarr-python writes."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec, ZstdCodec

from kseg_core.errors import StoreError
from kseg_core.layers import LAYERS
from kseg_core.layers.layer import ArraySpec, LayerInput, Layout
from kseg_core.layers.tiles import whole
from kseg_core.store.nodes import array_document, create_array, read_plane, write_group, write_plane
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


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_an_arrays_document_says_what_zarrs_own_says(spec: ArraySpec, tmp_path: Path) -> None:
    zarrs_own(tmp_path / "theirs", spec)
    assert json.loads(array_document(spec)) == json.loads((tmp_path / "theirs" / "zarr.json").read_bytes())


def test_a_models_arrays_are_compressed_as_zarr_does_by_default(tmp_path: Path) -> None:
    data = np.arange(12.0).reshape(4, 3)
    zarr.create_array(str(tmp_path / "a"), data=data, chunks=(4, 3), dimension_names=("cluster", "channel"))
    ours = json.loads(array_document(ArraySpec((4, 3), (4, 3), "float64", 0, ("cluster", "channel"), "small")))
    assert ours == json.loads((tmp_path / "a" / "zarr.json").read_bytes())


@pytest.mark.parametrize("name", ["labels", "wide labels"])
def test_the_chunks_of_a_plane_are_those_that_zarr_writes(name: str, tmp_path: Path) -> None:
    """Byte for byte, at the edges too; chunks of nothing but the fill value are not there."""
    spec = SPECS[name]
    labels = np.random.default_rng(0).integers(0, 5, spec.shape).astype(spec.dtype)
    labels[:128, :128] = spec.fill
    create_array(str(tmp_path / "ours"), spec)
    for rows in (slice(0, 128), slice(128, 300)):
        write_plane(str(tmp_path / "ours"), spec, (rows, slice(0, 200)), labels[rows])
    zarrs_own(tmp_path / "theirs", spec)[...] = labels
    ours = files(tmp_path / "ours")
    assert ours == files(tmp_path / "theirs")
    assert "c/0/0" not in ours
    assert "c/2/1" in ours


def test_the_chunks_of_masks_are_those_that_zarr_writes(tmp_path: Path) -> None:
    spec = SPECS["masks"]
    labels = np.random.default_rng(0).integers(0, 2, spec.shape[1:]).astype(np.uint8)
    labels[:128, :128] = 1
    labels[5, 5] = 255
    create_array(str(tmp_path / "ours"), spec)
    layout = Layout((300, 200), 2, 128, masks=True)
    write_tiles(str(tmp_path / "ours"), LAYERS["masks"], whole(layout.shape), LayerInput(labels), layout)
    zarrs_own(tmp_path / "theirs", spec)[...] = labels == np.arange(2, dtype=np.uint8)[:, None, None]
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")
    assert "c/0/0/0" not in files(tmp_path / "ours")


@pytest.mark.parametrize("name", ["labels", "wide labels", "copy", "bytes of a copy"])
def test_a_window_is_read_as_zarr_reads_it(name: str, tmp_path: Path) -> None:
    """Whatever its tiles, those that were never written too."""
    spec = SPECS[name]
    data = np.random.default_rng(0).integers(0, 5, spec.shape).astype(spec.dtype)
    data[..., :128, :128] = spec.fill
    theirs = zarrs_own(tmp_path / "theirs", spec)
    theirs[...] = data
    assert not list((tmp_path / "theirs").glob("c/0/0" if data.ndim == 2 else "c/0/0/0"))
    for window in (slice(0, 300), slice(0, 200)), (slice(100, 131), slice(7, 130)), (slice(299, 300), slice(128, 200)):
        for first in ((0,), (1,)) if data.ndim == 3 else ((),):
            found = read_plane(str(tmp_path / "theirs"), spec, window, first)
            np.testing.assert_array_equal(found, theirs[(*first, *window)])
            assert found.dtype == spec.dtype
    with pytest.raises(FileNotFoundError):
        read_plane(str(tmp_path / "none"), spec, (slice(0, 1), slice(0, 1)), (0,) if data.ndim == 3 else ())


@pytest.mark.parametrize("name", ["labels", "copy"])
def test_a_damaged_chunk_is_not_read(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    zarrs_own(tmp_path / "a", spec)[...] = np.random.default_rng(0).integers(0, 5, spec.shape).astype(spec.dtype)
    path = tmp_path / "a" / ("c/1/1" if len(spec.shape) == 2 else "c/0/1/1")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"{path}: a damaged chunk"):
        read_plane(str(tmp_path / "a"), spec, (slice(0, 300), slice(0, 200)), (0,) if len(spec.shape) == 3 else ())


def test_a_copied_bands_chunks_are_those_that_zarr_writes(tmp_path: Path) -> None:
    spec = SPECS["copy"]
    data = np.random.default_rng(0).random(spec.shape).astype(np.float32)
    create_array(str(tmp_path / "ours"), spec)
    for band in range(2):
        write_plane(str(tmp_path / "ours"), spec, (slice(0, 300), slice(0, 200)), data[band], (band,))
    zarrs_own(tmp_path / "theirs", spec)[...] = data
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")


@pytest.mark.parametrize("name", ["labels", "wide labels", "masks", "copy", "bytes of a copy"])
def test_no_byte_of_a_chunk_changes_unnoticed(name: str, tmp_path: Path) -> None:
    spec = replace(SPECS[name], shape=(*SPECS[name].shape[:-2], 16, 16), chunks=(*SPECS[name].chunks[:-2], 16, 16))
    data = np.random.default_rng(0).integers(0, 2, spec.shape).astype(spec.dtype)
    create_array(str(tmp_path / "a"), spec)
    for first in ((0,), (1,)) if data.ndim == 3 else ((),):
        write_plane(str(tmp_path / "a"), spec, (slice(0, 16), slice(0, 16)), data[first], first)
    chunk = next(path for path in sorted((tmp_path / "a/c").rglob("*")) if path.is_file())
    sound = chunk.read_bytes()
    for at in range(len(sound)):
        chunk.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << at % 8]) + sound[at + 1 :])
        with contextlib.suppress(ValueError, RuntimeError):  # refused, or a byte that means nothing
            np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "a"), mode="r")[...], data)
    chunk.write_bytes(sound)
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "a"), mode="r")[...], data)


def test_a_chunk_that_is_empty_now_is_removed(tmp_path: Path) -> None:
    spec = SPECS["labels"]
    everything = (slice(0, 300), slice(0, 200))
    create_array(str(tmp_path / "a"), spec)
    write_plane(str(tmp_path / "a"), spec, everything, np.zeros((300, 200), np.uint8))
    write_plane(str(tmp_path / "a"), spec, everything, np.full((300, 200), 255, np.uint8))
    assert list(files(tmp_path / "a")) == ["zarr.json"]


def test_zarr_reads_a_group(tmp_path: Path) -> None:
    write_group(str(tmp_path / "g"), {"kseg": {"name": "Blätter"}})
    assert dict(zarr.open_group(str(tmp_path / "g"), mode="r").attrs) == {"kseg": {"name": "Blätter"}}
