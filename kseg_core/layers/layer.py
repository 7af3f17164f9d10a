"""What a layer is: what is written for each pixel of an image, and everything about its arrays known before the pixels.

A layer has a name, a place in the image's group, an array's type, a halo, and one function of a window and what is
around it. Writing, pyramids, memory, `verify`, repair, export and `inspect` know no layer by name: they ask it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..classes import Classes
from ..clustering.labelling import LabelledPixels, Labels, invalid_label, label_dtype
from ..config import AskedLayer, OutputSettings
from ..images.geo import GeoReference
from .tiles import Region, level_shape, pyramid_levels, tile_windows

if TYPE_CHECKING:
    import zarr

    from ..images import Pixels
    from ..inputs.listing import InputFile

Compression = Literal["bytes", "bits", "numbers", "small"]


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What an array is.

    Parameters
    ----------
    shape, chunks, dtype, fill
        As Zarr has them.
    names
        Of its dimensions.
    compression
        ``bytes``: Zstandard; ``bits``: of booleans, shuffled; ``numbers``: of more than one byte, shuffled; ``small``:
        Zstandard as Zarr has it by default. All but the last end with a checksum, so that a chunk is whole or refused
        by whatever reads it: Zstandard's own, or CRC-32C where Blosc has none.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    fill: int | bool
    names: tuple[str, ...]
    compression: Compression = "bytes"


@dataclass(frozen=True, slots=True)
class Layout:
    """What decides the arrays of one image.

    Parameters
    ----------
    shape
        (height, width).
    k
        Number of clusters; 0 for an image without a valid pixel that has no model.
    tile
        Side of the chunks in pixels.
    masks, confidence
        Whether these layers are made.
    levels
        Of the pyramids; 1: no pyramid.
    copy_bands, copy_dtype
        Channels of the copied image and their dtype; 0: no copy.
    geo
        CRS and transform, where known.
    pixel_size, unit
        (y, x) and its unit as OME-Zarr names it (``micrometer``), where known.
    min_region
        Pixels that a region of a cluster has at least; 0: labels are as K-means gives them.
    keep_raw
        Whether what K-means gives is a layer of its own.
    """

    shape: tuple[int, int]
    k: int
    tile: int
    masks: bool
    levels: int = 1
    copy_bands: int = 0
    copy_dtype: str = "uint8"
    geo: GeoReference | None = None
    pixel_size: tuple[float, float] | None = None
    unit: str | None = None
    confidence: bool = False
    min_region: int = 0
    keep_raw: bool = False

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or self.tile < 1 or self.levels < 1 or self.k < 0 or self.copy_bands < 0:
            raise ValueError(f"expected an image, tiles and levels of at least 1, got {self}")
        if np.dtype(self.copy_dtype).kind not in "uif":
            raise ValueError(f"expected integers or floating-point numbers to copy, got {self.copy_dtype}")

    @classmethod
    def planned(cls, shape: tuple[int, int], k: int, output: OutputSettings, *, pyramid: bool = True) -> Layout:
        """Labels down to a level of one tile (or of one level), and masks as the settings say."""
        levels = pyramid_levels(shape, output.tile) if pyramid else 1
        masks, confidence, keep_raw = output.writes_masks(k), output.confidence, output.keep_raw
        return cls(shape, k, output.tile, masks, levels, confidence=confidence, keep_raw=keep_raw)

    @property
    def has_masks(self) -> bool:
        """Whether there are masks: no clusters, no masks."""
        return self.masks and self.k > 0

    @property
    def is_cleaned(self) -> bool:
        """Whether small regions go to their neighbours."""
        return self.min_region > 0 and self.k > 0

    @property
    def invalid(self) -> int:
        """The label of invalid pixels."""
        return invalid_label(self.k)

    @property
    def label_dtype(self) -> np.dtype[np.unsignedinteger]:
        return label_dtype(self.k)

    @property
    def scale(self) -> tuple[float, float]:
        """(y, x): sides of a pixel: as given, else those of the georeference, else 1."""
        if self.pixel_size is not None:
            return self.pixel_size
        return (1.0, 1.0) if self.geo is None else self.geo.resolution

    def level_shape(self, level: int) -> tuple[int, int]:
        """(height, width) of a level."""
        return level_shape(self.shape, level)

    def chunks(self, level: int) -> tuple[int, int]:
        """Of a level: a tile, or the level where that is smaller."""
        height, width = self.level_shape(level)
        return min(self.tile, height), min(self.tile, width)

    def windows(self, level: int, side: int) -> Iterator[Region]:
        """The windows in which a level is built (0 is the image itself), row by row.

        Each level has a tile grid of its own, anchored at the origin (a tile of 1000 halves evenly only three times).
        So a level is built in a pass of its own, after the one above is complete: then no two tasks write one chunk.

        Parameters
        ----------
        side
            In pixels of the level; rounded down to whole tiles, of which there is at least one.
        """
        yield from tile_windows(*self.level_shape(level), self.tile * max(1, side // self.tile))


@dataclass(frozen=True, slots=True)
class LayerInput:
    """What the values of a layer are made of: the arrays of a window, and around it as much as the layer's halo.

    Parameters
    ----------
    labels
        (y, x), of `label_dtype`; None where the layer is made without.
    samples
        (y, x, c): 8-bit sRGB, or bands as stored; None where the layer is made of labels alone.
    valid
        bool (y, x): which pixels count; None: all.
    confidence
        uint8 (y, x), where it was asked for.
    raw
        The labels before small regions went to their neighbours; None where these are not kept.
    inner
        The window itself, in rows and columns of these arrays; None: nothing is around it.
    """

    labels: Labels | None = None
    samples: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None
    confidence: NDArray[np.uint8] | None = None
    raw: Labels | None = None
    inner: Region | None = None

    @classmethod
    def of(cls, pixels: Pixels, made: LabelledPixels, cleaned: Labels | None = None) -> LayerInput:
        """Of pixels that were labelled, and nothing around them; ``cleaned``: their labels, where not as made."""
        labels = made.labels if cleaned is None else cleaned
        return cls(labels, pixels.seen, pixels.valid, made.confidence, raw=made.labels)

    def part(self, region: Region) -> LayerInput:
        """A part of a window that has nothing around it."""
        parts = (self.labels, self.samples, self.valid, self.confidence, self.raw)
        cut: list[Any] = [None if values is None else values[region] for values in parts]
        return LayerInput(*cut)

    def trimmed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values (y, x) of all that is here, without what is around the window."""
        return values if self.inner is None else np.ascontiguousarray(values[self.inner])


class Part(NamedTuple):
    """What one window tells of a layer.

    Attributes
    ----------
    values
        (y, x), as far as the window knows.
    pending
        bool (y, x): where the neighbours decide; None: nowhere.
    border
        What the neighbours must know.
    """

    values: NDArray[Any]
    pending: NDArray[np.bool_] | None = None
    border: Any = None


class Layer(ABC):
    """One layer; a new one states the class variables that differ and gives `spec` and `values`, and `asked` where a
    run adds it.

    Attributes
    ----------
    name
        In the store, and in JSON.
    group
        Where in the image's group its levels are, if it has a pyramid (``""``: at the top); None: it is one array.
    added
        Whether it is added to finished images and says itself that it is complete; else it is written with the labels.
    called
        In messages, with its verb: "its edges are".
    source
        What it is made of: the image's pixels, or the labels alone. So much of it as ``halo`` is around a window.
    stands_alone
        Whether an image without labels can have it.
    command
        Which adds it to a store that is there; empty: a run alone does.
    of_model
        Whether its settings are what the model says (`named`): then it is added where that says something.
    are_labels
        Whether its values are clusters, shown in their colours; else they are shades, or black and white.
    differs
        What `verify` says of so many pixels that are not as the image's source has them.
    has_every_chunk
        Whether a chunk without a file is taken for lost where the image's documents are relied on.
    joined
        Whether windows decide together (`begin`, `join`, `settle`).
    made_from
        An array beside it that it is made from, where that is kept to make it again.
    counted
        By which name the image says how many pixels are not 0; None: it does not.
    free
        Settings that may be changed without asking to replace it, as nothing is lost by it.
    working_px
        Of a layer that is added: most bytes a pixel of finding it, what it is made of among them.
    halo
        How many pixels around one decide its value.
    """

    name: ClassVar[str]
    group: ClassVar[str | None] = None
    added: ClassVar[bool] = True
    called: ClassVar[str]
    source: ClassVar[Literal["pixels", "labels"]] = "pixels"
    stands_alone: ClassVar[bool] = False
    command: ClassVar[str] = ""
    of_model: ClassVar[bool] = False
    are_labels: ClassVar[bool] = False
    differs: ClassVar[str]
    has_every_chunk: ClassVar[bool] = False
    joined: ClassVar[bool] = False
    made_from: ClassVar[str | None] = None
    counted: ClassVar[str | None] = None
    free: ClassVar[tuple[str, ...]] = ()
    working_px: ClassVar[int]

    @property
    def halo(self) -> int:
        return 0

    @property
    def node(self) -> str:
        """The group or array whose attributes are about it."""
        return self.name if self.group is None else self.group

    def path(self, level: int = 0) -> str:
        """Where in the image's group one of its levels is."""
        return self.name if self.group is None else os.path.join(self.group, str(level))

    # ------------------------------------------------------------------------------------------ how it is to be made

    def asked(self, output: OutputSettings) -> Layer | None:  # noqa: ARG002 - of those that are not added
        """The layer as a run with these settings adds it to labelled images; None: it does not."""
        return None

    def told(self, settings: dict[str, Any]) -> Layer:  # noqa: ARG002 - of those without settings
        """The layer with the settings that `to_json` gave."""
        return self

    def named(self, classes: Classes | None, k: int) -> Layer:  # noqa: ARG002 - of those that no name decides
        """The layer of images whose model has k clusters, and these classes."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Its settings, as JSON values."""
        return {}

    @property
    def marker(self) -> AskedLayer:
        """What is known of it without NumPy, by which it is seen whether an image has it."""
        return AskedLayer(self.name, self.path(), self.to_json(), self.counted, self.free, self.made_from)

    def as_noted(self, store: Mapping[str, Any]) -> Layer:
        """The layer as a command has made it since in all images of a store, by what the store says of itself, where
        it may be made so without asking to replace it.
        """
        told = (store.get(self.name) or {}).get("settings")
        if not self.free or not isinstance(told, dict):
            return self
        own = self.to_json()
        same = all(told.get(name) == own[name] for name in own if name not in self.free)
        return self.told({**own, **{name: told[name] for name in self.free if name in told}}) if same else self

    def facts(self, file: InputFile, mask: str | None) -> dict[str, Any]:
        """Everything that decides it, as the store says it with a layer that was added: equal facts, equal pixels."""
        return {**self.to_json(), **file.facts_with(mask)}

    def working_bytes(self, height: int, width: int) -> int:
        """Most bytes of finding it in a window of so many pixels, those around it and what it is made of among them."""
        return height * width * self.working_px

    # ------------------------------------------------------------------------------------------------- its arrays

    def is_in(self, layout: Layout) -> bool:  # noqa: ARG002 - of those that are added, none is
        """Whether it is written with the labels of an image of this layout."""
        return False

    def levels(self, layout: Layout) -> int:
        """How many it has."""
        return 1 if self.group is None else layout.levels

    @abstractmethod
    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        """The array of one of its levels: (y, x), or planes before these."""

    # ------------------------------------------------------------------------------------------------- its pixels

    def values(self, window: LayerInput, layout: Layout) -> NDArray[Any]:
        """(y, x) of all that is in a window; only those farther than the halo from a cut are used."""
        raise NotImplementedError(f"{self.name} gives planes")

    def planes(self, window: LayerInput, layout: Layout) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        """Each plane's index and (y, x) values, of a window without anything around it; one may be overwritten by the
        next.
        """
        yield (), self.values(window, layout)

    def halved(self, plane: NDArray[Any], layout: Layout) -> NDArray[Any]:
        """The next level (ceil(y / 2), ceil(x / 2)) of a plane (y, x); of layers with a pyramid."""
        raise NotImplementedError(self.name)

    def whole(self, window: LayerInput, layout: Layout) -> NDArray[Any]:
        """(y, x) of a whole image."""
        return self.begin(window, layout).values

    def begin(self, window: LayerInput, layout: Layout) -> Part:
        """What a window tells by itself."""
        return Part(window.trimmed(self.values(window, layout)))

    def join(self, borders: Sequence[Any], columns: int) -> list[NDArray[np.int64]]:
        """For each window of a grid of so many columns, row by row: (n, 2) rows and columns of pending pixels that
        belong.
        """
        raise NotImplementedError(self.name)

    def settle(self, pending: NDArray[np.bool_], seeds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Bool (y, x): the pending pixels that belong, as one of their own does."""
        raise NotImplementedError(self.name)

    # ---------------------------------------------------------------------------------------- what is said of them

    @property
    def disagrees(self) -> str:
        """What `verify` says of so many pixels that are not as the labels have them."""
        return f"{{}} pixels of its {self.name} are not those of its labels"

    @property
    def lacking(self) -> str:
        """Says that it is not there."""
        return f"{self.called} missing"

    def oddness(self, array: zarr.Array[Any], layout: Layout) -> str | None:
        """What a stored array of it is, where that is not what it must be."""
        spec = self.spec(layout)
        if array.shape == spec.shape and array.dtype == np.dtype(spec.dtype):
            return None
        return f"{self.called} {array.dtype} {array.shape}, expected {spec.dtype} {spec.shape}"

    def disagreeing(self, array: zarr.Array[Any], window: LayerInput, region: Region, layout: Layout) -> int:
        """How many of its stored pixels in a region are not those that the labels (all that is in ``window``) make."""
        if self.source == "pixels":
            return 0
        if self.halo:
            return differing(self.begin(window, layout).values, stored(array, (), region))
        planes = self.planes(window, layout)
        return sum(differing(values, stored(array, first, region)) for first, values in planes)


def stored(array: Any, first: tuple[int, ...], region: Region) -> NDArray[Any]:
    """A region (y, x) of a plane of a stored array."""
    return np.asarray(array[(*first, *region)])


def differing(a: NDArray[Any], b: NDArray[Any]) -> int:
    """How many values are not the same; NaN is the same as NaN."""
    return int(np.count_nonzero((a != b) & ((a == a) | (b == b))))
