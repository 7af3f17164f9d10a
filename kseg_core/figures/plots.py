"""Figures as PNG files, by Matplotlib; imported only where one is drawn.

They are made with `matplotlib.figure.Figure` itself, never with pyplot: no window, no global state, and safe in any
thread's hands as long as each has its own figure. What is marked has a shape, a line and a word of its own, so it is
seen in print and without colour vision.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .charts import ROOM, Chart, Mark, chosen_k, elbow_chart, hex_of, silhouette_chart, text_on

U8 = NDArray[np.uint8]
Picture = U8  # (y, x), (y, x, 3) or (y, x, 4)

DPI = 144
INK, FAINT, GRID = "#1c1e21", "#6a7078", "#e3e5e8"
LINE, SECOND, WEAK, MARK = "#1f5fa8", "#5a6470", "#9aa3ad", "#b3400f"
OUTLINE = (0.0, 0.0, 0.0, 0.45)  # of points: light colours are seen on white paper
CELL = 1.8  # inches, of a picture among others
LONGEST_CAPTION = 34
MOST_CURVES = 400  # of images: more are one gray area anyway
ROOM_FOR_TEXT = 0.055  # of the palette's width: narrower clusters are named in the list below only
MOST_NAMED = 16  # clusters in that list
MOST_NUMBERED = 40  # clusters whose numbers do not hide the points of the scatter


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def sweep_figure(record: Mapping[str, Any]) -> Figure:
    """The figure of a sweep's record."""
    return elbow_figure(record) if record["each"] is None else elbows_figure(record["each"])


# ---------------------------------------------------------------------------------------------------------- charts


def elbow_figure(swept: Mapping[str, Any]) -> Figure:
    """Inertia and silhouette of one sweep, as `elbow_chart` takes it."""
    figure, upper, lower = _two_rows()
    inertia, silhouette = elbow_chart(swept), silhouette_chart(swept)
    chosen = chosen_k(swept)
    for axes in (upper, lower):
        _tidy(axes)
        if chosen is not None:
            axes.axvline(chosen, color=MARK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    _draw(upper, inertia, marker="o")
    upper.set_title(inertia.title, fontsize=9, loc="left", color=FAINT)
    upper.set_ylim(0, (max(inertia.lines[0].ys) or 1.0) * ROOM)
    upper.set_xlabel("")
    _draw(lower, silhouette, color=SECOND, marker="s")
    if not silhouette.lines:
        lower.text(0.5, 0.5, "no silhouette of a single cluster", ha="center", color=FAINT, transform=lower.transAxes)
    lower.margins(y=ROOM - 1)
    ks = inertia.lines[0].xs
    _count_clusters(lower, ks[0], ks[-1])
    return figure


def elbows_figure(each: Sequence[Mapping[str, Any]]) -> Figure:
    """The sweeps of many images: their curves, each from 1 down, with their median; and how often each k was chosen."""
    figure, upper, lower = _two_rows()
    _tidy(upper)
    _tidy(lower)
    swept = [image for image in each if image["sweep"] and image["sweep"][0]["inertia"] > 0]
    upper.set_ylabel("inertia, as a share\nof that of the least k")
    lower.set_ylabel("images for which\nk was chosen")
    lower.set_xlabel("number of clusters k")
    if swept:
        ks = [row["k"] for row in swept[0]["sweep"]]
        curves = np.array([[row["inertia"] for row in image["sweep"]] for image in swept])
        curves /= curves[:, :1]
        shown = curves[np.linspace(0, len(curves) - 1, min(len(curves), MOST_CURVES)).astype(int)]
        upper.plot(ks, shown.T, color=WEAK, linewidth=0.7, alpha=0.6, zorder=1)
        (median,) = upper.plot(
            ks, np.median(curves, axis=0), color=LINE, linewidth=2, marker="o", markersize=5, label="median", zorder=2
        )
        upper.legend(handles=[median], frameon=False, fontsize=8)
        _count_clusters(lower, ks[0], ks[-1])
    upper.set_ylim(0, 1.04)
    chosen = Counter(image["k"] for image in each if image["k"] is not None)
    bars = lower.bar(list(chosen), list(chosen.values()), color=SECOND, width=0.7)
    lower.bar_label(bars, fontsize=8, color=INK)
    lower.margins(y=0.18)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    lower.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def lines_figure(charts: Sequence[Chart]) -> Figure:
    """Some charts side by side: a strong line stands out."""
    figure = _new_figure(3.6 * len(charts), 3.2)
    for axes, chart in zip(figure.subplots(1, len(charts), squeeze=False).flat, charts, strict=True):
        _tidy(axes)
        axes.set_title(chart.title, fontsize=9, loc="left")
        _draw(axes, chart, small=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if not chart.lines:
            axes.text(0.5, 0.5, chart.nothing, ha="center", color=FAINT, transform=axes.transAxes)
    return figure


def _draw(axes: Axes, chart: Chart, color: str = LINE, marker: str = "", *, small: bool = False) -> None:
    """The lines of a chart, their names, and what is marked."""
    size = 8 if small else None
    axes.set_xlabel(chart.x_label, fontsize=size)
    axes.set_ylabel(chart.y_label, fontsize=size)
    for line in sorted(chart.lines, key=lambda line: line.strong):
        axes.plot(
            line.xs, line.ys, color=color if line.strong else WEAK, linewidth=1.8 if line.strong else 1.1,
            marker=marker, markersize=5, zorder=2,
        )  # fmt: skip
        if line.name:
            end = (line.xs[-1], line.ys[-1])
            axes.annotate(line.name, end, fontsize=7, xytext=(3, -2), textcoords="offset points")
    if chart.mark is not None:
        _mark(axes, chart.mark)


def _mark(axes: Axes, mark: Mark) -> None:
    """A hollow diamond around a point, and what it is."""
    x, y, words = mark
    axes.plot([x], [y], marker="D", markersize=12, markerfacecolor="none", markeredgecolor=MARK, markeredgewidth=1.6)
    axes.annotate(words, (x, y), xytext=(12, 12), textcoords="offset points", fontsize=9, color=MARK, fontweight="bold")


def _two_rows() -> tuple[Figure, Axes, Axes]:
    figure = _new_figure(6.4, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    return figure, upper, lower


def _count_clusters(axes: Axes, first: float, last: float) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(first - 0.5, last + 0.5)


def _new_figure(width: float, height: float) -> Figure:
    """An empty white figure, sides in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: Axes) -> None:
    """A quiet frame: a grid behind, no box."""
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


# ------------------------------------------------------------------------------------- the palette, colours in space


def palette_figure(colors: U8, shares: Sequence[float]) -> Figure:
    """One bar of all clusters in their order, as wide as their shares (k,), each 0 to 1; and their numbers, colours
    uint8 (k, 3) and shares below.

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
    figure = _new_figure(7.2, 0.95 + 0.28 * (rows + extra))
    axes = figure.subplots()
    axes.set_axis_off()
    left = 0.0
    for j, (color, share) in enumerate(zip(colors.tolist(), shares, strict=True)):
        axes.barh(0, share, left=left, height=1.0, color=np.array(color) / 255, linewidth=0)
        if share >= ROOM_FOR_TEXT:
            axes.text(left + share / 2, 0, str(j), ha="center", va="center", fontsize=10, color=text_on(color))
        left += share
    for at, j in enumerate(sorted(named)):
        text = f"{j}  {hex_of(colors[j].tolist())}  {shares[j]:.1%}"
        axes.text(at % 4 / 4, -0.9 - 0.45 * (at // 4), text, fontsize=8, color=INK, family="monospace")
    if extra:
        rest = 1.0 - sum(shares[j] for j in named)
        more = f"and {len(shares) - len(named)} more clusters, {max(rest, 0.0):.1%}"
        axes.text(0, -0.9 - 0.45 * rows, more, fontsize=8, color=FAINT)
    axes.set_xlim(0, max(left, 1e-9))
    axes.set_ylim(-0.65 - 0.45 * (rows + extra), 0.55)
    return figure


def scatter_figure(points: U8, point_colors: U8, centres: U8, axes_names: Sequence[str]) -> Figure:
    """A 3-D scatter of pixels, each in its cluster's colour; the clusters' own colours as numbered discs.

    uint8 (n, 3): where each pixel lies, and what its cluster is painted with; uint8 (k, 3): colours of the clusters,
    drawn where they lie. Axes go from 0 to 255.
    """
    figure = _new_figure(6.4, 5.6)
    axes = cast(Any, figure.add_subplot(projection="3d"))
    style = {"s": 7, "alpha": 0.85, "edgecolors": OUTLINE, "linewidths": 0.3, "depthshade": False}
    axes.scatter(*points.T.astype(float), c=point_colors / 255.0, **style)
    for j, centre in enumerate(centres.tolist() if len(centres) <= MOST_NUMBERED else ()):
        at = [float(value) for value in centre]
        axes.scatter(*([value] for value in at), c=[[value / 255 for value in at]], s=170, edgecolors="black")
        axes.text(*at, str(j), ha="center", va="center", fontsize=8, color=text_on(centre), zorder=10)
    for name, axis in zip(axes_names, (axes.xaxis, axes.yaxis, axes.zaxis), strict=True):
        axis.set_label_text(name, fontsize=8)
    axes.set(xlim=(0, 255), ylim=(0, 255), zlim=(0, 255))
    axes.tick_params(labelsize=7, colors=FAINT)
    axes.set_box_aspect(None, zoom=0.88)  # room for the names of the axes
    axes.view_init(elev=22, azim=-55)
    return figure


# -------------------------------------------------------------------------------------------------------- pictures


def comparison_figure(rows: Sequence[tuple[str, Sequence[Picture | None]]], titles: Sequence[str]) -> Figure:
    """One row (name, pictures) an image, one column a kind of picture; None leaves a place empty."""
    across = 1.35 * len(titles)
    names = [(caption(name), *titles[1:]) if at == 0 else (caption(name),) for at, (name, _) in enumerate(rows)]
    pictures = [pictures for _, pictures in rows]
    return _grid_of_pictures(pictures, names, len(titles), CELL * across)


def masks_figure(rows: Sequence[tuple[str, Sequence[tuple[int, Picture]]]]) -> Figure:
    """Small multiples: one row (name, masks) an image, each of its clusters alone, by number; white is inside."""
    across = max((len(masks) for _, masks in rows), default=1) or 1
    names = [
        [f"{caption(name)}: {cluster}" if at == 0 else str(cluster) for at, (cluster, _) in enumerate(masks)]
        for name, masks in rows
    ]
    return _grid_of_pictures([[mask for _, mask in masks] for _, masks in rows], names, across, max(3.0, CELL * across))


def _grid_of_pictures(
    rows: Sequence[Sequence[Picture | None]], titles: Sequence[Sequence[str]], across: int, width: float
) -> Figure:
    """Pictures in their own shapes, without ticks, each below its title where it has one."""
    down = max(1, len(rows))
    figure = _new_figure(width, CELL * down + 0.3)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, pictures, names in zip(grid, rows, titles, strict=False):
        for axes, picture in zip(line, pictures, strict=False):
            if picture is not None:
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        for axes, name in zip(line, names, strict=False):
            axes.set_title(name, fontsize=8, color=INK, loc="left").set_parse_math(False)  # a name is no formula
    return figure


def caption(name: str) -> str:
    """A name as every font has it: what is not ASCII becomes a dot, and a long one loses its beginning."""
    plain = "".join(c if c.isascii() and c.isprintable() else "·" for c in name)
    return plain if len(plain) <= LONGEST_CAPTION else f"...{plain[3 - LONGEST_CAPTION :]}"


# --------------------------------------------------------------------------------------------------------- a score

MOST_WRITTEN = 16  # classes of a confusion matrix whose cells have their numbers
MOST_LABELLED = 40  # classes that are named at its sides


def covering_figure(coverings: Sequence[float]) -> Figure:
    """How well the segments of images cover what people drew: images by rising covering."""
    figure = _new_figure(6.4, 3.2)
    axes = figure.subplots()
    _tidy(axes)
    axes.bar(range(1, len(coverings) + 1), sorted(coverings), color=LINE, width=0.8)
    axes.axhline(float(np.mean(coverings)), color=MARK, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_xlabel("images")
    axes.set_ylabel("covering")
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def confusion_figure(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Figure:
    """A confusion matrix: rows are classes of the reference, columns what labels say, last those that say no class;
    each cell has its share of its row, by shade and as a number.
    """
    table = np.array(counts, np.float64)
    shown = table if table[:, -1].any() else table[:, :-1]
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(shown, totals, out=np.zeros_like(shown), where=totals > 0)
    side = min(11.0, max(3.6, 1.6 + 0.55 * len(names)))
    figure = _new_figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    columns = [caption(name) for name in names] + (["unassigned"] if shown.shape[1] > len(names) else [])
    axes.set_xlabel("labels")
    axes.set_ylabel("reference")
    axes.tick_params(colors=INK, labelsize=8, length=0)
    if len(names) <= MOST_LABELLED:
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), columns[: len(names)])
        for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            text.set_parse_math(False)  # a name is no formula
    if len(names) <= MOST_WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            ink = "white" if share > 0.55 else INK
            axes.text(column, row, f"{100 * share:.1f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_title("% of the pixels of each class of the reference", fontsize=9, loc="left", color=FAINT)
    for side_of in axes.spines.values():
        side_of.set_visible(False)
    return figure
