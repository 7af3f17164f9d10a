"""Figures show what they are given."""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from kseg_core.figures.contrast import luminance, text_on
from kseg_core.figures.drawing import caption, to_png
from kseg_core.figures.history import history_figure
from kseg_core.figures.palette import palette_figure
from kseg_core.figures.pictures import comparison_figure, masks_figure
from kseg_core.figures.scatter import scatter_figure


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


def test_the_history_has_a_line_for_every_attempt() -> None:
    batch, steps = [[9.0, 5.0, 4.0], [8.0]], [[], [100.0, 99.0]]
    figure = history_figure(batch, steps)
    first, second = figure.axes
    assert [list(line.get_ydata()) for line in first.lines] == batch
    assert [list(line.get_ydata()) for line in second.lines] == [[100.0, 99.0]]
    assert [list(line.get_xdata()) for line in second.lines] == [[0, 1]]
    assert [text.get_text() for text in second.texts] == ["1"]
    drawn(figure)


def test_no_steps_are_said_to_be_none() -> None:
    figure = history_figure([[1.0]], [[]])
    assert [text.get_text() for text in figure.axes[1].texts] == ["no steps"]
    drawn(figure)


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


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (119, 119, 119), (255, 0, 0), (0, 0, 255), (57, 49, 37)])
def test_text_on_a_colour_can_be_read(color: tuple[int, int, int]) -> None:
    light = luminance(color)
    ink = 0.0 if text_on(color) == "#000000" else 1.0
    assert (max(light, ink) + 0.05) / (min(light, ink) + 0.05) >= 4.5
