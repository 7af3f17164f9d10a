"""What a header states against what its file can hold: a header of a few bytes must not plan terabytes.

All is worked out from sizes, before anything is planned, budgeted or decoded; nothing is built of a stated length.
"""

from __future__ import annotations

from kseg_core.images.raster import MAX_PIXELS, Refused

#: Bytes that one byte of compressed data can become at most: of PackBits a run of 128 takes 2; of LZW a code of 12 bits
#: stands for at most 3,837 bytes (2**12 - 259 codes after a clear code, each one longer than the last); of Deflate a
#: match of 258 takes 2 bits (RFC 1951).
PACKBITS_RATIO = 64
LZW_RATIO = 2600
DEFLATE_RATIO = 1040
#: Huffman-coded JPEG has at least a bit for each block of 64 samples; arithmetic coding has no such bound.
JPEG_RATIO = 512
#: Tiles that were never written are legal, and a mostly empty scene is a good use of them; one tile in so many is.
SPARSE_RATIO = 4096

#: A tile may be larger than its picture, but not without bound: 2**26 pixels are 8192 x 8192. A page of larger
#: compressed strips is read whole.
MAX_TILE_PX = 1 << 26

#: What is stated up to here costs nothing to plan: what is wrong with it is said, in detail, when it is read.
HARMLESS_BYTES = 1 << 24


def check_ratio(pixels: float, stored_bytes: float, ratio: float) -> None:
    """Refuse a picture of more bytes of samples than its data can become.

    Raises
    ------
    Refused
        Saying both.
    """
    if pixels > max(stored_bytes * ratio, HARMLESS_BYTES):
        raise Refused(
            f"truncated or damaged: {pixels:.3g} bytes of pixels are stated, which its {stored_bytes:,.0f} bytes "
            "cannot hold"
        )


def check_sparse(pixels: int, present: float) -> None:
    """Refuse a picture that is nearly all missing chunks, tiles or strips.

    Parameters
    ----------
    pixels
        Stated.
    present
        Pixels of those that are there.

    Raises
    ------
    Refused
        Saying both.
    """
    if pixels > max(MAX_PIXELS, present * SPARSE_RATIO):
        raise Refused(
            f"damaged: {pixels:.3g} pixels are stated, of which {present:.3g} are in the file; the rest is empty "
            "(if it is meant so, cut out the part that is not)"
        )
