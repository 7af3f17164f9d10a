"""A palette that images share: the same from any windows in any order, and the same again from a document."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core.segments.features import Converter
from kseg_core.segments.palette import SHIFT, sampling_step
from kseg_core.segments.shared import EVERYWHERE, BandSample, BoxCounts, SharedPalette
from kseg_core.segments.whole import contours_of
from tests.conftest import smooth_picture

Array = NDArray[Any]
STEP = 3


def windows(samples: Array, rows: int, columns: int) -> list[tuple[slice, slice]]:
    height, width = samples.shape[:2]
    return [
        (slice(top, top + rows), slice(left, left + columns))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]


def told(samples: Array, valid: Array, window: tuple[slice, slice]) -> BoxCounts | BandSample:
    rows, columns = window
    if samples.dtype == np.uint8:
        return BoxCounts.of(samples[window], valid[window])
    return BandSample.of(samples[window], valid[window], (rows.start, columns.start), STEP)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_it_is_the_same_from_any_windows_in_any_order(dtype: str) -> None:
    pictures = [(smooth_picture(61, 53, seed).astype(np.uint16) // 16 * 16).astype(dtype) for seed in (1, 2)]
    valid = np.ones((61, 53), np.bool_)
    valid[:20, :11] = False
    found = []
    for number, (rows, columns) in enumerate(((61, 53), (16, 16), (7, 53), (61, 10))):
        parts = [told(each, valid, window) for each in pictures for window in windows(each, rows, columns)]
        order = np.random.default_rng(number).permutation(len(parts))
        merged: Any = reduce(lambda a, b: a.merge(b), [parts[at] for at in order])
        found.append(merged.palette())
    assert len(found[0].centres) == 64
    for other in found[1:]:
        assert json.dumps(other.to_json()) == json.dumps(found[0].to_json())


def test_every_pixel_is_counted_in_the_box_of_its_colour() -> None:
    samples = smooth_picture(40, 30, 4)
    found = BoxCounts.of(samples, None)
    lab = Converter()(samples).reshape(3, -1).astype(np.int64)
    at = (lab - EVERYWHERE.low[:, None]) >> SHIFT
    boxes, inverse = np.unique((at[0] * 94 + at[1]) * 102 + at[2], return_inverse=True)
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_array_equal(found.counts, np.bincount(inverse))
    np.testing.assert_array_equal(found.sums, np.stack([np.bincount(inverse, plane) for plane in lab], axis=1))


def test_no_colour_of_srgb_is_outside_of_the_boxes() -> None:
    axis = np.arange(0, 256, 3, np.uint8)
    every = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(1, -1, 3)
    at = (Converter()(every)[:, 0].astype(int) - EVERYWHERE.low[:, None]) >> SHIFT
    assert (at.min(1) >= 0).all()
    assert (at.max(1) < EVERYWHERE.size).all()


def test_of_one_image_of_bands_it_is_the_images_own() -> None:
    samples = smooth_picture(90, 70, 5).astype(np.uint16) * 31
    step = sampling_step(90 * 70, 1 << 16)
    ways = BandSample.of(samples, None, (0, 0), step).palette().ways()
    own = contours_of(samples, None, of_bands=True)
    np.testing.assert_array_equal(contours_of(samples, None, of_bands=True, ways=ways), own)
    assert len(np.unique(own)) > 10


def test_colours_have_the_label_of_the_centre_nearest_to_the_middle_of_their_box() -> None:
    samples = smooth_picture(40, 30, 4)
    palette = BoxCounts.of(samples, None).palette()
    convert, lookup = palette.ways()
    lab = convert(samples)
    low = EVERYWHERE.low[:, None, None]
    middles = ((lab - low >> SHIFT) << SHIFT) + low + (1 << SHIFT - 1)
    away = ((middles[None] - palette.centres[..., None, None]) ** 2).sum(1)
    np.testing.assert_array_equal(lookup.label(lab), away.argmin(0))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_document_loses_nothing_of_it(dtype: str) -> None:
    samples = (smooth_picture(40, 30, 4) / (3 if dtype == "float32" else 1)).astype(dtype)
    palette = told(samples, np.ones((40, 30), np.bool_), (slice(0, 40), slice(0, 30))).palette()
    again = SharedPalette.from_json(json.loads(json.dumps(palette.to_json())))
    np.testing.assert_array_equal(again.centres, palette.centres)
    assert again.bands == palette.bands == (3 if dtype == "float32" else 0)
    if palette.scale is not None and again.scale is not None:
        np.testing.assert_array_equal(again.scale.low, palette.scale.low)
        np.testing.assert_array_equal(again.scale.scale, palette.scale.scale)


@pytest.mark.parametrize(
    "wrong",
    [
        {"centres": [], "bands": None},
        {"centres": [[1, 2]], "bands": None},
        {"centres": [[1, 2], [3]], "bands": None},
        {"centres": [[1, 2, 3]] * 65, "bands": None},
        {"centres": [[1, 2]], "bands": {"low": [0.0], "scale": [1.0]}},
        {"centres": [[1]], "bands": {"low": [0.0], "scale": [1.0, 2.0]}},
    ],
)
def test_what_is_no_palette_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected centres|inhomogeneous"):
        SharedPalette.from_json(wrong)


def test_images_without_a_valid_pixel_have_one_of_one_colour() -> None:
    none = np.zeros((4, 5), np.bool_)
    assert BoxCounts.of(np.zeros((4, 5, 3), np.uint8), none).palette().centres.tolist() == [[0, 0, 0]]
    bands = BandSample.of(np.zeros((4, 5, 2), np.uint16), none, (0, 0), 1).palette()
    assert (bands.centres.tolist(), bands.bands) == ([[0, 0]], 2)
