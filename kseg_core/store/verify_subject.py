"""An image of a store that is verified: its arrays, what they must be, and the windows they are looked at in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from ..config import OutputSettings
from ..layers import LABEL_LAYER, LAYERS
from ..layers.layer import Layer, Layout
from ..layers.tiles import Region, tile_windows, window_of_level
from .model import Model
from .opening import StoredImage
from .originals import Originals

if TYPE_CHECKING:
    import zarr

VERIFY_PX = 4096  # side of the windows arrays are compared in


class Subject:
    """An image of a store that is verified; each of its arrays is opened once.

    Parameters
    ----------
    image
        As it is stored.
    model
        What it was labelled with; None: nothing.
    originals
        Where the store's images came from; None: the source is not to be read.
    output
        The run's settings, which say what was made; None: whatever is there.
    """

    def __init__(
        self,
        image: StoredImage,
        model: Model | None = None,
        originals: Originals | None = None,
        output: OutputSettings | None = None,
    ) -> None:
        self.image = image
        self.model = model
        self.originals = originals
        self.output = output
        self._arrays: dict[str, zarr.Array[Any] | None] = {}

    @property
    def k(self) -> int:
        """How many clusters there are."""
        return 0 if self.model is None else self.model.k

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), by what is said of it."""
        height, width = self.image.attributes["shape"]
        return height, width

    @cached_property
    def layout(self) -> Layout:
        """What decides its arrays, as far as they are held against it."""
        copy = self.array(LAYERS["copy"])
        bands, dtype = (0, "uint8") if copy is None else (copy.shape[0], copy.dtype.name)
        return Layout(self.shape, self.k, VERIFY_PX, masks=True, copy_bands=bands, copy_dtype=dtype, confidence=True)

    @cached_property
    def has_labels(self) -> bool:
        return self.image.has_labels

    @cached_property
    def labels(self) -> zarr.Array[Any]:
        return self.image.labels

    def array(self, layer: Layer) -> zarr.Array[Any] | None:
        """A layer's array, opened once; None where it was not made."""
        if layer.name not in self._arrays:
            self._arrays[layer.name] = self.image.layer(layer)
        return self._arrays[layer.name]

    def of_labels(self) -> Iterator[tuple[Layer, zarr.Array[Any]]]:
        """The layers beside the labels that go with them, and their arrays, of those that were made."""
        for layer in LAYERS.values():
            if layer is not LABEL_LAYER and not layer.stands_alone and (array := self.array(layer)) is not None:
                yield layer, array

    def alone(self) -> Iterator[tuple[Layer, zarr.Array[Any] | None]]:
        """The layers that need no labels, and their arrays."""
        return ((layer, self.array(layer)) for layer in LAYERS.values() if layer.stands_alone)

    @cached_property
    def pyramids(self) -> list[Pyramid]:
        """Of each layer that has one."""
        told = self.image.level_count
        return [
            Pyramid(layer.name, told, self.image.layer_levels(layer), partial(layer.halved, layout=self.layout))
            for layer in LAYERS.values()
            if layer.group is not None and (layer is LABEL_LAYER or self.array(layer) is not None)
        ]

    @cached_property
    def lacking(self) -> str | None:
        """What the run made with the labels, and is not there any more."""
        if self.output is None:
            return None
        made = (layer for layer in LAYERS.values() if not layer.added and layer.is_wanted(self.output, self.k))
        return next((layer.lacking for layer in made if not self.image.has_layer(layer)), None)

    @cached_property
    def odd_labels(self) -> str | None:
        """What its labels, and what goes with them, are, where that is not what they must be."""
        if self.image.attributes.get("status") != "complete":
            return "not complete"
        arrays = ((LABEL_LAYER, self.labels), *self.of_labels())
        odd = (layer.oddness(array, self.layout) for layer, array in arrays)
        return next((line for line in odd if line is not None), None)

    @property
    def windows(self) -> Iterator[Region]:
        """The windows it is looked at in, row by row; none where no array is as large as it is said to be."""
        if "shape" not in self.image.attributes:
            return iter(())
        if is_large(self.shape) and not is_as_large_as_said(self.image):
            return iter(())  # a number that is damaged may stand for any number of windows
        return image_windows(self.shape)

    def part_of_level(self, level: int, window: Region) -> Region | None:
        """The part of a level that a window answers for (`tiles.window_of_level`)."""
        return window_of_level(self.shape, level, window, VERIFY_PX)


class Pyramid(NamedTuple):
    """The levels of an array: what they are of, how many there are to be, those there are, and how they are made."""

    what: str
    told: int
    levels: list[zarr.Array[Any]]
    made: Callable[[NDArray[Any]], NDArray[Any]]


def image_windows(shape: tuple[int, int]) -> Iterator[Region]:
    """The windows in which an image is verified, row by row."""
    return tile_windows(*shape, VERIFY_PX)


def is_large(shape: tuple[int, int]) -> bool:
    """Whether an image of this shape is verified in several windows."""
    return max(shape) > VERIFY_PX


def is_as_large_as_said(image: StoredImage) -> bool:
    """Whether its labels, or a layer that needs none, are of the shape that its attributes say."""
    arrays = (image.layer(layer) for layer in LAYERS.values() if layer is LABEL_LAYER or layer.stands_alone)
    return any(array is not None and list(array.shape) == image.attributes["shape"] for array in arrays)
