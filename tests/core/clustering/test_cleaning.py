"""Small regions go to their neighbours: as a naive reference on the whole image does it, whatever the windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kseg_core.clustering.cleaning import (
    Cleaning,
    apply_changes,
    clean_labels,
    compare,
    count_differing,
    join_patches,
    patch_of,
)
from kseg_core.clustering.labelling import Labels, invalid_label, label_dtype
from tests import reference
from tests.strategies import QUICK

LINE = np.arange(9.0)[:, None]  # centroids on a line: cluster j is nearest to j - 1 and j + 1


def of(text: str, k: int = 9) -> Labels:
    """Labels as digits in rows; a dot is invalid."""
    rows = [[invalid_label(k) if digit == "." else int(digit) for digit in row] for row in text.split()]
    return np.array(rows, label_dtype(k))


@pytest.mark.parametrize(
    ("before", "least", "after"),
    [
        ("0000 0110 0000", 3, "0000 0000 0000"),  # a hole has one neighbour
        ("0002 0112 0022", 3, "0002 0002 0022"),  # most border: 4 pairs with 0, 2 with 2
        ("0003 0013 0033", 2, "0003 0003 0033"),  # a tie of border: 1 is nearer to 0 than to 3
        ("0002 0012 0022", 2, "0002 0002 0022"),  # a tie of both: the first pixel of 0 comes first
        ("2220 2210 2200", 2, "2220 2220 2200"),
        ("1.00 .000 0000", 3, "1.00 .000 0000"),
        ("8.0 .8. 0.8", 9, "8.0 .8. 0.8"),  # nothing but invalid pixels beside them, and corners
        ("8.8 ... 123", 9, "8.8 ... 222"),  # regions do not cross invalid pixels; nobody is the last one's neighbour
        ("11011 11011 00000", 3, "11011 11011 00000"),
        ("100 011 011", 2, "100 011 011"),  # corners connect: the first 1 is of the region of the others
        ("222200 221100 000022", 3, "222200 222200 000022"),  # the last two are of the first 2s by then, at a corner
        ("0123 0123", 2, "0123 0123"),
        ("0123 0123", 99, "1111 1111"),
        ("77", 9, "77"),
        (".", 9, "."),
    ],
)
def test_small_regions_go_where_they_belong(before: str, least: int, after: str) -> None:
    labels = of(before)
    np.testing.assert_array_equal(reference.cleaned(labels, 255, LINE, least), of(after))
    found, _ = clean_labels(labels, Cleaning(least, LINE))
    np.testing.assert_array_equal(found, of(after))
    np.testing.assert_array_equal(labels, of(before))


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[slice]:
    inside = draw(st.lists(st.integers(1, max(1, length - 1)), unique=True, max_size=3))
    return [slice(a, b) for a, b in pairwise([0, *sorted(at for at in inside if at < length), length])]


@st.composite
def speckled(draw: st.DrawFn) -> tuple[Labels, NDArray[np.float64]]:
    """Labels of few clusters, some of them invalid, and centroids of which several are equally far apart."""
    clusters, k = draw(st.integers(1, 4)), draw(st.sampled_from([4, 300]))
    shape = draw(st.tuples(st.integers(1, 11), st.integers(1, 11)))
    labels = draw(hnp.arrays(label_dtype(k), shape, elements=st.integers(0, clusters - 1)))
    labels[draw(hnp.arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(False)))] = invalid_label(k)
    return labels, draw(hnp.arrays(np.float64, (k, 2), elements=st.integers(0, 2).map(float)))


@QUICK
@given(case=speckled(), least=st.one_of(st.integers(1, 9), st.just(1 << 40)), data=st.data())
def test_any_grid_of_windows_comes_to_what_the_reference_does(
    case: tuple[Labels, NDArray[np.float64]], least: int, data: st.DataObject
) -> None:
    labels, centroids = case
    k, how, shape = len(centroids), Cleaning(least, centroids), labels.shape
    expected = reference.cleaned(labels, invalid_label(k), centroids, least)
    rows, columns = data.draw(cuts(shape[0])), data.draw(cuts(shape[1]))
    windows = [(down, along) for down in rows for along in columns]
    changes, moved = join_patches([patch_of(labels[window], window, shape, how) for window in windows], shape, how)
    found = labels.copy()
    for window, each in zip(windows, changes, strict=True):
        found[window] = apply_changes(labels[window], each)
    np.testing.assert_array_equal(found, expected)
    before, after = (np.bincount(each[each != invalid_label(k)], minlength=k) for each in (labels, expected))
    np.testing.assert_array_equal(moved, after - before)

    again, none = clean_labels(expected, how)  # what is cleaned stays as it is
    np.testing.assert_array_equal(again, expected)
    assert not none.any()
    compared = [compare(labels[window], expected[window], window, shape, how) for window in reversed(windows)]
    assert count_differing(compared, shape, how) == 0
    y, x = (data.draw(st.integers(0, side - 1)) for side in shape)
    expected[y, x] = (int(expected[y, x]) + 1) % k
    compared = [compare(labels[window], expected[window], window, shape, how) for window in windows]
    assert count_differing(compared, shape, how) > 0


@pytest.mark.parametrize("side", [16, 50, 64, 1000])
def test_a_picture_is_cleaned_alike_whatever_is_held_at_a_time(side: int) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (60, 50)).astype(np.uint8)
    labels[20:40, 10:45] = np.where(rng.random((20, 35)) < 0.1, 1, 2)
    labels[rng.random(labels.shape) < 0.05] = 255
    centroids = rng.random((3, 4))
    found, _ = clean_labels(labels, Cleaning(12, centroids), side)
    np.testing.assert_array_equal(found, reference.cleaned(labels, 255, centroids, 12))
