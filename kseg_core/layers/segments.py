"""The layer of segments: numbered parts of an image, cut from a hierarchy that is kept beside them as contours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import ADDED, OutputSettings
from ..kernels.segments import mode_of_blocks
from ..segment_settings import SegmentSettings
from .layer import ArraySpec, Layer, Layout

CONTOURS = "contours"  # where the hierarchy is in an image's group
TABLE = "segments"  # where it is told what each segment is made of
PX_BYTES = 40  # of an image in memory: its pixels, cells, regions, contours; measured: up to 34
BLOCK_BYTES = 96 << 20  # of the block that is looked at


@dataclass(frozen=True)
class SegmentLayer(Layer):
    """uint32 (y, x): segments, from 1 in the order of their first pixels; 0 where pixels do not count."""

    settings: SegmentSettings = field(default_factory=SegmentSettings)

    name = "segments"
    group = ADDED["segments"].rpartition("/")[0]
    called = "its segments are"
    stands_alone, command = True, "segments"
    made_from = CONTOURS
    counted = "segment_pixels"
    free = ("level",)  # contours have all of them

    def asked(self, output: OutputSettings) -> SegmentLayer | None:
        if output.segments is None:
            return None
        return SegmentLayer(SegmentSettings(output.segments, output.segment_scale, output.segment_palette))

    def told(self, settings: dict[str, Any]) -> SegmentLayer:
        return SegmentLayer(SegmentSettings(**settings))

    def to_json(self) -> dict[str, Any]:
        return self.settings.to_json()

    def working_bytes(self, height: int, width: int) -> int:
        return height * width * PX_BYTES + BLOCK_BYTES

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        return ArraySpec(layout.level_shape(level), layout.chunks(level), "uint32", 0, ("y", "x"), "numbers")

    def halved(self, plane: NDArray[Any], layout: Layout) -> NDArray[Any]:  # noqa: ARG002 - of labels alone
        halved = np.empty((-(-plane.shape[0] // 2), -(-plane.shape[1] // 2)), np.uint32)
        mode_of_blocks(np.ascontiguousarray(plane), halved)
        return halved


def contours_spec(layout: Layout) -> ArraySpec:
    """The array of contours: uint8 (2, y, x), of each pixel and the next in its row, and in its column."""
    return ArraySpec((2, *layout.shape), (1, *layout.chunks(0)), "uint8", 0, ("boundary", "y", "x"))
