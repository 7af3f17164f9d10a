"""Files to break readers with: sound ones of every kind, and damage that a seed decides."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

#: What no message for people holds: reprs, types and errors of Python, and names in libraries.
PROGRAMMERS = re.compile(
    r"<|object has no|operand|subscript|argument|\bNone|numpy|index out of|Error\b|\bb'|\{|says: \d"
    r"|[a-z]_[a-z]+_|[A-Z]{2}_[A-Z]"
)

Random = np.random.Generator
HEADER_BYTES = 256  # most of what a format says of itself stands there
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A gradient with noise: every row of every format has something in it."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.dstack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)])
    return (smooth + np.random.default_rng(seed).normal(0, 9, smooth.shape)).clip(0, 255).astype(np.uint8)


def _pillow(pixels: NDArray[np.uint8], name: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, name, **options)
    return out.getvalue()


def _palette(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).quantize(64).save(out, "PNG")
    return out.getvalue()


def _tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", **options)
    return out.getvalue()


def sound_files(height: int = 90, width: int = 120, seed: int = 0) -> dict[str, bytes]:
    """Files of every format and layout that is read, by suffix-like name."""
    pixels = picture(height, width, seed)
    tile = (32, 48)
    return {
        "baseline.jpg": _pillow(pixels, "JPEG", quality=90),
        "progressive.jpg": _pillow(pixels, "JPEG", progressive=True),
        "gray.jpg": _pillow(pixels[..., 0], "JPEG"),
        "rgb.png": _pillow(pixels, "PNG"),
        "palette.png": _palette(pixels),
        "gray16.png": _pillow(pixels[..., 0].astype(np.uint16) * 257, "PNG"),
        "rgb.bmp": _pillow(pixels, "BMP"),
        "palette.gif": _pillow(pixels[..., 0], "GIF"),
        "lossy.webp": _pillow(pixels, "WEBP"),
        "lossless.webp": _pillow(pixels, "WEBP", lossless=True),
        "plain.tif": _tiff(pixels, rowsperstrip=16),
        "deflate-strips.tif": _tiff(pixels, rowsperstrip=16, compression="deflate", predictor=True),
        "lzw-strips.tif": _tiff(pixels, rowsperstrip=16, compression="lzw"),
        "packbits.tif": _tiff(pixels, rowsperstrip=16, compression="packbits"),
        "jpeg-tiles.tif": _tiff(pixels, tile=(32, 48), compression="jpeg"),
        "deflate-tiles.tif": _tiff(pixels, tile=tile, compression="deflate"),
        "zstd-tiles.tif": _tiff(pixels, tile=tile, compression="zstd"),
        "big-endian.tif": _tiff(pixels, byteorder=">", rowsperstrip=16),
        "bigtiff-tiles.tif": _tiff(pixels, bigtiff=True, tile=tile, compression="deflate"),
        "uint16.tif": _tiff(pixels.astype(np.uint16) * 257, rowsperstrip=16, compression="deflate"),
    }


# ---------------------------------------------------------------------------------------------- damage


def cut_short(data: bytes, random: Random) -> bytes:
    """The beginning of a file, which may be nothing."""
    return data[: int(random.integers(0, len(data)))]


def flip_bytes(data: bytes, random: Random) -> bytes:
    """One to sixteen bytes anywhere are others."""
    broken = bytearray(data)
    for at in random.integers(0, len(data), random.integers(1, 17)):
        broken[at] ^= int(random.integers(1, 256))
    return bytes(broken)


def spoil_header(data: bytes, random: Random) -> bytes:
    """One to eight of the first or last bytes are extreme values."""
    broken = bytearray(data)
    span = min(HEADER_BYTES, len(data))
    for at in random.integers(0, span, random.integers(1, 9)):
        broken[at if random.random() < 0.7 else -1 - at] = int(random.choice(EXTREMES))
    return bytes(broken)


def blank_part(data: bytes, random: Random) -> bytes:
    """A stretch in the middle is zeros, as a disk leaves it that failed."""
    at = int(random.integers(0, len(data)))
    length = min(int(random.integers(1, len(data) // 2 + 2)), len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


def shuffle_parts(data: bytes, random: Random) -> bytes:
    """Two stretches changed places, or one stands twice."""
    a, b = sorted(int(at) for at in random.integers(0, len(data), 2))
    middle = (a + b) // 2
    return data[:a] + data[middle:b] + data[a:middle] + data[b:] if random.random() < 0.5 else data[:b] + data[a:]


DAMAGE: tuple[Callable[[bytes, Random], bytes], ...] = (cut_short, flip_bytes, spoil_header, blank_part, shuffle_parts)


def damaged_files(sound: dict[str, bytes], number: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many names and contents, each kind of file with each kind of damage in turn."""
    random = np.random.default_rng(seed)
    names = sorted(sound)
    for i in range(number):
        name = names[i % len(names)]
        damage = DAMAGE[i // len(names) % len(DAMAGE)]
        broken = damage(sound[name], random)
        if broken != sound[name]:
            yield f"{i:05d}-{damage.__name__}-{name}", broken


# ------------------------------------------------------------------------------------------- Zarr metadata

ODD_VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    1e30,
    "",
    "x",
    [],
    {},
    [-1],
    [1 << 62] * 2,
    True,
    1 << 70,
    {"name": "x"},
    [None],
)


def places_in(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in a JSON document, its own root left out."""
    found = [path] if path else []
    if isinstance(document, dict):
        for key, value in document.items():
            found += places_in(value, (*path, key))
    elif isinstance(document, list):
        for i, value in enumerate(document[:4]):
            found += places_in(value, (*path, i))
    return found


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another value at a place; ``...`` removes it."""
    copied = json.loads(json.dumps(document))
    place = copied
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copied


def damaged_document(text: bytes, random: Random) -> bytes:
    """A JSON document in which one value is missing or odd, or whose bytes are damaged."""
    if random.random() < 0.2:
        return DAMAGE[int(random.integers(len(DAMAGE)))](text, random)
    document = json.loads(text)
    places = places_in(document)
    where = places[int(random.integers(len(places)))]
    value = ... if random.random() < 0.2 else ODD_VALUES[int(random.integers(len(ODD_VALUES)))]
    return json.dumps(with_value(document, where, value)).encode()


def write_sound_zarr(folder: Path, seed: int = 0) -> None:
    """An OME-Zarr image of three channels in a few chunks."""
    pixels = picture(90, 120, seed).transpose(2, 0, 1)
    group = zarr.create_group(str(folder), overwrite=True)
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group.create_array("0", data=pixels, chunks=(3, 40, 40))


def write_damaged_zarr(sound: Path, folder: Path, random: Random) -> None:
    """A copy of a Zarr folder, one of whose files is damaged."""
    shutil.copytree(sound, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[int(random.integers(len(files)))]
    data = path.read_bytes()
    if path.name == "zarr.json" and random.random() < 0.9:
        path.write_bytes(damaged_document(data, random))
    else:
        path.write_bytes(DAMAGE[int(random.integers(len(DAMAGE)))](data, random))
