"""YCbCr in TIFF that is not JPEG-compressed: chroma of fewer samples than pixels, and its colours (TIFF 6.0, 21).

tifffile refuses subsampled chroma. Here each block of pixels (its lumas, then Cb, then Cr) is taken apart; a chroma
sample counts for all pixels of its block, as libtiff has it.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import tiff_tags
from kseg_core.images.raster import NotSupported, Refused, Samples

_LUMA = (0.299, 0.587, 0.114)
_RANGES = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
_DEFLATE = (tiff_tags.ADOBE_DEFLATE, tiff_tags.DEFLATE)
_SURPLUS_BYTES = 1 << 20  # inflated at once and thrown away
_MOST_SURPLUS = 8  # times what is needed, or so many megabytes: more is a bomb
_BYTES = (tiff_tags.UNCOMPRESSED, tiff_tags.LZW, tiff_tags.PACKBITS, *_DEFLATE)


def subsampling_of(page: Any) -> tuple[int, int]:
    """Return how many pixels, across and down, share a chroma sample; (1, 1) where each has its own."""
    if page.photometric != tiff_tags.YCBCR or page.compression in (tiff_tags.JPEG, tiff_tags.OLD_JPEG):
        return 1, 1
    value = page.tags.valueof(tiff_tags.SUBSAMPLING, None)
    if value is None:
        return 2, 2  # the standard's default
    across, down = (int(each) for each in value)
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise Refused(f"damaged: the TIFF states chroma samples of {across} x {down} pixels")
    return across, down


def check_subsampling(page: Any) -> None:
    """Refuse, by name, subsampled chroma that is packed in a way that is not read.

    Raises
    ------
    NotSupported
        Naming it.
    """
    if subsampling_of(page) == (1, 1):
        return
    plain = page.bitspersample == 8 and page.samplesperpixel == 3 and page.predictor == 1
    if page.planarconfig != tiff_tags.CONTIGUOUS or page.compression not in _BYTES or not plain:
        raise NotSupported(
            "YCbCr with subsampled chroma, in planes or of another kind than 8 bits: not supported here; "
            "convert it to RGB first, e.g. with `tiff2rgba`"
        )


def decode_subsampled(page: Any, data: bytes, rows: int, columns: int) -> NDArray[np.uint8]:
    """Decode one strip or tile of subsampled YCbCr.

    Parameters
    ----------
    page
        ``TiffPage``.
    data
        Its bytes.
    rows, columns
        Its size in pixels.

    Returns
    -------
    (rows, columns, 3): Y, Cb, Cr of each pixel.

    Raises
    ------
    Refused
        Where it is damaged or too short.
    """
    across, down = subsampling_of(page)
    blocks = -(-rows // down), -(-columns // across)
    length = blocks[0] * blocks[1] * (across * down + 2)
    raw = unpacked(page, data, length)
    parts = np.frombuffer(raw, np.uint8, length).reshape(*blocks, across * down + 2)
    lumas = parts[..., :-2].reshape(*blocks, down, across).transpose(0, 2, 1, 3)
    out = np.empty((rows, columns, 3), np.uint8)
    out[..., 0] = lumas.reshape(blocks[0] * down, blocks[1] * across)[:rows, :columns]
    for band in (1, 2):
        chroma = parts[..., across * down + band - 1]
        out[..., band] = chroma.repeat(down, axis=0).repeat(across, axis=1)[:rows, :columns]
    return out


def unpacked(page: Any, data: bytes, length: int) -> bytes:
    """Undo the compression of a strip or tile of ``length`` bytes; what follows them is passed over.

    Raises
    ------
    Refused
        Where it is damaged, or shorter.
    """
    import imagecodecs

    raw = data
    if page.fillorder == tiff_tags.REVERSED_BITS:
        raw = bytes(imagecodecs.bitorder_decode(raw))
    try:
        if page.compression == tiff_tags.LZW:
            raw = bytes(imagecodecs.lzw_decode(raw, out=length))
        elif page.compression == tiff_tags.PACKBITS:
            raw = bytes(imagecodecs.packbits_decode(raw, out=length))
        elif page.compression in _DEFLATE:
            raw = inflated(raw, length)
    except (imagecodecs.LzwError, imagecodecs.PackbitsError, ValueError) as error:
        raise Refused("damaged: a strip or tile of the TIFF cannot be decoded") from error
    if len(raw) < length:
        raise Refused("truncated: a strip or tile of the TIFF is too short")
    return raw


def inflated(data: bytes, length: int) -> bytes:
    """Inflate ``length`` bytes; more may follow, which is passed over, but not a wrong checksum.

    Raises
    ------
    Refused
        Where it is damaged, or shorter.
    """
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, length)
        for _ in range(max(1, length // _SURPLUS_BYTES) * _MOST_SURPLUS):
            if stream.eof or not stream.unconsumed_tail:
                break
            stream.decompress(stream.unconsumed_tail, _SURPLUS_BYTES)
    except zlib.error as error:
        raise Refused("damaged: a strip or tile of the TIFF cannot be inflated") from error
    if len(raw) == length and stream.unconsumed_tail:
        raise Refused("damaged, or a decompression bomb: a strip or tile of the TIFF goes on far beyond its place")
    if len(raw) < length or not stream.eof:
        raise Refused("truncated: a strip or tile of the TIFF is too short")
    return raw


def to_rgb(page: Any, samples: Samples) -> NDArray[np.uint8]:
    """Convert Y, Cb, Cr to R, G, B by the page's own coefficients and ranges.

    Parameters
    ----------
    page
        ``TiffPage``.
    samples
        uint8 (height, width, 3).

    Returns
    -------
    uint8 (height, width, 3).
    """
    red, green, blue = _numbers(page, tiff_tags.YCBCR_COEFFICIENTS, _LUMA)
    ranges = _numbers(page, tiff_tags.REFERENCE_BLACK_WHITE, _RANGES)
    if not green or any(ranges[at] == ranges[at + 1] for at in (0, 2, 4)):
        raise Refused("damaged: the TIFF's YCbCr coefficients or ranges are not possible")
    values = np.arange(256, dtype=np.float64)
    luma = (values - ranges[0]) * 255 / (ranges[1] - ranges[0])
    cb, cr = ((values - ranges[at]) * 127 / (ranges[at + 1] - ranges[at]) for at in (2, 4))
    y = luma[samples[..., 0]]
    r = y + (cr * (2 - 2 * red))[samples[..., 2]]
    b = y + (cb * (2 - 2 * blue))[samples[..., 1]]
    g = (y - red * r - blue * b) / green
    return np.rint(np.stack([r, g, b], axis=-1)).clip(0, 255).astype(np.uint8)


def _numbers(page: Any, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return a tag of fractions (numerators and denominators in turn, as tifffile has them) as floats."""
    value = page.tags.valueof(tag, None)
    if value is None:
        return default
    flat = [float(each) for each in np.ravel(value)]
    if len(flat) == 2 * len(default):
        if not all(flat[1::2]):
            raise Refused(f"damaged: tag {tag} of the TIFF divides by zero")
        flat = [above / below for above, below in zip(flat[::2], flat[1::2], strict=True)]
    if len(flat) != len(default):
        raise Refused(f"damaged: tag {tag} of the TIFF has {len(flat)} numbers")
    return tuple(flat)
