"""LZW of TIFFs by libtiff (imagecodecs): half as fast again as tifffile's codec, and it refuses the same damage.

A strip or tile is given to it as a TIFF of its own.
"""

from __future__ import annotations

import struct
from typing import Any

from kseg_core.images import tiff_tags
from kseg_core.images.raster import Samples

_NO_PREDICTOR, _DIFFERENCES = 1, 2  # of integers; that of floats is tifffile's to undo
_UNSPECIFIED = 0  # of extra samples
_MOST_BYTES = 1 << 31  # of a strip and what is written around it


def decode_lzw(page: Any, data: bytes, rows: int, columns: int) -> Samples | None:
    """Decode a strip or tile of LZW.

    Parameters
    ----------
    page
        A ``TiffPage`` or ``TiffFrame``.
    data
        The bytes of the strip or tile.
    rows, columns
        Its size in pixels.

    Returns
    -------
    (rows, columns, bands) in native byte order; None where it is not LZW, not of whole bytes, or libtiff does not
    decode it: then it is tifffile's to decode, or to refuse.
    """
    frame = page.keyframe
    plain = frame.fillorder == 1 and frame.predictor in (_NO_PREDICTOR, _DIFFERENCES) and not frame.is_subsampled
    if frame.compression != tiff_tags.LZW or not plain or frame.dtype is None or len(data) >= _MOST_BYTES:
        return None
    dtype = frame.dtype.newbyteorder("=")
    if (
        dtype.kind not in "iuf"
        or frame.bitspersample != dtype.itemsize * 8
        or (dtype.kind == "f" and frame.predictor != 1)
    ):
        return None
    import imagecodecs

    bands = frame.samplesperpixel if frame.planarconfig == tiff_tags.CONTIGUOUS else 1
    file = _as_a_file(page.parent.byteorder, data, (rows, columns, bands), frame)
    try:
        samples: Samples = imagecodecs.tiff_decode(file)
    except (imagecodecs.TiffError, ValueError, RuntimeError):
        return None
    return samples.reshape(rows, columns, bands) if samples.size == rows * columns * bands else None


def _as_a_file(order: str, data: bytes, shape: tuple[int, int, int], frame: Any) -> bytes:
    """Return a TIFF of one strip."""
    rows, columns, bands = shape
    extra = max(0, bands - (3 if bands >= 3 else 1))
    entries: list[tuple[int, tuple[int, ...]]] = [
        (256, (columns,)), (257, (rows,)), (258, (frame.bitspersample,) * bands), (259, (tiff_tags.LZW,)),
        (262, (tiff_tags.RGB if bands >= 3 else tiff_tags.MIN_IS_BLACK,)), (273, (8,)), (277, (bands,)),
        (278, (rows,)), (279, (len(data),)), (284, (tiff_tags.CONTIGUOUS,)), (317, (int(frame.predictor),)),
        *([(338, (_UNSPECIFIED,) * extra)] if extra else []), (339, (int(frame.sampleformat),) * bands),
    ]  # fmt: skip
    at = 8 + len(data) + len(data) % 2
    beyond = at + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(order + "H", len(entries)), b""
    for tag, numbers in entries:
        kind = "I" if len(numbers) == 1 and tag not in (258, 338, 339) else "H"
        packed = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        directory += struct.pack(order + "HHI", tag, 4 if kind == "I" else 3, len(numbers))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(order + "I", beyond + len(values))
            values += packed
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, at)
    return b"".join((head, data, bytes(len(data) % 2), directory, bytes(4), values))
