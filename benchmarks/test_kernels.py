"""Each kernel alone, on one core: python -m pytest benchmarks/test_kernels.py -n 0 (needs the extra ``bench``).

Not collected by the normal test run. Add ``--benchmark-json FILE`` to keep the figures, and read them against
docs/performance.md: the column "Mpx/s" of what is printed at the end is how many million pixels (or points, or rows)
a second the median run makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core.clustering.band_values import NO_LABELS, BandPixels, assign_and_sum, unit_bits
from kseg_core.kernels import assign, dense, histogram, lookup, sampling, search
from kseg_core.kernels.second import rate, silhouette_of_values
from kseg_core.kernels.values import count_rows

PIXELS = 1 << 22
EVERYWHERE = np.empty(0, np.bool_)
NO_WEIGHTS = np.empty(0, np.int64)


def measure(benchmark: Any, pixels: int, kernel: Callable[..., Any], *arguments: Any) -> None:
    """Time a kernel that is compiled already."""
    kernel(*arguments)
    benchmark.pedantic(kernel, arguments, rounds=7, iterations=1)
    benchmark.extra_info["Mpx/s"] = round(pixels / benchmark.stats.stats.median / 1e6)


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    """A smooth picture with noise, (n, 3): as many distinct colours as a photograph, neighbours alike."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0 : PIXELS >> 11, 0:2048]
    waves = np.stack([np.sin(x / 301 + y / 207), np.cos(x / 180 - y / 333), np.sin((x + 2 * y) / 517)], axis=-1)
    return np.clip(128 + 90 * waves + random.normal(0, 4, waves.shape), 0, 255).astype(np.uint8).reshape(-1, 3)


@pytest.fixture(scope="module")
def values() -> NDArray[np.uint16]:
    """Four bands of twelve bits, (n, 4)."""
    return np.random.default_rng(0).integers(0, 4096, (PIXELS, 4)).astype(np.uint16)


def centroids(k: int, dimensions: int, top: float) -> NDArray[np.float64]:
    return np.random.default_rng(k).random((k, dimensions)) * top


def affine(dimensions: int) -> NDArray[np.float64]:
    return np.stack([np.zeros(dimensions), np.ones(dimensions)])


def test_count_colors(benchmark: Any, rgb: NDArray[np.uint8]) -> None:
    counts, touched = np.zeros(histogram.CODES, np.uint32), np.zeros(histogram.BLOCKS, np.bool_)
    measure(benchmark, PIXELS, histogram.count_colors, rgb, EVERYWHERE, counts, touched)


@pytest.mark.parametrize("k", [5, 16, 254])
def test_label_colors(benchmark: Any, rgb: NDArray[np.uint8], k: int) -> None:
    table = np.full(histogram.CODES, 255, np.uint8)
    labels = np.empty(PIXELS, np.uint8)
    measure(
        benchmark, PIXELS, lookup.label_and_sum, rgb, rgb.reshape(-1), EVERYWHERE, centroids(k, 3, 255), table, labels
    )


@pytest.mark.parametrize("k", [5, 16])
def test_step_over_colors(benchmark: Any, k: int) -> None:
    points = np.random.default_rng(0).integers(0, 256, (3, 1 << 20)).astype(np.float32)
    cells = (points[0].astype(np.int64) // 8 * 32 + points[1].astype(np.int64) // 8) * 32 + points[2].astype(
        np.int64
    ) // 8
    order, starts = assign.order_by_cell(cells, 32**3)
    ordered, weights = np.ascontiguousarray(points[:, order]), np.ones(points.shape[1], np.int64)
    boxes = assign.summarise_cells(ordered, weights, starts)
    measure(benchmark, points.shape[1], assign.sum_by_cells, ordered, weights, starts, *boxes, centroids(k, 3, 255))


@pytest.mark.parametrize("k", [5, 16])
def test_search(benchmark: Any, k: int) -> None:
    points = np.sort(np.random.default_rng(0).random((3, 10_000)) * 255)
    weights = np.ones(points.shape[1])
    measure(benchmark, points.shape[1], search.swap_search, points, weights, centroids(k, 3, 255), 64, 10**6, 0)


@pytest.mark.parametrize("k", [8, 16])
def test_assign_and_sum_bands(benchmark: Any, values: NDArray[np.uint16], k: int) -> None:
    arguments = (values, NO_WEIGHTS, EVERYWHERE, affine(4), centroids(k, 4, 4096), NO_LABELS)
    measure(benchmark, PIXELS, dense.assign_and_sum, *arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [8, 16])
def test_assign_and_sum_bands_of_floats(benchmark: Any, values: NDArray[np.uint16], k: int, dtype: str) -> None:
    reflectances = (values / 10_000).astype(dtype)
    arguments = (affine(4), centroids(k, 4, 0.4096), unit_bits(dtype))
    measure(benchmark, PIXELS, assign_and_sum, BandPixels(reflectances), *arguments)


def test_label_bands(benchmark: Any, values: NDArray[np.uint16]) -> None:
    labels = np.empty(PIXELS, np.uint8)
    arguments = (values, NO_WEIGHTS, EVERYWHERE, affine(4), centroids(8, 4, 4096), labels)
    measure(benchmark, PIXELS, dense.assign_and_sum, *arguments)


def test_moments_of_bands(benchmark: Any, values: NDArray[np.uint16]) -> None:
    counts = np.zeros((4, 1 << 16), np.int64)
    measure(benchmark, PIXELS, dense.band_moments, values, EVERYWHERE, 0, counts)


def test_distinct_rows(benchmark: Any, values: NDArray[np.uint16]) -> None:
    few = values & 3

    def count() -> int:
        slots, rows = np.full(1 << 10, -1, np.int64), np.empty((1 << 9, 4), np.uint16)
        return int(count_rows(few, EVERYWHERE, slots, rows, np.zeros(1 << 9, np.int64)))

    measure(benchmark, PIXELS, count)


def test_silhouettes_of_bands(benchmark: Any, values: NDArray[np.uint16]) -> None:
    measure(benchmark, PIXELS, silhouette_of_values, values, NO_WEIGHTS, EVERYWHERE, affine(4), centroids(8, 4, 4096))


def test_confidence(benchmark: Any) -> None:
    points = np.random.default_rng(0).integers(0, 256, (3, 1 << 20)).astype(np.float32)
    measure(benchmark, points.shape[1], rate, points, centroids(8, 3, 255))


def test_picked_pixels(benchmark: Any) -> None:
    measure(benchmark, PIXELS, sampling.picked_pixels, PIXELS >> 11, 2048, 0, 0, 3, 0)
