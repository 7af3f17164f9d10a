"""The layer of Canny edges: windows with a halo of the image, whose weak maxima are joined across windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import OutputSettings
from ..edge_settings import EdgeSettings
from .canny import (
    STRIP_PX,
    WHOLE_EDGES_PX,
    Maxima,
    decide_across,
    decide_within,
    find_edges,
    find_maxima,
    promoted,
)
from .layer import ArraySpec, Layer, LayerInput, Layout, Part

EDGE_PX_BYTES = 24  # where edges are found: the pixels, blurred, OpenCV's gradients, maxima; measured: up to 18
MAXIMA_PX_BYTES = 6  # of a pixel outside the strip that is looked at: the pixel, whether it counts, its maxima
JOINED_PX_BYTES = 17  # where they are joined: these, and numbers of components; measured: up to 15.7


@dataclass(frozen=True)
class EdgeLayer(Layer):
    """Bool (y, x), as `canny` finds them with these settings."""

    settings: EdgeSettings = field(default_factory=EdgeSettings)

    name = "edges"
    called = "its edges are"
    stands_alone, command = True, "edges"
    joined = True
    counted = "edge_pixels"

    @property
    def halo(self) -> int:
        return self.settings.halo

    def asked(self, output: OutputSettings) -> EdgeLayer | None:
        return None if output.edges is None else EdgeLayer(EdgeSettings(*output.edges))

    def told(self, settings: dict[str, Any]) -> EdgeLayer:
        return EdgeLayer(EdgeSettings(**settings))

    def to_json(self) -> dict[str, Any]:
        return self.settings.to_json()

    def working_bytes(self, height: int, width: int) -> int:
        pixels = height * width
        if pixels <= WHOLE_EDGES_PX:
            return pixels * EDGE_PX_BYTES
        strip = min(pixels, STRIP_PX + (2 * self.halo + 1) * width)  # and as much around it
        return max(strip * EDGE_PX_BYTES + pixels * MAXIMA_PX_BYTES, pixels * JOINED_PX_BYTES)

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        return ArraySpec(layout.level_shape(level), layout.chunks(level), "bool", False, ("y", "x"), "bits")

    def whole(self, window: LayerInput, layout: Layout) -> NDArray[np.bool_]:  # noqa: ARG002 - of pixels alone
        assert window.samples is not None
        return find_edges(window.samples, window.valid, self.settings)

    def begin(self, window: LayerInput, layout: Layout) -> Part:  # noqa: ARG002 - of pixels alone
        assert window.samples is not None
        maxima = find_maxima(window.samples, window.valid, self.settings)
        found = decide_within(Maxima(*map(window.trimmed, maxima)))
        return Part(found.edges, found.pending, found.border)

    def join(self, borders: Sequence[Any], columns: int) -> list[NDArray[np.int64]]:
        return decide_across(borders, columns)

    def settle(self, pending: NDArray[np.bool_], seeds: NDArray[np.int64]) -> NDArray[np.bool_]:
        return promoted(pending, seeds)
