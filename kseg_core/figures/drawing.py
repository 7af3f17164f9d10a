"""What all figures share: an empty one, its PNG, and text that cannot do anything but be read."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

DPI = 144
INK, FAINT, GRID = "#1c1e21", "#6a7078", "#e3e5e8"
LONGEST_CAPTION = 34


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, sides in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def caption(name: str) -> str:
    """A name as every font has it: what is not ASCII becomes a dot, and a long one loses its beginning."""
    plain = "".join(c if c.isascii() and c.isprintable() else "·" for c in name)
    return plain if len(plain) <= LONGEST_CAPTION else f"...{plain[3 - LONGEST_CAPTION :]}"


def as_written(text: Text) -> Text:
    """Show dollar signs as such: a file's name is no formula."""
    text.set_parse_math(False)
    return text


def show_picture(axes: Axes, picture: NDArray[np.uint8] | None, title: str = "") -> None:
    """A picture (y, x), (y, x, 3) or (y, x, 4) in its own shape, without ticks; None leaves the place empty."""
    axes.set_axis_off()
    if picture is not None:
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    if title:
        as_written(axes.set_title(title, fontsize=8, color=INK, loc="left"))


def tidy_axes(axes: Axes) -> None:
    """A quiet frame: a grid behind, no box."""
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
