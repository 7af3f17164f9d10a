"""Pixels to colours and counts, the merge of two such tables, and labels by look-up.

A colour's code is ``R << 16 | G << 8 | B``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from ._types import LABELS

CODES = 1 << 24  # 8 bits of each of three channels
BLOCK_BITS = 8  # codes are counted and swept in blocks of 256: a block nobody touched is never read
BLOCKS = CODES >> BLOCK_BITS

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@kernel("C2u1 C1b1 C1u4 C1b1")
def count_colors(rgb: U8, valid: Bools, counts: U32, touched: Bools) -> int:
    """Add every valid pixel to ``counts`` and mark its block; return how many were valid.

    ``rgb`` is (n, 3), ``valid`` (n,) or empty where all are; ``counts`` is (CODES,), ``touched`` (BLOCKS,).
    """
    everything = valid.size == 0
    total = 0
    for i in range(rgb.shape[0]):
        if everything or valid[i]:
            code = (
                (np.uint32(rgb[i, 0]) << np.uint32(16)) | (np.uint32(rgb[i, 1]) << np.uint32(8)) | np.uint32(rgb[i, 2])
            )
            counts[code] += np.uint32(1)
            touched[code >> np.uint32(BLOCK_BITS)] = True
            total += 1
    return total


@kernel("C1u4 C1b1")
def count_codes(counts: U32, touched: Bools) -> int:
    """How many codes occur."""
    found = 0
    for block in range(BLOCKS):
        if touched[block]:
            for code in range(block << BLOCK_BITS, (block + 1) << BLOCK_BITS):
                found += counts[code] != 0
    return found


@kernel("C1u4 C1b1 i")
def drain_counts(counts: U32, touched: Bools, most: int = CODES) -> tuple[U32, I64]:
    """The codes that occur, rising, and their counts; both scratch arrays are left all zero.

    With ``most`` the lowest codes only, whole blocks up to the one with which there are at least so many: what is left
    is zero for these alone, and the next call goes on.
    """
    room = 0
    for block in range(BLOCKS):
        room += int(touched[block]) << BLOCK_BITS
    room = min(room, most + (1 << BLOCK_BITS)) + 1
    codes = np.empty(room, np.uint32)  # memory that is not written to is not there
    weights = np.empty(room, np.int64)
    at = 0
    for block in range(BLOCKS):
        if at >= most:
            break
        if touched[block]:
            touched[block] = False
            start = block << BLOCK_BITS
            of_block = counts[start : start + (1 << BLOCK_BITS)]
            for i in range(of_block.size):  # every one is written; the next takes the place of one that does not occur
                codes[at] = start + i
                weights[at] = of_block[i]
                at += int(of_block[i] != 0)
            of_block[:] = 0
    return codes[:at].copy(), weights[:at].copy()


@kernel("C1u4 C1i8 C1u4 C1i8")
def merge_counts(codes_a: U32, counts_a: I64, codes_b: U32, counts_b: I64) -> tuple[U32, I64]:
    """Union of two tables with rising codes; counts of a shared code are added."""
    codes = np.empty(codes_a.size + codes_b.size, np.uint32)
    counts = np.empty(codes.size, np.int64)
    i = j = n = 0
    while i < codes_a.size and j < codes_b.size:
        a, b = codes_a[i], codes_b[j]
        # as arithmetic, not as branches: which table is next cannot be foreseen; a wrong guess costs more than a row
        from_a, from_b = int(a <= b), int(b <= a)
        codes[n] = min(a, b)
        counts[n] = from_a * counts_a[i] + from_b * counts_b[j]
        i, j, n = i + from_a, j + from_b, n + 1
    while i < codes_a.size:
        codes[n], counts[n] = codes_a[i], counts_a[i]
        i, n = i + 1, n + 1
    while j < codes_b.size:
        codes[n], counts[n] = codes_b[j], counts_b[j]
        j, n = j + 1, n + 1
    return codes[:n], counts[:n]  # memory beyond them was never touched, so there is none


@kernel(*(f"C1u4 C1{found} C1{label}" for label in LABELS for found in ("i8", "u1")))
def fill_lookup(codes: U32, labels: NDArray[np.integer], lookup: NDArray[np.unsignedinteger]) -> None:
    """Write each code's label into ``lookup`` (CODES,)."""
    for i in range(codes.size):
        lookup[codes[i]] = labels[i]


@kernel(*(f"C2u1 C1b1 C1{label} C1{label}" for label in LABELS))
def look_up_labels(
    rgb: U8, valid: Bools, lookup: NDArray[np.unsignedinteger], labels: NDArray[np.unsignedinteger]
) -> None:
    """Each pixel's label by its colour's code; the largest of its dtype where ``valid`` is False.

    ``rgb`` is (n, 3), ``valid`` (n,) or empty, ``labels`` (n,) of the dtype of ``lookup``.
    """
    for i in range(rgb.shape[0]):
        code = (np.uint32(rgb[i, 0]) << np.uint32(16)) | (np.uint32(rgb[i, 1]) << np.uint32(8)) | np.uint32(rgb[i, 2])
        labels[i] = lookup[code]
    for i in range(valid.size):
        if not valid[i]:
            labels[i] = (1 << 8 * labels.itemsize) - 1
