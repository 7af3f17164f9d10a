"""The palette: every cluster's colour as wide as its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .contrast import text_on
from .drawing import FAINT, INK, new_figure

ROOM_FOR_TEXT = 0.055  # of the width: narrower clusters are named in the list below only
MOST_NAMED = 16


def palette_figure(colors: NDArray[np.uint8], shares: Sequence[float]) -> Figure:
    """One bar of all clusters in their order, and their numbers, colours and shares.

    Parameters
    ----------
    colors
        uint8 (k, 3).
    shares
        (k,), each 0 to 1.

    Raises
    ------
    ValueError
        If there are not as many colours as shares.
    """
    if len(colors) != len(shares):
        raise ValueError(f"expected a share for each of {len(colors)} colours, got {len(shares)}")
    named = sorted(range(len(shares)), key=lambda j: (-shares[j], j))[:MOST_NAMED]
    rows = -(-len(named) // 4)
    extra = int(len(named) < len(shares))
    figure = new_figure(7.2, 0.95 + 0.28 * (rows + extra))
    axes = figure.subplots()
    axes.set_axis_off()
    left = 0.0
    for j, (color, share) in enumerate(zip(colors.tolist(), shares, strict=True)):
        axes.barh(0, share, left=left, height=1.0, color=np.array(color) / 255, linewidth=0)
        if share >= ROOM_FOR_TEXT:
            ink = text_on((color[0], color[1], color[2]))
            axes.text(left + share / 2, 0, str(j), ha="center", va="center", fontsize=10, color=ink)
        left += share
    for at, j in enumerate(sorted(named)):
        r, g, b = colors[j].tolist()
        text = f"{j}  #{r:02x}{g:02x}{b:02x}  {shares[j]:.1%}"
        axes.text(at % 4 / 4, -0.9 - 0.45 * (at // 4), text, fontsize=8, color=INK, family="monospace")
    if len(named) < len(shares):
        rest = 1.0 - sum(shares[j] for j in named)
        more = f"and {len(shares) - len(named)} more clusters, {max(rest, 0.0):.1%}"
        axes.text(0, -0.9 - 0.45 * rows, more, fontsize=8, color=FAINT)
    axes.set_xlim(0, max(left, 1e-9))
    axes.set_ylim(-0.65 - 0.45 * (rows + extra), 0.55)
    return figure
