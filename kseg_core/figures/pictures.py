"""Pictures side by side: original and segmented, masks, one picture with several k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .drawing import caption, new_figure, show_picture

Picture = NDArray[np.uint8]
CELL = 1.8  # inches


def comparison_figure(rows: Sequence[tuple[str, Sequence[Picture | None]]], titles: Sequence[str]) -> Figure:
    """One row an image, one column a kind of picture.

    Parameters
    ----------
    rows
        (name, pictures): uint8 (y, x), (y, x, 3) or (y, x, 4); None leaves a place empty.
    titles
        Of the columns.
    """
    figure = new_figure(CELL * 1.35 * len(titles), CELL * max(1, len(rows)) + 0.3)
    grid = figure.subplots(max(1, len(rows)), len(titles), squeeze=False)
    for at, axes in enumerate(grid):
        name, pictures = rows[at] if rows else ("", (None,) * len(titles))
        for column, (one, picture) in enumerate(zip(axes, pictures, strict=True)):
            heading = caption(name) if column == 0 else (titles[column] if at == 0 else "")
            show_picture(one, picture, heading)
    return figure


def masks_figure(rows: Sequence[tuple[str, Sequence[tuple[int, Picture]]]]) -> Figure:
    """Small multiples: one row an image, each of its clusters alone; white is inside.

    Parameters
    ----------
    rows
        (name, masks): of each cluster its number and uint8 (y, x), 0 or 255.
    """
    across = max((len(masks) for _, masks in rows), default=1) or 1
    figure = new_figure(max(3.0, CELL * across), CELL * max(1, len(rows)) + 0.3)
    grid = figure.subplots(max(1, len(rows)), across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for at, (name, masks) in enumerate(rows):
        for column, (cluster, mask) in enumerate(masks):
            show_picture(grid[at, column], mask, f"{caption(name)}: {cluster}" if column == 0 else str(cluster))
    return figure
