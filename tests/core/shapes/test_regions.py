"""Region statistics, whole across windows, against SciPy; and how large a pixel is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from kseg_core.images.pixel_size import metres_of_unit
from kseg_core.shapes.regions import Regions, join_regions, regions_of_window
from tests.core.kernels.test_kernels_components import label_images
from tests.strategies import QUICK

Array = NDArray[Any]
K = 4


def expected(labels: Array, k: int) -> list[list[int]]:
    """Pixels, regions and largest region of each cluster, by SciPy."""
    rows = []
    for j in range(k):
        found, count = ndimage.label(labels == j, np.ones((3, 3)))
        sizes = np.bincount(found.reshape(-1))[1:]
        rows.append([int(sizes.sum()), count, int(sizes.max(initial=0))])
    return rows


def rows_of(regions: Regions) -> list[list[int]]:
    return np.stack([regions.pixels, regions.count, regions.largest], axis=1).tolist()


def in_windows(labels: Array, rows: list[int], columns: list[int], k: int) -> Regions:
    parts = [
        regions_of_window(np.ascontiguousarray(labels[a:b, c:d]), k)
        for a, b in pairwise(rows)
        for c, d in pairwise(columns)
    ]
    return join_regions(parts, len(columns) - 1)


def test_by_hand() -> None:
    labels = np.array([[0, 1, 0], [1, 0, 255], [1, 1, 2]], np.uint8)
    assert rows_of(in_windows(labels, [0, 3], [0, 3], 4)) == [[3, 1, 3], [4, 1, 4], [1, 1, 1], [0, 0, 0]]


@QUICK
@given(data=st.data())
def test_regions_are_those_of_scipy_whatever_the_windows(data: Any) -> None:
    labels = data.draw(label_images())
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=4))}) for size in labels.shape]
    assert rows_of(in_windows(labels, cuts[0], cuts[1], K)) == expected(labels, K)


def test_many_clusters_and_16_bit_labels() -> None:
    rng = np.random.default_rng(0)
    labels = ndimage.zoom(rng.integers(0, 300, (12, 15)), 8, order=0).astype(np.uint16)
    labels[rng.random(labels.shape) < 0.05] = 65535
    assert rows_of(in_windows(labels, [0, 40, 96], [0, 17, 64, 120], 300)) == expected(labels, 300)


def test_an_image_without_clusters_has_no_regions() -> None:
    regions = in_windows(np.full((5, 6), 255, np.uint8), [0, 5], [0, 6], 0)
    assert rows_of(regions) == []


@pytest.mark.parametrize(("code", "metres"), [(32633, 1.0), (2263, 0.3048006096), (4326, None), (3857, 1.0)])
def test_the_unit_of_a_coordinate_system(code: int, metres: float | None) -> None:
    pyproj = pytest.importorskip("pyproj")
    found = metres_of_unit(pyproj.CRS(f"EPSG:{code}").to_wkt())
    assert found == (None if metres is None else pytest.approx(metres))
    assert metres_of_unit("") is None
