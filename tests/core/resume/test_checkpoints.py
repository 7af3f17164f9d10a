"""What is kept comes back to the last bit, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kseg_core.clustering.band_points import BandBatch, Picked
from kseg_core.clustering.band_values import Extremes
from kseg_core.clustering.bands import BandMoments
from kseg_core.clustering.summary import BatchRule, ChunkSummary, ColorTable, Window, summarise
from kseg_core.clustering.sums import ClusterSums
from kseg_core.resume.checkpoints import load, save

TYPES = (ChunkSummary, ColorTable, ClusterSums, BandBatch, BandMoments, Extremes, Picked)


def summary() -> ChunkSummary:
    rgb = np.random.default_rng(1).integers(0, 256, (90, 80, 3)).astype(np.uint8)
    return summarise([Window(rgb)], BatchRule(1, 0))


def test_a_summary_comes_back(tmp_path: Path) -> None:
    value = summary()
    assert save(str(tmp_path / "a"), value)
    found = load(str(tmp_path / "a"), TYPES)
    for table, other in ((value.batch, found.batch), (value.everything, found.everything)):
        assert (other.codes.dtype, other.counts.dtype) == (np.uint32, np.int64)
        np.testing.assert_array_equal(other.codes, table.codes)
        np.testing.assert_array_equal(other.counts, table.counts)
    assert found.everything.codes.flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_sums_of_any_size_and_floats_come_back_to_the_last_bit(tmp_path: Path) -> None:
    sums = ClusterSums(np.array([3, 0]), np.array([[2**62], [-1]]), 2**100 + 1)
    value = (sums, 0.1, float("inf"), None, True, "ä", (), np.array([2**70, -5], object), np.empty((0, 4), np.int16))
    save(str(tmp_path / "a"), value)
    found = load(str(tmp_path / "a"), TYPES)
    assert found[0].squares == 2**100 + 1
    np.testing.assert_array_equal(found[0].sums, sums.sums)
    assert found[1:7] == value[1:7]
    assert found[7].tolist() == [2**70, -5]
    assert (found[8].shape, found[8].dtype) == ((0, 4), np.int16)


def test_a_batch_of_bands_comes_back(tmp_path: Path) -> None:
    sums, squares = np.array([2**1100, 1], object), np.array([7, 2**2200], object)
    ends = Extremes(np.array([-0.5, 5e-324]), np.array([1.0, 1.7e308]), np.array([3, 1]), np.array([1, 2]))
    moments = BandMoments("float64", 2, sums, squares, None, ends)
    picked = Picked("a.tif", np.array([5, 9]), np.array([[1, -2], [3, 5e-324]]), np.array([True, False]))
    far = np.array([[1.7e308, 0.1]])
    save(str(tmp_path / "a"), BandBatch(moments, (picked,), far, False))
    found = load(str(tmp_path / "a"), TYPES)
    assert isinstance(found.picked[0], Picked)
    assert (found.picked[0].key, found.holds_all, found.far.tolist()) == ("a.tif", False, far.tolist())
    np.testing.assert_array_equal(found.picked[0].first, picked.first)
    np.testing.assert_array_equal(found.picked[0].values, picked.values)
    assert (found.moments.dtype, found.moments.pixels, found.moments.histogram) == ("float64", 2, None)
    assert found.moments.sums.tolist() == sums.tolist()
    assert found.moments.squares.tolist() == squares.tolist()
    assert found.moments.ends.low.tolist() == [-0.5, 5e-324]
    assert found.moments.ends.at_high.tolist() == [1, 2]


def test_the_statistics_of_small_whole_numbers_come_back(tmp_path: Path) -> None:
    histogram = np.eye(2, 9, dtype=np.int64)
    moments = BandMoments("uint16", 2, np.array([2**65, 1], object), np.array([7, 8], object), histogram, None)
    save(str(tmp_path / "a"), moments)
    found = load(str(tmp_path / "a"), TYPES)
    assert (found.sums.tolist(), found.ends) == ([2**65, 1], None)
    np.testing.assert_array_equal(found.histogram, histogram)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "gone"])
def test_what_is_not_whole_is_not_there(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    save(str(path), summary())
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()
    assert load(str(path), TYPES) is None


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(tmp_path: Path) -> None:
    assert not save(str(tmp_path / "missing" / "a"), summary())
    assert list(tmp_path.iterdir()) == []


def test_only_named_types_are_made(tmp_path: Path) -> None:
    save(str(tmp_path / "a"), summary())
    with pytest.raises(KeyError):
        load(str(tmp_path / "a"), (ColorTable,))
    with pytest.raises(TypeError, match="got object"):
        save(str(tmp_path / "b"), object())
