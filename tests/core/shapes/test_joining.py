"""Components labelled window by window and joined are those of the whole image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from kseg_core.joining import Borders, Joined, columns_of_grid, join_components

EIGHT = np.ones((3, 3), dtype=int)


def label_classes(image: np.ndarray) -> tuple[np.ndarray, int]:
    """SciPy's components of every class by itself; background (class 0) is 0."""
    found, count = np.zeros(image.shape, np.int32), 0
    for value in np.unique(image[image > 0]):
        part, n = ndimage.label(image == value, EIGHT)
        found[part > 0] = part[part > 0] + count
        count += n
    return found, count


def join_image(image: np.ndarray, rows: list[int], columns: list[int], *, classes: bool) -> tuple[np.ndarray, Joined]:
    """Label windows cut at the given places, join them, and put the image together again."""
    ys, xs = [0, *rows, image.shape[0]], [0, *columns, image.shape[1]]
    places = [(slice(y, y2), slice(x, x2)) for y, y2 in pairwise(ys) for x, x2 in pairwise(xs)]
    parts = [label_classes(image[place]) for place in places]
    borders = [
        Borders.of(part, count, image[place] if classes else None)
        for (part, count), place in zip(parts, places, strict=True)
    ]
    joined = join_components(borders, columns_of_grid([(y.start, x.start) for y, x in places]))
    whole = np.full(image.shape, -2, np.int64)
    for (part, _), place, numbers in zip(parts, places, joined.windows, strict=True):
        whole[place] = numbers.table()[part]
        np.testing.assert_array_equal(numbers.of(part), whole[place])
    return whole, joined


def first_met(whole: np.ndarray) -> np.ndarray:
    """Renumbered by first pixel in scan order."""
    values, index = np.unique(whole[whole >= 0], return_index=True)
    order = np.full(int(whole.max(initial=-1)) + 2, -1)
    order[values[np.argsort(index)]] = np.arange(values.size)
    return np.where(whole >= 0, order[whole], -1)


@st.composite
def tilings(draw: st.DrawFn, most: int = 24) -> tuple[tuple[int, int], list[int], list[int]]:
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    cuts = [sorted(draw(st.sets(st.integers(1, size - 1), max_size=6))) if size > 1 else [] for size in (height, width)]
    return (height, width), cuts[0], cuts[1]


@settings(max_examples=100, deadline=None)
@given(tilings(), st.integers(0, 2**32 - 1), st.floats(0.1, 0.8), st.integers(1, 4))
def test_any_tiling_of_any_image_has_the_components_of_the_whole(
    tiling: tuple[tuple[int, int], list[int], list[int]], seed: int, filled: float, classes: int
) -> None:
    shape, rows, columns = tiling
    rng = np.random.default_rng(seed)
    image = rng.integers(1, classes + 1, shape) * (rng.random(shape) < filled)
    whole, joined = join_image(image, rows, columns, classes=classes > 1)
    expected, count = label_classes(image)
    assert joined.count == count
    np.testing.assert_array_equal(first_met(whole), first_met(expected.astype(np.int64) - 1))


@pytest.mark.parametrize(
    ("image", "rows", "columns", "classes", "expected"),
    [
        ([[1, 0], [0, 1]], [1], [1], False, [[0, -1], [-1, 0]]),  # where four windows meet a diagonal joins
        ([[0, 1], [1, 0]], [1], [1], False, [[-1, 0], [0, -1]]),
        ([[1, 2, 2, 1]], [], [1, 3], True, [[0, 1, 1, 2]]),  # classes that touch stay apart
        (  # numbered by the window they are met in first
            [[1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]],
            [2, 4],
            [2],
            False,
            [[0, -1, -1, 1], [0, -1, -1, -1], [0, 0, 0, 0], [-1, -1, -1, -1], [-1, 2, -1, 3]],
        ),
        ([[1, 0, 1], [1, 1, 1]], [1], [], False, [[0, -1, 0], [0, 0, 0]]),  # two of one window, joined elsewhere
        ([[0] * 4] * 3, [1], [2], False, [[-1] * 4] * 3),
    ],
)
def test_by_hand(image: list[list[int]], rows: list[int], columns: list[int], classes: bool, expected: object) -> None:
    whole, joined = join_image(np.array(image), rows, columns, classes=classes)
    assert whole.tolist() == expected
    assert joined.count == whole.max() + 1


def test_windows_that_do_not_fit_together_are_refused() -> None:
    window = Borders.of(np.zeros((2, 3), np.int32), 0)
    taller = Borders.of(np.zeros((4, 3), np.int32), 0)
    classed = Borders.of(np.zeros((2, 3), np.int32), 0, np.zeros((2, 3), np.uint8))
    for windows, columns in (([window] * 3, 2), ([], 1), ([window, taller], 2), ([window, classed], 1)):
        with pytest.raises(ValueError, match="window"):
            join_components(windows, columns)
    with pytest.raises(ValueError, match="grid"):
        columns_of_grid([(0, 0), (0, 5), (5, 0)])
