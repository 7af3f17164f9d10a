"""Half-sized labels: the mode of every block of two by two pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from ._types import LABELS

Label = np.unsignedinteger[Any]
Labels = NDArray[Label]


@inlined
def _mode(p: Label, q: Label, r: Label, s: Label, invalid: Label) -> Label:
    """The most frequent valid one of four labels, the lowest of equally frequent ones."""
    a, b = min(p, q), max(p, q)  # sort them: invalid ones come last
    c, d = min(r, s), max(r, s)
    a, c = min(a, c), max(a, c)
    b, d = min(b, d), max(b, d)
    b, c = min(b, c), max(b, c)
    # The first is the mode, unless it is alone and a pair of valid ones follows.
    mode = c if c == d and d != invalid else a
    mode = b if b == c and c != invalid else mode
    return a if a == b else mode


@kernel(*(f"C2{label} u C2{label}" for label in LABELS))
def mode_of_blocks(labels: Labels, invalid: Label, halved: Labels) -> None:
    """Fill ``halved`` (ceil(y / 2), ceil(x / 2)) from ``labels`` (y, x); blocks cut short repeat their last pixels."""
    height, width = labels.shape
    whole = width // 2
    for y in range(halved.shape[0]):
        upper, lower, out = labels[2 * y], labels[min(2 * y + 1, height - 1)], halved[y]
        for x in range(whole):
            out[x] = _mode(upper[2 * x], upper[2 * x + 1], lower[2 * x], lower[2 * x + 1], invalid)
        if width % 2:
            out[whole] = _mode(upper[width - 1], upper[width - 1], lower[width - 1], lower[width - 1], invalid)
