"""TIFFs of any samples, and ones put together tag by tag, for layouts that no writer here makes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

Number = int | tuple[int, int]


def tiff_of(tags: dict[int, Sequence[Number]], strips: Sequence[bytes]) -> bytes:
    """A little-endian TIFF; ``tags`` without those of its strips, pairs are fractions."""
    at = 8
    offsets = []
    for strip in strips:
        offsets.append(at)
        at += len(strip) + len(strip) % 2
    tags = {**tags, 273: offsets, 279: [len(strip) for strip in strips]}
    directory = at
    at += 2 + 12 * len(tags) + 4
    entries, beside = [], b""
    for tag, values in sorted(tags.items()):
        kind, packed = _packed(values)
        place = packed.ljust(4, b"\0")
        if len(packed) > 4:
            place = struct.pack("<I", at + len(beside))
            beside += packed
        entries.append(struct.pack("<HHI", tag, kind, len(values)) + place)
    data = b"".join(strip + b"\0" * (len(strip) % 2) for strip in strips)
    head = struct.pack("<2sHI", b"II", 42, directory)
    return head + data + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4) + beside


def _packed(values: Sequence[Number]) -> tuple[int, bytes]:
    """The type of a tag's values, and their bytes."""
    if isinstance(values[0], tuple):
        return 5, b"".join(struct.pack("<II", *value) for value in values)  # type: ignore[misc]
    kind, code = (3, "H") if max(values) < 1 << 16 else (4, "I")  # type: ignore[type-var]
    return kind, struct.pack(f"<{len(values)}{code}", *values)


def picture_tags(
    height: int, width: int, rows: int, compression: int, photometric: int, bands: int
) -> dict[int, Sequence[Number]]:
    """The tags of an 8-bit picture of strips."""
    return {
        256: [width], 257: [height], 258: [8] * bands, 259: [compression], 262: [photometric], 277: [bands],
        278: [rows], 284: [1],
    }  # fmt: skip


def save_tiff(path: Path, samples: NDArray[Any], tile: int | None = 64, **options: Any) -> Path:
    """A TIFF of samples (y, x) or (y, x, bands) of any dtype, in tiles of some side or in one strip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
    layout: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
    layout |= {"planarconfig": "contig"} if flat.ndim == 3 else {}
    layout |= {"tile": (tile, tile)} if tile is not None else {}
    tifffile.imwrite(path, flat, **{**layout, **options})
    return path
