"""What is written for each pixel of an image.

A new layer is a file here and a line of `LAYERS`; where a run adds it, also the setting that asks for it (`ADDED` in
`config`).
"""

from __future__ import annotations

from ..config import OutputSettings
from .edges import EdgeLayer
from .labelled import ConfidenceLayer, CopyLayer, LabelLayer, MaskLayer
from .layer import Layer, Layout

LABEL_LAYER = LabelLayer()

# in the order in which they are written and told of
LAYERS: dict[str, Layer] = {
    layer.name: layer for layer in (LABEL_LAYER, MaskLayer(), ConfidenceLayer(), CopyLayer(), EdgeLayer())
}


def labelled_layers(layout: Layout) -> list[Layer]:
    """Those that are written with the labels of an image of this layout."""
    return [layer for layer in LAYERS.values() if layer.is_in(layout)]


def asked_layers(output: OutputSettings) -> tuple[Layer, ...]:
    """Those that a run with these settings adds to labelled images, as it makes them."""
    asked = (layer.asked(output) for layer in LAYERS.values())
    return tuple(layer for layer in asked if layer is not None)
