"""The elbow: inertia against k with the knee marked, and the silhouette below it.

What is marked has a shape, a line and a word of its own, so it is seen in print and without colour vision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .drawing import FAINT, INK, new_figure, tidy_axes, to_png

LINE, SECOND, MARK = "#1f5fa8", "#5a6470", "#b3400f"
ROOM = 1.22  # above the highest point, for a mark and its word
MOST_DRAWN = 400  # images' curves: more are one gray area anyway


def elbow_png(record: dict[str, Any]) -> bytes:
    """The figure of a sweep's record, as a PNG file."""
    return to_png(elbow_figure(record) if record["each"] is None else elbows_figure(record["each"]))


def elbow_figure(swept: dict[str, Any]) -> Figure:
    """Inertia and silhouette of one sweep.

    Parameters
    ----------
    swept
        ``k`` (chosen), ``knee`` and ``sweep``, a list of rows by rising k, as the JSON of a sweep has them.
    """
    rows, knee = swept["sweep"], swept["knee"]
    chosen = next(row["k"] for row in rows if row["k_found"] == swept["k"])
    figure = new_figure(6.4, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    ks = [row["k"] for row in rows]
    for axes in (upper, lower):
        tidy_axes(axes)
        axes.axvline(chosen, color=MARK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    inertia = [row["inertia"] for row in rows]
    upper.plot(ks, inertia, color=LINE, linewidth=1.8, marker="o", markersize=5, zorder=2)
    _mark(
        upper, chosen, inertia[ks.index(chosen)], f"knee: k = {knee}" if knee is not None else f"chosen: k = {chosen}"
    )
    upper.set_ylabel("inertia")
    upper.set_ylim(0, (max(inertia) or 1.0) * ROOM)
    if knee is None:
        upper.set_title("no knee in this curve", fontsize=9, loc="left", color=FAINT)
    rated = [(row["k"], row["silhouette"]) for row in rows if row["silhouette"] is not None]
    if rated:
        lower.plot(*zip(*rated, strict=True), color=SECOND, linewidth=1.5, marker="s", markersize=4.5, zorder=2)
        values = dict(rated)
        if chosen in values:
            _mark(lower, chosen, values[chosen], "" if knee is not None else "largest")
    else:
        lower.text(0.5, 0.5, "no silhouette of a single cluster", ha="center", color=FAINT, transform=lower.transAxes)
    lower.margins(y=ROOM - 1)
    lower.set_ylabel("simplified\nsilhouette")
    lower.set_xlabel("number of clusters k")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    lower.set_xlim(ks[0] - 0.5, ks[-1] + 0.5)
    return figure


def elbows_figure(each: Sequence[dict[str, Any]]) -> Figure:
    """The sweeps of many images: their curves, each from 1 down, with their median; and how often each k was chosen."""
    figure = new_figure(6.4, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    tidy_axes(upper)
    tidy_axes(lower)
    swept = [image for image in each if image["sweep"] and image["sweep"][0]["inertia"] > 0]
    upper.set_ylabel("inertia, as a share\nof that of the least k")
    lower.set_ylabel("images for which\nk was chosen")
    lower.set_xlabel("number of clusters k")
    if swept:
        ks = [row["k"] for row in swept[0]["sweep"]]
        curves = np.array(
            [[row["inertia"] / image["sweep"][0]["inertia"] for row in image["sweep"]] for image in swept]
        )
        shown = curves[np.linspace(0, len(curves) - 1, min(len(curves), MOST_DRAWN)).astype(int)]
        upper.plot(ks, shown.T, color="#9aa3ad", linewidth=0.7, alpha=0.6, zorder=1)
        (median,) = upper.plot(
            ks, np.median(curves, axis=0), color=LINE, linewidth=2, marker="o", markersize=5, label="median", zorder=2
        )
        upper.legend(handles=[median], frameon=False, fontsize=8)
        lower.set_xlim(ks[0] - 0.5, ks[-1] + 0.5)
    upper.set_ylim(0, 1.04)
    chosen = Counter(image["k"] for image in each if image["k"] is not None)
    bars = lower.bar(list(chosen), list(chosen.values()), color=SECOND, width=0.7)
    lower.bar_label(bars, fontsize=8, color=INK)
    lower.margins(y=0.18)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    lower.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _mark(axes: Axes, x: float, y: float, words: str) -> None:
    """A hollow diamond around a point, and what it is."""
    axes.plot([x], [y], marker="D", markersize=12, markerfacecolor="none", markeredgecolor=MARK, markeredgewidth=1.6)
    axes.annotate(words, (x, y), xytext=(12, 12), textcoords="offset points", fontsize=9, color=MARK, fontweight="bold")
