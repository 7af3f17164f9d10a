"""Edges are those of OpenCV's Canny, whole and in windows of any size."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kseg_core.errors import UsageError
from kseg_core.layers import canny as edges
from kseg_core.layers.canny import EdgeSettings, Maxima, decide_across, decide_within, find_edges, find_maxima, promoted

Array = NDArray[Any]


def opencv(rgb: Array, how: EdgeSettings) -> Array:
    """What OpenCV finds, blurring and gray by Pillow included."""
    picture = np.asarray(Image.fromarray(rgb).convert("L")) if how.on == "gray" else rgb
    if how.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), how.blur)
    return cv2.Canny(picture, how.low, how.high, apertureSize=how.aperture, L2gradient=how.l2) > 0


def hills(shape: tuple[int, int], seed: int) -> Array:
    """Soft noise of a few scales: long weak edges with strong stretches, which is what hysteresis is about."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((*shape, 3))
    for scale, height in ((2, 25), (5, 60), (11, 120)):
        noise = rng.normal(0, 1, (shape[0] // scale + 2, shape[1] // scale + 2, 3))
        soft = cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC).reshape(*shape, 3)
        picture += height * soft
    return (picture + 128).clip(0, 255).astype(np.uint8)


def in_windows(rgb: Array, valid: Array | None, how: EdgeSettings, rows: list[int], columns: list[int]) -> Array:
    """The edges found in windows cut at the given places, as a job finds them."""
    height, width = rgb.shape[:2]
    found, places = [], []
    for top, bottom in pairwise([0, *rows, height]):
        for left, right in pairwise([0, *columns, width]):
            y, x = max(0, top - how.halo), max(0, left - how.halo)
            around = (slice(y, bottom + how.halo), slice(x, right + how.halo))
            maxima = find_maxima(rgb[around], None if valid is None else valid[around], how)
            inner = (slice(top - y, bottom - y), slice(left - x, right - x))
            found.append(decide_within(Maxima(maxima.weak[inner].copy(), maxima.strong[inner].copy())))
            places.append((slice(top, bottom), slice(left, right)))
    whole = np.zeros((height, width), bool)
    seeds = decide_across([part.border for part in found], len(columns) + 1)
    for part, place, chosen in zip(found, places, seeds, strict=True):
        more = promoted(part.pending, chosen)
        assert not (more & part.edges).any()
        assert part.border.edge_pixels == np.count_nonzero(part.edges)
        whole[place] = part.edges | more
    return whole


@st.composite
def settings_of_edges(draw: st.DrawFn) -> EdgeSettings:
    aperture = draw(st.sampled_from([3, 5, 7]))
    low, high = draw(st.integers(5, 150)), draw(st.integers(5, 400))
    scale = {3: 1.0, 5: 12.0, 7: 150.0}[aperture]
    blur = draw(st.sampled_from([0.0, 0.0, 0.05, 0.3, 0.8, 1.4, 3.0]))
    return EdgeSettings(
        low * scale + draw(st.sampled_from([0, 0.5])),
        high * scale,
        aperture,
        draw(st.booleans()),
        blur,
        draw(st.sampled_from(["color", "gray"])),
    )


@st.composite
def cuts(draw: st.DrawFn, size: int) -> list[int]:
    return sorted(draw(st.sets(st.integers(1, size - 1), max_size=5))) if size > 1 else []


@settings(max_examples=250, deadline=None)
@given(st.data(), st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), settings_of_edges())
def test_any_windows_of_any_picture_have_the_edges_opencv_finds_in_the_whole(
    data: st.DataObject, height: int, width: int, seed: int, how: EdgeSettings
) -> None:
    rgb = hills((height, width), seed)
    expected = opencv(rgb, how)
    np.testing.assert_array_equal(find_edges(rgb, None, how), expected)
    rows, columns = data.draw(cuts(height)), data.draw(cuts(width))
    np.testing.assert_array_equal(in_windows(rgb, None, how, rows, columns), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2000), settings_of_edges(), st.booleans())
def test_large_pictures_looked_at_in_strips_have_the_same_edges(
    seed: int, strip: int, how: EdgeSettings, all_valid: bool
) -> None:
    rgb = hills((70, 60), seed)
    valid = None if all_valid else np.random.default_rng(seed).random((70, 60)) < 0.999
    expected = find_edges(rgb, valid, how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edges, "WHOLE_EDGES_PX", 0)
        patch.setattr(edges, "STRIP_PX", strip)
        np.testing.assert_array_equal(find_edges(rgb, valid, how), expected)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), settings_of_edges())
def test_what_is_stored_in_invalid_pixels_decides_nothing(data: st.DataObject, seed: int, how: EdgeSettings) -> None:
    rng = np.random.default_rng(seed)
    rgb = hills((80, 70), seed)
    valid = np.ones((80, 70), bool)
    valid[:, :9] = False
    valid[30:34, 40:60] = False
    other = np.where(valid[..., None], rgb, rng.integers(0, 256, rgb.shape, dtype=np.uint8))
    found = find_edges(rgb, valid, how)
    assert not found[~valid].any()
    np.testing.assert_array_equal(find_edges(other, valid, how), found)
    rows, columns = data.draw(cuts(80)), data.draw(cuts(70))
    np.testing.assert_array_equal(in_windows(other, valid, how, rows, columns), found)


def test_a_mask_that_is_true_everywhere_changes_nothing() -> None:
    rgb, how = hills((120, 130), 1), EdgeSettings(60, 120)
    found = find_edges(rgb, np.ones((120, 130), bool), how)
    assert found.any()
    np.testing.assert_array_equal(found, opencv(rgb, how))


def test_a_step_has_one_edge_along_it_where_all_is_valid() -> None:
    rgb = np.zeros((7, 12, 3), np.uint8)
    rgb[:, 6:] = 100
    found = find_edges(rgb, None, EdgeSettings(100, 200))
    assert found.sum() == 7
    assert found[:, 5].all()
    valid = np.ones((7, 12), bool)
    valid[0, 5] = False
    expected = found.copy()
    expected[:3] = False  # two pixels around the invalid one: Sobel's reach, and the neighbour compared with
    np.testing.assert_array_equal(find_edges(rgb, valid, EdgeSettings(100, 200)), expected)


def test_a_weak_line_through_many_windows_is_an_edge_from_end_to_end_by_one_strong_place() -> None:
    rgb = np.zeros((20, 200, 3), np.uint8)
    rgb[10:] = 30  # gradient 120
    rgb[10:, 190:] = 80
    how = EdgeSettings(100, 200)
    expected = opencv(rgb, how)
    assert expected[9:11, :180].any(axis=0).all()
    np.testing.assert_array_equal(in_windows(rgb, None, how, [10], list(range(7, 200, 7))), expected)
    flat = np.where(rgb == 80, 30, rgb).astype(np.uint8)
    assert not in_windows(flat, None, how, [10], list(range(7, 200, 7))).any()


def test_thresholds_the_other_way_round_are_exchanged_as_opencv_does() -> None:
    rgb = hills((100, 100), 3)
    how = EdgeSettings(200, 90)
    assert how == EdgeSettings(90, 200)
    np.testing.assert_array_equal(find_edges(rgb, None, how), cv2.Canny(rgb, 200, 90) > 0)


@pytest.mark.parametrize("l2", [False, True])
def test_fractions_of_thresholds_count_as_in_opencv(l2: bool) -> None:
    rgb = hills((150, 150), 4)
    for low, high in ((99.5, 180.9), (100, 100), (0, 0.5), (40_000, 1_000_000)):
        expected = cv2.Canny(rgb, low, high, L2gradient=l2) > 0
        np.testing.assert_array_equal(find_edges(rgb, None, EdgeSettings(low, high, l2=l2)), expected)
        np.testing.assert_array_equal(in_windows(rgb, None, EdgeSettings(low, high, l2=l2), [70], [33, 90]), expected)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"low": -1}, "--low"),
        ({"high": 1_000_001}, "--high"),
        ({"high": float("nan")}, "--high"),
        ({"low": True}, "--low"),
        ({"low": "5"}, "--low"),
        ({"aperture": 4}, "--aperture"),
        ({"aperture": 3.0}, "--aperture"),
        ({"blur": -0.1}, "--blur"),
        ({"blur": 51}, "--blur"),
        ({"on": "grey"}, "--on"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        EdgeSettings(**wrong)


def test_equal_settings_are_equal_however_they_are_written() -> None:
    assert EdgeSettings(100, 200, blur=1).to_json() == EdgeSettings(200.0, 100.0, blur=1.0).to_json()
