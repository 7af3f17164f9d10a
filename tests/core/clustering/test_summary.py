"""What K-means needs of a chunk: the same however an image is divided."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.clustering import summary as of_colors
from kseg_core.clustering.features import SPACES
from kseg_core.clustering.labelling import label_pixels
from kseg_core.clustering.summary import (
    BatchRule,
    ChunkSummary,
    ColorCounter,
    color_counter,
    summarise,
)
from kseg_core.errors import TooManyColors
from kseg_core.images import Pixels
from tests import reference
from tests.strategies import QUICK, chunkings, rgb_images, valid_masks


def as_lists(summary: ChunkSummary) -> list[list[int]]:
    tables = (summary.batch, summary.everything)
    return [array.tolist() for table in tables for array in (table.codes, table.counts)]


@QUICK
@given(data=st.data(), level=st.integers(0, 4), seed=st.integers(0, 3))
def test_any_chunking_in_any_order_is_one_chunk(data: Any, level: int, seed: int) -> None:
    rgb = data.draw(rgb_images(max_side=20))
    valid = data.draw(valid_masks(rgb.shape[:2]))
    rule = BatchRule(level, seed)
    whole = as_lists(summarise([Pixels(rgb, valid)], rule))
    windows = data.draw(chunkings(rgb, valid))
    assert as_lists(summarise(windows, rule)) == whole
    parts = [summarise([window], rule) for window in windows]
    assert as_lists(reduce(ChunkSummary.merge, parts)) == whole
    assert as_lists(reduce(lambda a, b: b.merge(a), parts, ChunkSummary.empty())) == whole


@QUICK
@given(data=st.data(), level=st.integers(0, 3), seed=st.integers(0, 3))
def test_the_batch_and_everything_are_the_valid_pixels_and_no_others(data: Any, level: int, seed: int) -> None:
    rgb = data.draw(rgb_images(max_side=20))
    valid = data.draw(valid_masks(rgb.shape[:2]))
    summary = summarise([Pixels(rgb, valid)], BatchRule(level, seed))
    picked = reference.picked(*rgb.shape[:2], level, seed)
    for table, mask in ((summary.everything, valid), (summary.batch, picked if valid is None else picked & valid)):
        codes, counts = reference.color_counts(rgb, mask)
        assert (table.codes.tolist(), table.counts.tolist()) == (codes.tolist(), counts.tolist())
        assert table.pixels == counts.sum()


def test_no_windows_and_no_valid_pixels_give_the_empty_summary() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    for windows in ([], [Pixels(rgb, np.zeros((4, 4), bool))], [Pixels(rgb[:0])]):
        for level in (0, 1):
            assert as_lists(summarise(windows, BatchRule(level, 0))) == as_lists(ChunkSummary.empty()) == [[]] * 4


@pytest.mark.parametrize("transform", [lambda a: a[::-1], lambda a: a[:, ::2], lambda a: a.transpose(1, 0, 2)])
def test_pixels_need_not_be_contiguous(transform: Any) -> None:
    rgb = np.random.default_rng(0).integers(0, 4, (10, 12, 3), dtype=np.uint8)
    rule = BatchRule(1, 0)
    view = transform(rgb)
    mask = transform(rgb > 0)[..., 0]
    assert as_lists(summarise([Pixels(view, mask)], rule)) == as_lists(
        summarise([Pixels(view.copy(), mask.copy())], rule)
    )


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_other_shapes_and_dtypes_are_refused_and_leave_no_trace(rgb: Any) -> None:
    good = Pixels(np.full((2, 2, 3), 9, np.uint8))
    with pytest.raises(ValueError, match=r"expected uint8 \(y, x, 3\), got "):
        summarise([good, Pixels(rgb)], BatchRule(0, 0))
    assert summarise([good], BatchRule(0, 0)).everything.counts.tolist() == [4]


def test_more_colours_than_there_is_room_for_are_refused_and_leave_no_trace() -> None:
    rgb = np.arange(3 * 50, dtype=np.uint8).reshape(5, 10, 3)
    assert summarise([Pixels(rgb)], BatchRule(0, 0), 50).colors == 50
    with pytest.raises(TooManyColors, match="more than 49 distinct colours"):
        summarise([Pixels(rgb)], BatchRule(0, 0), 49)
    assert color_counter().drain().pixels == 0


def test_a_table_in_parts_is_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    counter = ColorCounter()
    counter.add(rgb)
    whole = counter.drain()
    monkeypatch.setattr(of_colors, "PART_COLORS", 10_000)
    counter.add(rgb)
    parts = list(counter.drain_in_parts())
    assert len(parts) > 5
    assert max(part.codes.size for part in parts) <= 10_000 + 4096
    np.testing.assert_array_equal(np.concatenate([part.codes for part in parts]), whole.codes)
    np.testing.assert_array_equal(np.concatenate([part.counts for part in parts]), whole.counts)
    assert counter.drain().pixels == 0


@pytest.mark.parametrize("shape", [(2, 2), (4, 3), (3, 4, 1), (12,), (0,)])
def test_a_mask_of_another_shape_is_refused_before_its_memory_is_overrun(shape: tuple[int, ...]) -> None:
    rgb = np.zeros((3, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected valid of shape \(3, 4\), got "):
        summarise([Pixels(rgb, np.ones(shape, bool))], BatchRule(0, 0))
    with pytest.raises(ValueError, match=r"expected valid of shape \(3, 4\), got "):
        label_pixels(rgb, np.ones(shape, bool), SPACES["rgb"], np.zeros((1, 3)))
    assert summarise([], BatchRule(0, 0)).everything.pixels == 0


def test_a_reader_that_fails_leaves_no_trace() -> None:
    def windows() -> Any:
        yield Pixels(np.full((2, 2, 3), 9, np.uint8))
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        summarise(windows(), BatchRule(1, 0))
    assert summarise([], BatchRule(1, 0)).everything.pixels == 0


@given(total=st.integers(0, 1 << 50), batch=st.integers(1, 1 << 40))
def test_the_batch_is_the_largest_nested_share_within_its_bound(total: int, batch: int) -> None:
    assert BatchRule.for_pixels(batch, batch, 5) == BatchRule(0, 5)
    level = BatchRule.for_pixels(total, batch, 0).level
    assert total <= batch * 4**level
    assert level == 0 or total > batch * 4 ** (level - 1)
