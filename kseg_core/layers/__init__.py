"""What is written for each pixel of an image.

A new layer is a file here and a line of `LAYERS`; where it is added to labelled images, also the setting that asks for
it and an entry of `ADDED` in `config`, both under its name; what is `of_model` needs neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from ..config import ADDED, OutputSettings
from .classes import ClassLayer, ClassMaskLayer
from .edges import EdgeLayer
from .labelled import ConfidenceLayer, CopyLayer, LabelLayer, MaskLayer, RawLayer
from .layer import Layer, Layout
from .segments import SegmentLayer

LABEL_LAYER = LabelLayer()
RAW_LAYER = RawLayer()


def by_name(layers: Iterable[Layer], settings: type[OutputSettings] = OutputSettings) -> dict[str, Layer]:
    """A table of layers.

    Raises
    ------
    ValueError
        If one that is added is not called as the setting that asks for it and as its entry of `ADDED`.
    """
    table = {layer.name: layer for layer in layers}
    added = {layer.name: layer.path() for layer in table.values() if layer.added and not layer.of_model}
    known = {name: path.format(0) for name, path in ADDED.items()}
    if added != known or not added.keys() <= {each.name for each in fields(settings)}:
        raise ValueError(f"expected settings and entries of ADDED for the layers {added}, got {known}")
    return table


# in the order in which they are written and told of
LAYERS = by_name(
    (
        LABEL_LAYER,
        MaskLayer(),
        ConfidenceLayer(),
        CopyLayer(),
        RAW_LAYER,
        EdgeLayer(),
        SegmentLayer(),
        ClassLayer(),
        ClassMaskLayer(),
    )
)


def labelled_layers(layout: Layout) -> list[Layer]:
    """Those that are written with the labels of an image of this layout."""
    return [layer for layer in LAYERS.values() if layer.is_in(layout)]


def made_of_labels(layout: Layout) -> list[Layer]:
    """Those of them that are the labels, or made of them alone: of labels that are cleaned they come last."""
    return [layer for layer in labelled_layers(layout) if layer is LABEL_LAYER or layer.source == "labels"]


def asked_layers(output: OutputSettings) -> tuple[Layer, ...]:
    """Those that a run with these settings adds to labelled images, as it makes them."""
    asked = (layer.asked(output) for layer in LAYERS.values())
    return tuple(layer for layer in asked if layer is not None)
