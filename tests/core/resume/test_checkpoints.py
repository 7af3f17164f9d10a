"""What is kept comes back to the last bit, or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.clustering.band_points import BandBatch, Picked
from kseg_core.clustering.band_values import Extremes
from kseg_core.clustering.bands import BandMoments
from kseg_core.clustering.summary import BatchRule, ChunkSummary, ColorTable, summarise
from kseg_core.clustering.sums import ClusterSums
from kseg_core.images import Pixels
from kseg_core.resume.checkpoints import load, save

TYPES = (ChunkSummary, ColorTable, ClusterSums, BandBatch, BandMoments, Extremes, Picked)
SUMMARY = summarise([Pixels(np.random.default_rng(1).integers(0, 256, (90, 80, 3)).astype(np.uint8))], BatchRule(1, 0))
ENDS = Extremes(np.array([-0.5, 5e-324]), np.array([1.0, 1.7e308]), np.array([3, 1]), np.array([1, 2]))
OF_FLOATS = BandMoments("float64", 2, np.array([2**1100, 1], object), np.array([7, 2**2200], object), None, ENDS)
PICKED = Picked("a.tif", np.array([5, 9]), np.array([[1, -2], [3, 5e-324]]), np.array([True, False]))
HISTOGRAM = np.eye(2, 9, dtype=np.int64)

VALUES: dict[str, Any] = {
    "a summary": SUMMARY,
    "sums of any size": ClusterSums(np.array([3, 0]), np.array([[2**62], [-1]]), 2**100 + 1),
    "plain values": (0.1, float("inf"), None, True, "ä", (), np.array([2**70, -5], object), np.empty((0, 4), np.int16)),
    "a batch of bands": BandBatch(OF_FLOATS, (PICKED,), np.array([[1.7e308, 0.1]]), False),
    "whole numbers": BandMoments("uint16", 2, np.array([2**65, 1], object), np.array([7, 8], object), HISTOGRAM, None),
}


def same(a: Any, b: Any) -> bool:
    """Whether two values are of one type, and equal to the last bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        equal = a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
        return bool(equal and (a.dtype, a.shape) == (b.dtype, b.shape) and b.flags.writeable)
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, each.name), getattr(b, each.name)) for each in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_what_is_kept_comes_back_to_the_last_bit(value: Any, tmp_path: Path) -> None:
    assert save(str(tmp_path / "a"), value)
    assert same(value, load(str(tmp_path / "a"), TYPES))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, content: path.write_bytes(content[:-1]),
        lambda path, content: path.write_bytes(
            content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
        ),
        lambda path, _: path.write_bytes(b""),
        lambda path, _: path.unlink(),
    ],
    ids=["cut", "flipped", "emptied", "gone"],
)
def test_what_is_not_whole_is_not_there(damage: Callable[[Path, bytes], Any], tmp_path: Path) -> None:
    path = tmp_path / "a"
    save(str(path), SUMMARY)
    damage(path, path.read_bytes())
    assert load(str(path), TYPES) is None


def test_where_nothing_can_be_written_nothing_is_kept_and_only_named_types_are_made(tmp_path: Path) -> None:
    assert not save(str(tmp_path / "missing" / "a"), SUMMARY)
    assert list(tmp_path.iterdir()) == []
    save(str(tmp_path / "a"), SUMMARY)
    with pytest.raises(KeyError):
        load(str(tmp_path / "a"), (ColorTable,))
    with pytest.raises(TypeError, match="got object"):
        save(str(tmp_path / "b"), object())
