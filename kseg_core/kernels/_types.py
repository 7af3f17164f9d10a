"""What a kernel takes and gives back, as short words that name its compiled code.

``b`` is a truth value, ``i`` and ``u`` a whole number of 64 bits with and without a sign, ``d`` a float64. An array is
its layout, its number of axes and its dtype: ``C2f4`` are float32 values in rows, ``A1u1`` bytes with strides.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Signature = tuple[str, ...]

# The dtypes for which kernels are compiled when the package is installed; those of others are compiled on first use.
WHOLE = ("u1", "u2", "i2")
FLOATS = ("f4", "f8")
BANDS = WHOLE + FLOATS
LABELS = ("u1", "u2")

ARRAY_WORDS = 5  # owner, parent, items, bytes of each, address; then its shape and its strides


class Result(NamedTuple):
    """What comes back: nothing, one value, or a tuple."""

    is_tuple: bool
    kinds: Signature


def is_array(kind: str) -> bool:
    """Whether a word names an array."""
    return len(kind) > 1


def layout_of(kind: str) -> str:
    """``C`` for rows, ``F`` for columns, ``A`` for any strides."""
    return kind[0]


def ndim_of(kind: str) -> int:
    """How many axes."""
    return int(kind[1])


def dtype_of(kind: str) -> np.dtype[Any]:
    """The dtype of its items."""
    return np.dtype(kind[2:])


def kind_of(value: Any) -> str:
    """The word for an argument.

    Raises
    ------
    TypeError
        If a kernel cannot take it.
    """
    if isinstance(value, np.ndarray):
        return array_kind(value)
    if isinstance(value, bool | np.bool_):
        return "b"
    if isinstance(value, np.unsignedinteger):
        return "u"
    if isinstance(value, int | np.integer):
        return "i"
    if isinstance(value, float | np.floating):
        return "d"
    raise TypeError(f"a kernel takes arrays and numbers, not {type(value).__name__}")


def array_kind(array: NDArray[Any]) -> str:
    """The word for an array."""
    flags = array.flags
    layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    return f"{layout}{array.ndim}{_dtype_word(array.dtype)}"


@cache
def _dtype_word(dtype: np.dtype[Any]) -> str:
    if not dtype.isnative or dtype.kind not in "biuf":
        raise TypeError(f"a kernel takes numbers in this machine's order of bytes, not {dtype!r}")
    return dtype.str[1:]
