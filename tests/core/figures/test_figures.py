"""Figures show what they are given."""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from kseg_core.figures.charts import chosen_k, luminance, text_on, ticks
from kseg_core.figures.plots import (
    caption,
    comparison_figure,
    elbow_figure,
    elbow_png,
    elbows_figure,
    history_figure,
    masks_figure,
    palette_figure,
    scatter_figure,
    to_png,
)
from tests.reference import FEWER, KNEE, NO_KNEE, row, swept


def drawn(figure: Any) -> np.ndarray:
    """The figure as a picture; drawing it may warn of nothing, for warnings are errors."""
    return np.array(Image.open(io.BytesIO(to_png(figure))).convert("RGB"))


def test_the_same_values_give_the_same_file() -> None:
    first, second = (to_png(history_figure([[3.0, 2.0]], [[9.0, 8.0, 7.0]])) for _ in range(2))
    assert first == second


def test_the_palette_is_as_wide_as_the_shares() -> None:
    colors = np.array([[0, 0, 0], [255, 0, 0], [240, 240, 200]], np.uint8)
    figure = palette_figure(colors, [0.5, 0.02, 0.48])
    bars = figure.axes[0].patches
    assert [round(bar.get_width(), 6) for bar in bars] == [0.5, 0.02, 0.48]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == ["#000000", "#ff0000", "#f0f0c8"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"0", "2", "1  #ff0000  2.0%"} <= set(texts)
    assert "1" not in texts  # no room for it
    assert drawn(figure).std() > 0


def test_many_clusters_are_named_by_their_size() -> None:
    shares = np.arange(1, 301) / np.arange(1, 301).sum()
    figure = palette_figure(np.zeros((300, 3), np.uint8), shares.tolist())
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "299  #000000" in texts
    assert "and 284 more clusters" in texts
    drawn(figure)


def test_a_palette_of_other_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a share for each of 1 colours"):
        palette_figure(np.zeros((1, 3), np.uint8), [0.5, 0.5])


def test_the_history_is_told_in_per_cent_above_the_lowest() -> None:
    figure = history_figure([[9.0, 5.0, 4.0], [8.0]], [[], [110.0, 100.0]])
    first, second = figure.axes
    assert [list(line.get_ydata()) for line in first.lines] == [[100.0], pytest.approx([125.0, 25.0, 0.0])]  # best last
    assert [list(line.get_ydata()) for line in second.lines] == [pytest.approx([10.0, 0.0])]
    assert [list(line.get_xdata()) for line in second.lines] == [[0, 1]]
    assert [text.get_text() for text in second.texts] == ["1"]
    assert {axes.get_ylabel() for axes in figure.axes} == {"inertia, % above the lowest"}
    drawn(figure)
    none = history_figure([[1.0]], [[]])
    assert [text.get_text() for text in none.axes[1].texts] == ["no steps"]
    drawn(none)


def test_the_scatter_has_every_point_in_its_clusters_colour() -> None:
    random = np.random.default_rng(0)
    points = random.integers(0, 256, (50, 3), dtype=np.uint8)
    colors = np.array([[10, 20, 30], [200, 210, 220]], np.uint8)
    labels = random.integers(0, 2, 50)
    figure = scatter_figure(points, colors[labels], colors, ("red", "green", "blue"))
    axes = cast(Any, figure.axes[0])
    cloud = axes.collections[0]
    assert np.stack(cloud._offsets3d, axis=1).astype(int).tolist() == points.tolist()
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("red", "green", "blue")
    assert [text.get_text() for text in axes.texts] == ["0", "1"]
    assert drawn(figure).std() > 0
    assert len(scatter_figure(points, points, np.empty((0, 3), np.uint8), ("a", "b", "c")).axes[0].collections) == 1


def test_pictures_stand_side_by_side() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    gray = picture[..., 0]
    figure = comparison_figure([("$a_b$ 日本.png", [picture, None]), ("b", [picture, gray])], ("original", "edges"))
    shown = [axes.images[0].get_array() if axes.images else None for axes in figure.axes]
    assert (np.asarray(shown[0]) == picture).all()
    assert shown[1] is None
    assert (np.asarray(shown[3]) == gray).all()
    assert figure.axes[0].get_title(loc="left") == "$a_b$ ··.png"
    drawn(figure)


def test_masks_are_numbered() -> None:
    mask = np.eye(5, dtype=np.uint8) * 255
    figure = masks_figure([("x.png", [(2, mask), (7, 255 - mask)]), ("y.png", [(2, mask)])])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["x.png: 2", "7", "y.png: 2", ""]
    assert (np.asarray(figure.axes[1].images[0].get_array()) == 255 - mask).all()
    drawn(figure)
    drawn(masks_figure([]))
    drawn(comparison_figure([], ("original",)))


def test_a_name_in_a_figure_is_short_and_plain() -> None:
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


def test_the_chosen_line_is_the_first_of_so_many_clusters() -> None:
    assert (chosen_k(KNEE), chosen_k(FEWER)) == (2, 2)
    assert chosen_k({"k": None, "sweep": None}) is None


def words(figure: Figure) -> set[str]:
    """Everything written on a figure."""
    figure.canvas.draw()
    return {text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))}


def test_the_figure_shows_the_curve_and_marks_the_knee_by_shape_line_and_word() -> None:
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
    assert "knee: k = 2" in words(figure)


def test_a_figure_without_a_knee_says_so_and_what_was_chosen() -> None:
    assert {"no knee in this curve", "chosen: k = 3", "largest"} <= words(elbow_figure(NO_KNEE))


@pytest.mark.parametrize(
    "record", [KNEE, NO_KNEE, FEWER, swept(1, None, row(1, 0.0, None)), swept(4, None, row(4, 3.0, 0.1))]
)
def test_every_sweep_has_a_figure(record: dict[str, Any]) -> None:
    png = elbow_png(record)
    assert png == elbow_png(record)  # no times in it
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert min(image.size) > 500


def test_the_figure_of_many_images_counts_which_k_was_chosen() -> None:
    nothing = {"k": None, "knee": None, "sweep": None}
    one_value = swept(1, None, *[row(k, 0.0, None, found=1) for k in (1, 2, 3)])
    figure = elbows_figure([KNEE, KNEE, one_value, nothing])
    _, lower = figure.axes
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in lower.patches}
    assert bars == {2: 2, 1: 1}
    elbows_figure([nothing]).canvas.draw()
