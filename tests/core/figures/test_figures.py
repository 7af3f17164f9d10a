"""Figures show what they are given."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from kseg_core.figures import plots
from kseg_core.figures.charts import chosen_k, history_charts, luminance, text_on, ticks
from kseg_core.figures.plots import (
    caption,
    comparison_figure,
    elbow_figure,
    elbows_figure,
    lines_figure,
    masks_figure,
    palette_figure,
    scatter_figure,
    sweep_figure,
    to_png,
)
from tests.reference import FEWER, KNEE, NO_KNEE, row, swept

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.integers(0, 256, (50, 3), dtype=np.uint8)
COLORS = np.array([[0, 0, 0], [255, 0, 0], [240, 240, 200]], np.uint8)
PICTURE = RANDOM.integers(0, 256, (8, 9, 3), dtype=np.uint8)
MASK = np.eye(5, dtype=np.uint8) * 255
NOTHING: dict[str, Any] = {"k": None, "knee": None, "sweep": None}


def history(batch: Any, steps: Any) -> Figure:
    return lines_figure(history_charts(batch, steps))


def texts(figure: Figure) -> set[str]:
    """Everything written on a figure."""
    return {text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))}


@pytest.mark.parametrize(
    "make",
    [
        lambda: palette_figure(COLORS, [0.5, 0.02, 0.48]),
        lambda: palette_figure(np.zeros((300, 3), np.uint8), [1 / 300] * 300),
        lambda: history([[9.0, 5.0, 4.0], [8.0]], [[], [110.0, 100.0]]),
        lambda: history([[1.0]], [[]]),
        lambda: scatter_figure(POINTS, POINTS, np.empty((0, 3), np.uint8), ("a", "b", "c")),
        lambda: comparison_figure([("$a_b$ 日本.png", [PICTURE, None])], ("original", "edges")),
        lambda: comparison_figure([], ("original",)),
        lambda: masks_figure([("x.png", [(2, MASK), (7, 255 - MASK)]), ("y.png", [(2, MASK)])]),
        lambda: masks_figure([]),
        lambda: elbows_figure([NOTHING]),
        *(
            lambda record=record: sweep_figure(record)
            for record in (KNEE, NO_KNEE, FEWER, swept(1, None, row(1, 0.0, None)), swept(4, None, row(4, 3.0, 0.1)))
        ),
    ],
)
def test_a_figure_is_drawn_without_a_warning(make: Callable[[], Figure], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "DPI", 72)  # half of it: a quarter of the pixels
    with Image.open(io.BytesIO(to_png(make()))) as image:
        assert min(image.size) > 70
        image.load()


def test_the_same_values_give_the_same_file() -> None:
    for make in (lambda: history([[3.0, 2.0]], [[9.0, 8.0, 7.0]]), lambda: sweep_figure(KNEE)):
        assert to_png(make()) == to_png(make())


def test_the_palette_is_as_wide_as_the_shares_and_names_the_largest() -> None:
    axes = palette_figure(COLORS, [0.5, 0.02, 0.48]).axes[0]
    assert [round(bar.get_width(), 6) for bar in axes.patches] == [0.5, 0.02, 0.48]
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == ["#000000", "#ff0000", "#f0f0c8"]
    named = {text.get_text() for text in axes.texts}
    assert {"0", "2", "1  #ff0000  2.0%"} <= named
    assert "1" not in named  # no room for it
    shares = np.arange(1, 301) / np.arange(1, 301).sum()
    many = " ".join(texts(palette_figure(np.zeros((300, 3), np.uint8), shares.tolist())))
    assert "299  #000000" in many
    assert "and 284 more clusters" in many
    with pytest.raises(ValueError, match="a share for each of 1 colours"):
        palette_figure(np.zeros((1, 3), np.uint8), [0.5, 0.5])


def test_the_history_is_told_in_per_cent_above_the_lowest() -> None:
    first, second = history([[9.0, 5.0, 4.0], [8.0]], [[], [110.0, 100.0]]).axes
    assert [list(line.get_ydata()) for line in first.lines] == [[100.0], pytest.approx([125.0, 25.0, 0.0])]  # best last
    assert [list(line.get_ydata()) for line in second.lines] == [pytest.approx([10.0, 0.0])]
    assert [list(line.get_xdata()) for line in second.lines] == [[0, 1]]
    assert [text.get_text() for text in second.texts] == ["1"]
    assert first.get_ylabel() == second.get_ylabel() == "inertia, % above the lowest"
    assert [text.get_text() for text in history([[1.0]], [[]]).axes[1].texts] == ["no steps"]


def test_the_scatter_has_every_point_in_its_clusters_colour() -> None:
    figure = scatter_figure(POINTS, COLORS[np.arange(50) % 2], COLORS[:2], ("red", "green", "blue"))
    axes = cast(Any, figure.axes[0])
    cloud = axes.collections[0]
    assert np.stack(cloud._offsets3d, axis=1).astype(int).tolist() == POINTS.tolist()
    assert {to_hex(color) for color in cloud.get_facecolor()} == {"#000000", "#ff0000"}
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("red", "green", "blue")
    assert [text.get_text() for text in axes.texts] == ["0", "1"]
    bare = scatter_figure(POINTS, POINTS, np.empty((0, 3), np.uint8), ("a", "b", "c"))
    assert len(bare.axes[0].collections) == 1


def test_pictures_stand_side_by_side_and_masks_are_numbered() -> None:
    gray = PICTURE[..., 0]
    figure = comparison_figure([("$a_b$ 日本.png", [PICTURE, None]), ("b", [PICTURE, gray])], ("original", "edges"))
    shown = [axes.images[0].get_array() if axes.images else None for axes in figure.axes]
    assert (np.asarray(shown[0]) == PICTURE).all()
    assert shown[1] is None
    assert (np.asarray(shown[3]) == gray).all()
    assert figure.axes[0].get_title(loc="left") == "$a_b$ ··.png"
    masks = masks_figure([("x.png", [(2, MASK), (7, 255 - MASK)]), ("y.png", [(2, MASK)])])
    assert [axes.get_title(loc="left") for axes in masks.axes] == ["x.png: 2", "7", "y.png: 2", ""]
    assert (np.asarray(masks.axes[1].images[0].get_array()) == 255 - MASK).all()
    assert caption("a" * 100) == "..." + "a" * 31
    assert caption("tab\there") == "tab·here"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1, 10, [2, 4, 6, 8, 10]), (0, 0.011, [0, 0.002, 0.004, 0.006, 0.008, 0.01]), (3, 3, [3])],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (119, 119, 119), (255, 0, 0), (0, 0, 255), (57, 49, 37)])
def test_text_on_a_colour_can_be_read(color: tuple[int, int, int]) -> None:
    light = luminance(color)
    ink = 0.0 if text_on(color) == "#000000" else 1.0
    assert (max(light, ink) + 0.05) / (min(light, ink) + 0.05) >= 4.5


# ------------------------------------------------------------------------------------------------------------ elbows


def test_the_figure_shows_the_curve_and_marks_what_was_chosen_by_shape_line_and_word() -> None:
    figure = elbow_figure(KNEE)
    upper, lower = figure.axes
    curve = next(line for line in upper.lines if len(line.get_xdata()) == 3)
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([1, 2, 3], [100.0, 20.0, 15.0])
    rated = next(line for line in lower.lines if line.get_marker() == "s")
    assert (list(rated.get_xdata()), list(rated.get_ydata())) == ([2, 3], [0.75, 0.5])
    for axes, value in ((upper, 20.0), (lower, 0.75)):
        (mark,) = [line for line in axes.lines if line.get_marker() == "D"]
        assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([2], [value])
        assert any(list(line.get_xdata()) == [2, 2] and line.get_linestyle() == "--" for line in axes.lines)
    assert "knee: k = 2" in texts(figure)
    assert {"no knee in this curve", "chosen: k = 3", "largest"} <= texts(elbow_figure(NO_KNEE))
    # of several lines the first of so many clusters is the chosen one
    assert (chosen_k(KNEE), chosen_k(FEWER), chosen_k(NOTHING)) == (2, 2, None)


def test_the_figure_of_many_images_counts_which_k_was_chosen() -> None:
    one_value = swept(1, None, *[row(k, 0.0, None, found=1) for k in (1, 2, 3)])
    _, lower = elbows_figure([KNEE, KNEE, one_value, NOTHING]).axes
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in lower.patches}
    assert bars == {2: 2, 1: 1}
