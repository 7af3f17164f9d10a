"""The layer of Canny edges: windows with a halo of the image, whose weak maxima are joined across windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..edge_settings import EdgeSettings, edge_facts
from ..inputs.listing import InputFile
from ..places import EdgePlace
from .canny import Maxima, decide_across, decide_within, find_edges, find_maxima, promoted
from .layer import ArraySpec, Layer, LayerInput, Layout, Part


@dataclass(frozen=True)
class EdgeLayer(EdgePlace, Layer):
    """Bool (y, x), as `canny` finds them with these settings."""

    settings: EdgeSettings = field(default_factory=EdgeSettings)

    called = "its edges are"
    stands_alone = True
    joined = True
    counted = "edge_pixels"

    @property
    def halo(self) -> int:
        return self.settings.halo

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        return ArraySpec(layout.level_shape(level), layout.chunks(level), "bool", False, ("y", "x"), "bits")

    def whole(self, window: LayerInput, layout: Layout) -> NDArray[np.bool_]:  # noqa: ARG002
        assert window.samples is not None
        return find_edges(window.samples, window.valid, self.settings)

    def begin(self, window: LayerInput, layout: Layout) -> Part:  # noqa: ARG002
        assert window.samples is not None
        maxima = find_maxima(window.samples, window.valid, self.settings)
        found = decide_within(Maxima(*map(window.trimmed, maxima)))
        return Part(found.edges, found.pending, found.border)

    def join(self, borders: Sequence[Any], columns: int) -> list[NDArray[np.int64]]:
        return decide_across(borders, columns)

    def settle(self, pending: NDArray[np.bool_], seeds: NDArray[np.int64]) -> NDArray[np.bool_]:
        return promoted(pending, seeds)

    def facts(self, file: InputFile, mask: str | None) -> dict[str, Any]:
        return edge_facts(self.settings, file, mask)
