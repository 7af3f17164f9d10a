"""Pixel colours as points in space, coloured by cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .contrast import text_on
from .drawing import FAINT, new_figure

OUTLINE = (0.0, 0.0, 0.0, 0.45)  # light colours are seen on white paper
MOST_NUMBERED = 40  # clusters whose numbers do not hide the points


def scatter_figure(
    points: NDArray[np.uint8],
    point_colors: NDArray[np.uint8],
    centres: NDArray[np.uint8],
    axes_names: Sequence[str],
) -> Figure:
    """A 3-D scatter of pixels, each in its cluster's colour; the clusters' own colours as numbered discs.

    Parameters
    ----------
    points, point_colors
        uint8 (n, 3): where each pixel lies, and what its cluster is painted with.
    centres
        uint8 (k, 3): colours of the clusters, drawn where they lie; none with (0, 3).
    axes_names
        Of the three axes, each 0 to 255.
    """
    figure = new_figure(6.4, 5.6)
    axes = cast(Any, figure.add_subplot(projection="3d"))
    axes.scatter(
        *points.T.astype(float),
        c=point_colors / 255.0,
        s=7,
        alpha=0.85,
        edgecolors=OUTLINE,
        linewidths=0.3,
        depthshade=False,
    )
    if len(centres) <= MOST_NUMBERED:
        for j, centre in enumerate(centres.tolist()):
            at = [float(value) for value in centre]
            axes.scatter(*([value] for value in at), c=[[value / 255 for value in at]], s=170, edgecolors="black")
            ink = text_on((centre[0], centre[1], centre[2]))
            axes.text(*at, str(j), ha="center", va="center", fontsize=8, color=ink, zorder=10)
    for name, axis in zip(axes_names, "xyz", strict=True):
        getattr(axes, f"set_{axis}label")(name, fontsize=8)
        getattr(axes, f"set_{axis}lim")(0, 255)
    axes.tick_params(labelsize=7, colors=FAINT)
    axes.set_box_aspect(None, zoom=0.88)  # room for the names of the axes
    axes.view_init(elev=22, azim=-55)
    return figure
