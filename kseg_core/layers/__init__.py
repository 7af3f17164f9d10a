"""What is written for each pixel of an image.

A new layer is a file here and a line of `LAYERS`; of one that a run makes `places` says where it is, and when.
"""

from __future__ import annotations

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
