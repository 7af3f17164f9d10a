"""The same things as the program computes, done naively: slow, short, and right at a glance.

Nothing here imports `kseg_core`. Exact results are Python integers and fractions.
"""

from __future__ import annotations

import colorsys
import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]
Color = tuple[int, int, int]


# ------------------------------------------------------------------------------------------ colours


def color_codes(rgb: Array) -> NDArray[np.uint32]:
    """Colours (..., 3) as flat ``0xRRGGBB`` numbers."""
    r, g, b = np.asarray(rgb).reshape(-1, 3).astype(np.uint32).T
    return r * 65536 + g * 256 + b


def color_counts(rgb: Array, valid: Array | None = None) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Distinct colour codes, rising, and how many valid pixels have each."""
    codes = color_codes(rgb)
    if valid is not None:
        codes = codes[np.asarray(valid).reshape(-1)]
    found, counts = np.unique(codes, return_counts=True)
    return found.astype(np.uint32), counts.astype(np.int64)


def luma(color: Color) -> Fraction:
    """ITU-R BT.601 luma, unrounded."""
    r, g, b = color
    return Fraction(299 * r + 587 * g + 114 * b, 1000)


def hsv_vector(color: Color) -> tuple[float, float, float]:
    """(S cos H, S sin H, V) x 255, by the standard library's HSV."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(v / 255 for v in color))
    angle = 2 * math.pi * hue
    return 255 * saturation * math.cos(angle), 255 * saturation * math.sin(angle), 255 * value


def _srgb_to_xyz() -> tuple[Array, Array]:
    """The matrix to CIE XYZ and its white, from the chromaticities IEC 61966-2-1 defines sRGB by."""

    def xyz(x: float, y: float) -> list[float]:
        return [x / y, 1.0, (1 - x - y) / y]

    white = np.array(xyz(0.3127, 0.3290))
    primaries = np.array([xyz(0.64, 0.33), xyz(0.30, 0.60), xyz(0.15, 0.06)]).T
    return primaries * np.linalg.solve(primaries, white), white


def lab(color: Color) -> tuple[float, float, float]:
    """CIELAB of an sRGB colour: IEC 61966-2-1 and CIE 15, D65 white, 2 degree observer."""

    def linear(v: float) -> float:
        return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4

    def f(t: float) -> float:
        return t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29

    matrix, white = _srgb_to_xyz()
    x, y, z = (f(t) for t in (matrix @ [linear(v / 255) for v in color] / white).tolist())
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


# ----------------------------------------------------------------------------------------- K-means


def nearest(points: Array, centroids: Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Label and squared distance of points (3, n): float64, summed in component order, lowest index in a tie."""
    x, y, z = np.asarray(points, np.float64)
    a, b, c = np.asarray(centroids, np.float64).T[..., None]
    squared = (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2
    return squared.argmin(axis=0), squared.min(axis=0)


def cluster_sums(points: Array, weights: Array, labels: Array, k: int) -> tuple[list[int], list[list[int]]]:
    """Weight of each cluster, and weighted sum of its points, as Python integers of any size."""
    counts = [0] * k
    sums = [[0, 0, 0] for _ in range(k)]
    for point, w, j in zip(np.asarray(points).T.tolist(), np.asarray(weights).tolist(), labels.tolist(), strict=True):
        counts[j] += w
        for axis in range(3):
            sums[j][axis] += w * int(point[axis])
    return counts, sums


def squares(points: Array, weights: Array) -> int:
    """Weighted sum of squared lengths, a Python integer of any size."""
    columns = np.asarray(points).T.tolist()
    return sum(w * sum(int(v) ** 2 for v in p) for p, w in zip(columns, np.asarray(weights).tolist(), strict=True))


def inertia(points: Array, weights: Array, centroids: Array) -> Fraction:
    """Exact sum of squared distances of points (3, n) to the centroids their labels name."""
    labels, _ = nearest(points, centroids)
    rows = [[Fraction(c) for c in row] for row in np.asarray(centroids).tolist()]
    total = Fraction(0)
    for point, w, j in zip(np.asarray(points).T.tolist(), np.asarray(weights).tolist(), labels.tolist(), strict=True):
        total += w * sum((Fraction(x) - c) ** 2 for x, c in zip(point, rows[j], strict=True))
    return total


def means(points: Array, weights: Array, centroids: Array) -> list[list[Fraction] | None]:
    """One Lloyd step: the exact mean of each cluster, None where it has no point."""
    labels, _ = nearest(points, centroids)
    counts, sums = cluster_sums(points, weights, labels, len(centroids))
    return [[Fraction(s, n) for s in row] if n else None for n, row in zip(counts, sums, strict=True)]


# ---------------------------------------------------------------------------------------- sampling

_WORD = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """The number that SplitMix64 (Steele, Lea & Flood 2014) gives from a state."""
    z = (state + 0x9E3779B97F4A7C15) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)


def is_picked(y: int, x: int, level: int, seed: int) -> bool:
    """Whether a pixel of an image is in the batch that has one pixel of every ``2**level`` square.

    Seen from the pixel: each square around it, from the largest down, must have chosen the quarter it lies in. The
    first two bits of a hash of (seed, place of the square, its level) are that choice: lower half, right half.
    """
    for step in range(level, 0, -1):
        place = (y >> step) << 32 | (x >> step)
        choice = splitmix64(splitmix64(seed) ^ splitmix64(place) ^ step) >> 62
        mine = ((y >> (step - 1)) & 1) << 1 | ((x >> (step - 1)) & 1)
        if choice != mine:
            return False
    return True


def picked(height: int, width: int, level: int, seed: int) -> NDArray[np.bool_]:
    """The batch's pixels of an image, (height, width)."""
    return np.array([[is_picked(y, x, level, seed) for x in range(width)] for y in range(height)], bool)


# --------------------------------------------------------------------------------------- numbering


def canonical_order(colors: Array, centroids: Array) -> list[int]:
    """Dark to light, then R, G, B, then the centroid's components."""
    rows, centers = np.asarray(colors).tolist(), np.asarray(centroids).tolist()
    return sorted(
        range(len(rows)),
        key=lambda j: (299 * rows[j][0] + 587 * rows[j][1] + 114 * rows[j][2], *rows[j], *centers[j]),
    )


def least_matching_cost(centroids: Array, earlier: Array) -> float:
    """The least total squared distance of any pairing, by trying all of them."""
    few, many = sorted([np.asarray(centroids).tolist(), np.asarray(earlier).tolist()], key=len)
    return min(
        sum(math.dist(a, b) ** 2 for a, b in zip(few, chosen, strict=True))
        for chosen in itertools.permutations(many, len(few))
    )


def label_image(rgb: Array, valid: Array | None, centers: dict[Color, int], invalid: int) -> list[list[int]]:
    """Labels of an image pixel by pixel, from each colour's label."""
    return [
        [
            invalid if valid is not None and not valid[y][x] else centers[tuple(pixel)]  # type: ignore[index]
            for x, pixel in enumerate(row)
        ]
        for y, row in enumerate(np.asarray(rgb).tolist())
    ]


def regions(labels: Array, invalid: int) -> NDArray[np.int64]:
    """A number for each pixel, the same for those of one 8-connected region of a label: its first pixel's; -1: none."""
    numbers = np.full(labels.shape, -1, np.int64)
    for cluster in set(labels.flat) - {invalid}:
        parts, _ = scipy.ndimage.label(labels == cluster, np.ones((3, 3)))
        _, first, which = np.unique(parts, return_index=True, return_inverse=True)
        numbers = np.where(parts > 0, first[which].reshape(parts.shape), numbers)
    return numbers


def cleaned(labels: Array, invalid: int, centroids: Array, least: int) -> Array:
    """Regions of fewer than ``least`` pixels, the smallest first, become of the label they share most border with."""
    labels = labels.copy()
    while True:
        numbers = regions(labels, invalid)
        areas = dict(zip(*np.unique(numbers, return_counts=True), strict=True))
        pairs = [*zip(numbers[1:].flat, numbers[:-1].flat, strict=True)]
        pairs += zip(numbers[:, 1:].flat, numbers[:, :-1].flat, strict=True)
        border = Counter(pair for a, b in pairs if a != b and min(a, b) >= 0 for pair in ((a, b), (b, a)))
        small = [(areas[a], a) for a, _ in border if areas[a] < least]
        if not small:
            return labels
        goes = min(small)[1]
        away = {b: math.dist(centroids[labels.flat[goes]], centroids[labels.flat[b]]) for a, b in border if a == goes}
        to = min(away, key=lambda b: (-border[goes, b], away[b], b))
        labels[numbers == goes] = labels.flat[to]


# ------------------------------------------------------------------------------------------ sweeps


def row(k: int, inertia: float, silhouette: float | None, found: int | None = None) -> dict[str, Any]:
    """Of the table of a sweep, of ten pixels."""
    return {
        "k": k,
        "k_found": k if found is None else found,
        "inertia": inertia,
        "mse": inertia / 10,
        "silhouette": silhouette,
        "calinski_harabasz": None if silhouette is None else 12.5,
    }


def swept(k: int, knee: int | None, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"k": k, "knee": knee, "sweep": list(rows), "each": None, **more}


#: Records worked out by hand: with a knee, without one, and with fewer values than clusters.
KNEE = swept(2, 2, row(1, 100.0, None), row(2, 20.0, 0.75), row(3, 15.0, 0.5))
NO_KNEE = swept(3, None, row(2, 30.0, 0.5), row(3, 20.0, 0.625))
FEWER = swept(2, None, row(1, 8.0, None), row(2, 0.0, 1.0), row(3, 0.0, 1.0, found=2))


# ------------------------------------------------------------------------------------------ smoothed pixels


def smoothed(samples: Array, valid: Array | None, scale: int, *, together: bool) -> Array:
    """Whole numbers (y, x, bands), smoothed at a scale of pixels: each becomes, pass by pass, the mean of itself and of
    those of its eight neighbours that are no farther from it than they are on average.

    Neighbours are first at a distance of the scale, then of its halves down to 1, then at 1 again.
    """
    steps = [scale]
    while steps[-1] > 1:
        steps.append((steps[-1] + 1) // 2)
    now = samples.tolist()
    for step in [*steps, 1]:
        now = _smoothed_once(now, valid, step, together=together)
    return np.array(now, samples.dtype)


def _smoothed_once(now: list[Any], valid: Array | None, step: int, *, together: bool) -> list[Any]:
    height, width, bands = len(now), len(now[0]), len(now[0][0])
    made = [[list(pixel) for pixel in row] for row in now]
    groups = [list(range(bands))] if together else [[band] for band in range(bands)]
    around = [(dy, dx) for dy in (-step, 0, step) for dx in (-step, 0, step) if (dy, dx) != (0, 0)]
    for y, x in itertools.product(range(height), range(width)):
        if valid is not None and not valid[y, x]:
            continue
        inside = [(y + dy, x + dx) for dy, dx in around if 0 <= y + dy < height and 0 <= x + dx < width]
        others = [now[row][column] for row, column in inside if valid is None or valid[row, column]]
        for group in groups:
            far = [sum(abs(other[band] - now[y][x][band]) for band in group) for other in others]
            near = [other for other, d in zip(others, far, strict=True) if d * len(far) <= sum(far)]
            for band in group:
                total = now[y][x][band] + sum(other[band] for other in near)
                made[y][x][band] = math.floor(Fraction(total, 1 + len(near)) + Fraction(1, 2))
    return made


# ------------------------------------------------------------------------------------------ segments


def cut(contours: Array, most: int) -> NDArray[np.int32]:
    """int32 (y, x): the 4-connected parts of contours (2, y, x), from 1 in the order of their first pixels.

    A pixel is parted from the next in its row by the first plane, and from the next in its column by the second, where
    these are above ``most``; 255 is no pixel.
    """
    _, height, width = contours.shape
    between = np.zeros((2 * height, 2 * width), np.bool_)  # pixels, and what is between two
    between[::2, ::2] = contours[0] < 255
    between[::2, 1::2] = contours[0] <= most
    between[1::2, ::2] = contours[1] <= most
    between[-1:], between[:, -1:] = False, False
    parts: NDArray[np.int32] = ndimage.label(between)[0][::2, ::2]
    found, first = np.unique(parts[parts > 0], return_index=True)
    numbers = np.zeros(int(parts.max(initial=0)) + 1, np.int32)
    numbers[found[np.argsort(first)]] = np.arange(1, found.size + 1)
    return numbers[parts]
