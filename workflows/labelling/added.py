"""What adding a layer to images is told, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from kseg_core.expressions import Bands
from kseg_core.layers.layer import Layer, Layout
from kseg_core.layers.tiles import pyramid_levels
from kseg_core.reading.min_region import pixel_size_of
from kseg_core.reading.sources import ImageSource
from kseg_core.store.opening import StoredImage, open_store

from ..computing.context import Failure


@dataclass(frozen=True, slots=True)
class Added:
    """What adding a layer came to.

    Parameters
    ----------
    images
        How many have it now.
    pixels, layer_pixels
        Of those, and how many of them are not 0 in the layer.
    failures
        Images that could not be read.
    notes
        What there is to say of images that were looked at, by key.
    """

    images: int = 0
    pixels: int = 0
    layer_pixels: int = 0
    failures: tuple[Failure, ...] = field(default=())
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def merge(self, other: Added) -> Added:
        return Added(
            self.images + other.images,
            self.pixels + other.pixels,
            self.layer_pixels + other.layer_pixels,
            self.failures + other.failures,
            self.notes | other.notes,
        )


class Adding(NamedTuple):
    """What is the same for all images.

    Attributes
    ----------
    layer
        Which is added.
    store
        Where to, from wherever a worker is.
    tile
        Side of the store's chunks in pixels.
    clustered
        The bands that the images' model is of, None where that is of colours; False where images have no labels.
    """

    layer: Layer
    store: str
    tile: int
    clustered: Bands | Literal[False] | None

    @classmethod
    def to(cls, store: str, layer: Layer, tile: int) -> Adding:
        """To the images of a store that is there."""
        opened = open_store(store)
        if not opened.is_labelled:
            return cls(layer, store, tile, False)
        bands = opened.model.bands if opened.has_model else None
        return cls(layer, store, tile, None if bands is None else bands.bands)

    def layout(self, source: ImageSource) -> Layout:
        """What decides the arrays of the layer of an image."""
        layout = Layout(source.shape, 0, self.tile, masks=False, geo=source.geo)
        if self.layer.group is None:
            return layout
        if self.clustered is False:
            size = pixel_size_of(source)
            layout = layout if size is None else replace(layout, pixel_size=(size.y, size.x), unit=size.unit)
            return replace(layout, levels=pyramid_levels(source.shape, self.tile) if source.in_pieces else 1)
        image = StoredImage(self.store, source.file.key)
        scale, (unit, _) = image.pixel_scale
        layout = replace(layout, k=len(image.attributes["counts"]), levels=image.level_count)
        return layout if unit is None else replace(layout, pixel_size=scale, unit=unit)
