"""An image of a store that is verified: its arrays, what they must be, and the windows they are looked at in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import invalid_label, label_dtype
from ..config import OutputSettings
from .model import Model
from .opening import StoredImage
from .originals import Originals
from .pyramid import mean_of_blocks, mode_of_blocks
from .tiles import tile_windows, window_of_level

if TYPE_CHECKING:
    import zarr

VERIFY_PX = 4096  # side of the windows arrays are compared in

Window = tuple[slice, slice]


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
    def has_labels(self) -> bool:
        return self.image.has_labels

    @cached_property
    def labels(self) -> zarr.Array[Any]:
        return self.image.labels

    @cached_property
    def masks(self) -> zarr.Array[Any] | None:
        return self.image.masks

    @cached_property
    def confidence(self) -> zarr.Array[Any] | None:
        return self.image.confidence

    @cached_property
    def edges(self) -> zarr.Array[Any] | None:
        return self.image.edges

    @cached_property
    def copy(self) -> zarr.Array[Any] | None:
        return self.image.image

    @cached_property
    def pyramids(self) -> list[Pyramid]:
        """Its levels: of the labels, and of the copy where there is one."""
        of_labels: Callable[[NDArray[Any]], NDArray[Any]] = partial(mode_of_blocks, invalid=invalid_label(self.k))
        told = self.image.level_count
        pyramids = [Pyramid("labels", told, self.image.levels, of_labels)]
        if self.copy is not None:
            pyramids.append(Pyramid("copy", told, self.image.image_levels, mean_of_blocks))
        return pyramids

    @cached_property
    def lacking(self) -> str | None:
        """What the run made, and is not there any more."""
        output = self.output
        if output is None:
            return None
        if self.model is not None and output.writes_masks(self.model.k) and not self.image.has_masks:
            return "its masks are missing"
        if output.confidence and not self.image.has_confidence:
            return "its confidence is missing"
        if output.copy_image and self.copy is None:
            return "its copy of the image is missing"
        return None

    @cached_property
    def odd_edges(self) -> str | None:
        """What its edges are, where that is not what they must be."""
        if self.edges is None or (self.edges.shape == self.shape and self.edges.dtype == np.bool_):
            return None
        return f"its edges are {self.edges.dtype} {self.edges.shape}, expected bool {self.shape}"

    @cached_property
    def odd_labels(self) -> str | None:
        """What its labels, and what is made of them, are, where that is not what they must be."""
        if self.image.attributes.get("status") != "complete":
            return "not complete"
        k, shape, labels = self.k, self.shape, self.labels
        if labels.shape != shape or labels.dtype != label_dtype(k):
            return f"labels are {labels.dtype} {labels.shape}, expected {label_dtype(k)} {shape}"
        masks, confidence = self.masks, self.confidence
        if masks is not None and masks.shape != (k, *shape):
            return f"masks are {masks.shape}, expected {(k, *shape)}"
        if confidence is not None and (confidence.shape != shape or confidence.dtype != np.uint8):
            return f"its confidence is {confidence.dtype} {confidence.shape}, expected uint8 {shape}"
        return None

    @property
    def windows(self) -> Iterator[Window]:
        """The windows it is looked at in, row by row; none where no array is as large as it is said to be."""
        if "shape" not in self.image.attributes:
            return iter(())
        if is_large(self.shape) and not is_as_large_as_said(self.image):
            return iter(())  # a number that is damaged may stand for any number of windows
        return image_windows(self.shape)

    def part_of_level(self, level: int, window: Window) -> Window | None:
        """The part of a level that a window answers for (`tiles.window_of_level`)."""
        return window_of_level(self.shape, level, window, VERIFY_PX)


class Pyramid(NamedTuple):
    """The levels of an array: what they are of, how many there are to be, those there are, and how they are made."""

    what: str
    told: int
    levels: list[zarr.Array[Any]]
    made: Callable[[NDArray[Any]], NDArray[Any]]


def image_windows(shape: tuple[int, int]) -> Iterator[Window]:
    """The windows in which an image is verified, row by row."""
    return tile_windows(*shape, VERIFY_PX)


def is_large(shape: tuple[int, int]) -> bool:
    """Whether an image of this shape is verified in several windows."""
    return max(shape) > VERIFY_PX


def is_as_large_as_said(image: StoredImage) -> bool:
    """Whether its labels or its edges are of the shape that its attributes say."""
    arrays = (image.labels if image.has_labels else None, image.edges)
    return any(array is not None and list(array.shape) == image.attributes["shape"] for array in arrays)
