"""Colour spaces against independent definitions of each."""

from __future__ import annotations

import hashlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from kseg_core.clustering.features import SPACES, FeatureSpace, feature_space
from kseg_core.config import FEATURES
from tests import reference
from tests.strategies import COLOR_SPACES, QUICK

CORNERS = [r << 16 | g << 8 | b for r in (0, 1, 254, 255) for g in (0, 1, 254, 255) for b in (0, 1, 254, 255)]
GRAYS = [v << 16 | v << 8 | v for v in range(256)]
RANDOM = np.random.default_rng(0).integers(0, 1 << 24, 4000).tolist()
SAMPLE = np.array(sorted({*CORNERS, *GRAYS, *RANDOM}), np.uint32)
MANY = np.arange(0, 1 << 24, 37, dtype=np.uint32)  # 37 is odd and prime: all values of all channels occur

ALL_SPACES = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def channels(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)


def features(name: str, codes: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Feature units (n, 3)."""
    return SPACES[name].points(codes).T.astype(np.float64) / SPACES[name].grid


def test_rgb_is_the_colour_itself() -> None:
    np.testing.assert_array_equal(features("rgb", MANY), channels(MANY))


def test_gray_is_pillow_s_luma() -> None:
    pillow = np.asarray(Image.fromarray(channels(MANY)[None]).convert("L"))[0]
    points = SPACES["gray"].points(MANY)
    np.testing.assert_array_equal(points[0], pillow)
    assert not points[1:].any()


def test_gray_is_rounded_itu_r_601() -> None:
    found = features("gray", SAMPLE)[:, 0]
    exact = [float(reference.luma(tuple(c))) for c in channels(SAMPLE).tolist()]
    assert np.abs(found - exact).max() <= 0.5 + 255 * 2**-15  # integer weights of 16 bits


def test_hsv_is_hue_as_an_angle() -> None:
    exact = np.array([reference.hsv_vector(tuple(c)) for c in channels(SAMPLE).tolist()])
    assert np.abs(features("hsv", SAMPLE) - exact).max() <= 0.5 / 256 + 1e-9


def test_hsv_of_the_primaries() -> None:
    found = features("hsv", np.array([0xFF0000, 0x00FF00, 0x0000FF, 0x00FFFF, 0xFFFFFF, 0x000000], np.uint32))
    half, root = 127.5, np.rint(255 * 3**0.5 / 2 * 256) / 256
    expected = [[255, 0, 255], [-half, root, 255], [-half, -root, 255], [-255, 0, 255], [0, 0, 255], [0, 0, 0]]
    assert found.tolist() == expected


def test_red_hues_on_both_sides_of_the_wrap_are_neighbours() -> None:
    magenta_side, red, yellow_side = features("hsv", np.array([0xFF0001, 0xFF0000, 0xFF0100], np.uint32))
    assert np.linalg.norm(magenta_side - red) < 1.1
    assert np.linalg.norm(yellow_side - red) < 1.1
    np.testing.assert_array_equal(magenta_side * [1, -1, 1], yellow_side)


def test_lab_is_that_of_the_cie() -> None:
    exact = np.array([reference.lab(tuple(c)) for c in channels(SAMPLE).tolist()])
    assert np.abs(features("lab", SAMPLE) - exact).max() < 0.015  # D65 is standardised twice, four digits alike


def test_lab_is_that_of_opencv() -> None:
    codes = MANY[::4]
    srgb = channels(codes) / 255  # made linear here: OpenCV's own way from sRGB goes through a coarse table
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    opencv = cv2.cvtColor(linear[None].astype(np.float32), cv2.COLOR_LRGB2Lab)[0]
    difference = np.abs(features("lab", codes) - opencv)
    assert np.percentile(difference, 99.9) < 0.01
    assert difference.max() < 0.05  # of a few dark colours, whose cube roots OpenCV approximates


def test_lab_of_black_white_and_grays() -> None:
    found = features("lab", np.array(GRAYS, np.uint32))
    assert found[0].tolist() == [0, 0, 0]
    assert found[255].tolist() == [100, 0, 0]
    assert not found[:, 1:].any()
    assert (np.diff(found[:, 0]) > 0).all()


@ALL_SPACES
def test_points_are_whole_numbers_inside_the_space_s_bounds(space: FeatureSpace) -> None:
    points = space.points(MANY)
    assert points.dtype == np.float32
    assert points.shape == (3, MANY.size)
    np.testing.assert_array_equal(points, np.rint(points))
    for axis in range(3):
        lowest, side = space.lowest[axis], space.cells[axis] * space.cell
        assert lowest <= points[axis].min()
        assert points[axis].max() < lowest + side
    assert not points[space.dimensions :].any()
    assert np.abs(points).max() <= 1 << 16


@ALL_SPACES
def test_zeros_are_positive(space: FeatureSpace) -> None:
    """-0.0 and 0.0 are one value with two bit patterns, and which of them rounding gives is the processor's choice."""
    points = space.points(MANY)
    assert not np.signbit(points[points == 0]).any()
    assert not np.signbit(space.points(np.array(GRAYS, np.uint32))[1:]).any()


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("rgb", "42b472a852c3a81c"),
        ("gray", "03dde313e840553f"),
        ("hsv", "eca50663da946695"),
        ("lab", "e970794e1303c6a9"),
        ("hed", "3092cb073aa7445a"),
    ],
)
def test_the_grid_is_the_same_on_every_machine_and_in_every_release(name: str, digest: str) -> None:
    """Written down once: a hash of the points of 450,000 colours."""
    assert hashlib.sha256(SPACES[name].points(MANY).astype("<f4").tobytes()).hexdigest()[:16] == digest


@settings(max_examples=12, deadline=None)
@given(space=COLOR_SPACES, coarser=st.sampled_from([2, 1, 0, -1, -2, -20]))
def test_cells_are_boxes_of_one_size_and_nothing_lies_outside(space: FeatureSpace, coarser: int) -> None:
    codes = MANY[::16]
    points = space.points(codes)
    ids, total = space.cell_ids(points, coarser)
    assert ids.min() >= 0
    assert ids.max() < total
    side = max(1, int(space.cell * 2.0**coarser))
    at = np.stack([(points[axis].astype(int) - space.lowest[axis]) // side for axis in range(3)])
    distinct_boxes = np.unique(at, axis=1).shape[1]
    assert np.unique(ids).size == distinct_boxes
    assert np.unique(np.vstack([at, ids]), axis=1).shape[1] == distinct_boxes


@QUICK
@given(space=COLOR_SPACES, data=st.data())
def test_feature_units_and_grid_units_are_exact_inverses(space: FeatureSpace, data: Any) -> None:
    numbers = st.builds(lambda total, n: total / n, st.integers(-(1 << 62), 1 << 62), st.integers(1, 1 << 46))
    points = data.draw(hnp.arrays(np.float64, (4, 3), elements=numbers))
    points[:, space.dimensions :] = 0
    there = space.to_features(points)
    assert there.shape == (4, space.dimensions)
    assert there.flags.c_contiguous
    np.testing.assert_array_equal(space.to_points(there), points)
    np.testing.assert_array_equal(there * space.grid, points[:, : space.dimensions])


def test_every_name_of_the_settings_but_auto_and_bands_is_a_space_and_no_other_is() -> None:
    assert (
        "auto",
        *SPACES,
        "bands",
    ) == FEATURES  # auto is decided before; the spaces of bands are made from data: `kseg_core.clustering.bands`
    assert [space.dimensions for space in SPACES.values()] == [3, 1, 3, 3, 3]
    for name in SPACES:
        assert feature_space(name).name == name
    with pytest.raises(ValueError, match=r"features are one of rgb, gray, hsv, lab, hed; got 'bands'"):
        feature_space("bands")
    with pytest.raises(ValueError, match=r"features are one of rgb, gray, hsv, lab, hed; got 'cmyk'"):
        feature_space("cmyk")
