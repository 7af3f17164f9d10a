"""Small pictures made window by window, the same wherever the windows are cut; and their files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg_core.layers.pyramid import mode_of_blocks
from kseg_core.report import thumbnails
from kseg_core.report.samples import even_positions, quotas
from kseg_core.report.thumbnails import (
    Patch,
    finish_mean,
    gray_file,
    level_for,
    mean_cells,
    mode_cells,
    original_file,
    pixels_of,
    put_together,
    segmented_file,
    shades_of_cells,
)


@pytest.mark.parametrize(
    ("shape", "longest", "level"),
    [((1, 1), 16, 0), ((16, 16), 16, 0), ((16, 17), 16, 1), ((512, 768), 400, 1), ((20_000, 20_000), 400, 6)],
)
def test_the_level_is_the_first_that_is_small_enough(shape: tuple[int, int], longest: int, level: int) -> None:
    assert level_for(shape, longest) == level


def test_a_cell_is_the_mean_of_its_valid_pixels() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    small = mean_cells(rgb, None, 3)
    assert (small.shape, small[..., 3].min()) == ((6, 8, 4), 255)
    assert np.abs(small[..., :3] - rgb.reshape(6, 8, 8, 8, 3).mean(axis=(1, 3))).max() <= 0.5 + 1e-6
    assert (small[..., :3] == cv2.resize(rgb, (8, 6), interpolation=cv2.INTER_AREA)).all()
    one, valid = np.zeros((2, 4, 3), np.uint8), np.zeros((2, 4), bool)
    one[0, 0], valid[0, 0] = (200, 100, 50), True
    assert mean_cells(one, valid, 1).tolist() == [[[200, 100, 50, 64], [0, 0, 0, 0]]]  # a quarter of the cell
    cut_short = mean_cells(np.full((5, 3, 3), 77, np.uint8), None, 2)
    assert (cut_short.shape, np.unique(cut_short[..., :3]).tolist()) == ((2, 1, 4), [77])
    halves = np.array([[[0, 0, 0, 255], [255, 255, 255, 255]]] * 2, np.uint8)
    assert finish_mean(halves, 1).tolist() == [[[128, 128, 128, 255]]]


def test_a_line_through_a_cell_is_seen_whole() -> None:
    marked = np.zeros((16, 16), bool)
    marked[3] = True
    marked[12, 9] = True
    assert shades_of_cells(marked, 3).tolist() == [[255, 255], [0, 32]]  # a pixel of a line is an eighth of it
    assert shades_of_cells(marked, 0).max() == 255
    assert shades_of_cells(np.array([[0, 100], [200, 60]], np.uint8), 1).tolist() == [[90]]  # not marked: its mean


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    level=st.integers(0, 3),
    cells=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 99),
)
def test_any_windows_on_whole_cells_give_the_same_picture(
    height: int, width: int, level: int, cells: tuple[int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = random.integers(0, 3, (height, width)).astype(np.uint8)
    labels[random.random((height, width)) < 0.2] = 255
    side = 1 << level
    means, modes = [], []
    for top in range(0, height, cells[0] * side):
        for left in range(0, width, cells[1] * side):
            window = (slice(top, top + cells[0] * side), slice(left, left + cells[1] * side))
            means.append(Patch(top >> level, left >> level, mean_cells(rgb[window], None, level)))
            modes.append(Patch(top >> level, left >> level, mode_cells(labels[window], 255, level)))
    whole, mode = mean_cells(rgb, None, level), labels
    for _ in range(level):  # as the store halves them
        mode = mode_of_blocks(mode, 255)
    assert (put_together(means, whole.shape[:2], 0) == whole).all()
    assert (put_together(modes, mode.shape, 255) == mode).all()


def test_no_parts_are_no_picture() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        put_together([], (1, 1), 0)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.integers(0, 10**5))
def test_all_is_shared_out_and_nobody_gets_a_whole_one_too_much(sizes: list[int], total: int) -> None:
    shared = quotas(sizes, total)
    assert sum(shared) == (total if sum(sizes) else 0)
    for size, part in zip(sizes, shared, strict=True):
        assert abs(part - total * size / (sum(sizes) or 1)) < 1 + 1e-6


def test_positions_are_spread_evenly() -> None:
    rows, columns = even_positions((100, 300), 3000)
    assert rows.min() >= 0
    assert rows.max() < 100
    assert columns.max() < 300
    counts, _, _ = np.histogram2d(rows, columns, bins=(5, 10), range=((0, 100), (0, 300)))
    assert counts.min() > 50  # 60 in each box, and no box without
    assert counts.max() < 70


# ----------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("k", [0, 1, 15, 254, 300])
def test_a_segmented_picture_is_the_colours_of_its_labels(k: int) -> None:
    random = np.random.default_rng(k)
    colors = random.integers(0, 256, (k, 3), dtype=np.uint8)
    labels = random.integers(0, max(k, 1), (9, 14)).astype("uint8" if k < 255 else "uint16")
    invalid = random.random((9, 14)) < (0.2 if k else 2)
    labels[invalid] = np.iinfo(labels.dtype).max
    picture = pixels_of(segmented_file(labels, colors))
    assert (picture[..., 3] == np.where(invalid, 0, 255)).all()
    assert (picture[..., :3][~invalid] == colors[labels[~invalid]]).all()


def test_a_photograph_is_a_webp_and_a_mask_is_white_inside() -> None:
    cells = np.full((8, 8, 4), (200, 100, 50, 255), np.uint8)
    assert original_file(cells)[8:12] == b"WEBP"
    assert pixels_of(original_file(cells)).shape == (8, 8, 3)
    assert np.abs(pixels_of(original_file(cells)).astype(int) - (200, 100, 50)).max() <= 4
    cells[:4, :, 3] = 0  # transparent where no pixel counts
    assert (pixels_of(original_file(cells))[..., 3] == cells[..., 3]).all()
    mask = np.eye(6, dtype=bool)
    assert (pixels_of(gray_file(mask)) == mask * np.uint8(255)).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (16, 9)])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_small_contours_are_the_highest_between_first_pixels(shape: tuple[int, int], level: int) -> None:
    random = np.random.default_rng(level)
    contours = random.integers(0, 254, (*shape, 2)).astype(np.uint8)
    contours[random.random(shape) < 0.1] = 255
    side, found = 1 << level, thumbnails.halved_contours(contours, level)
    assert found.shape == (-(-shape[0] // side), -(-shape[1] // side), 2)
    for y, x in np.ndindex(found.shape[:2]):
        top, left = y * side, x * side
        ways = contours[top, left : left + side, 0], contours[top : top + side, left, 1]
        expected = [min(254, way.max()) if contours[top, left, 0] < 255 else 255 for way in ways]
        assert found[y, x].tolist() == expected


def test_segments_are_painted_in_the_mean_of_what_counts() -> None:
    segments = np.array([[1, 1, 0], [2, 1, 2]], np.int32)
    cells = np.array(
        [[[10, 0, 0, 255], [30, 0, 0, 255], [9, 9, 9, 0]], [[0, 8, 0, 0], [20, 0, 0, 255], [0, 4, 0, 255]]]
    )
    file = thumbnails.segments_file(segments, cells.astype(np.uint8))
    one, two, none = [20, 0, 0, 255], [0, 4, 0, 255], [0, 0, 0, 0]
    assert thumbnails.pixels_of(file).tolist() == [[one, one, none], [two, one, two]]
