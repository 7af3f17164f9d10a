"""The layers that are written as an image is labelled: labels, masks, confidence, and a copy of the image itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels
from ..config import LABELS, RAW
from .layer import ArraySpec, Layer, LayerInput, Layout
from .pyramid import mean_of_blocks, mode_of_blocks
from .tiles import Region

if TYPE_CHECKING:
    import zarr

NO_CONFIDENCE = 255  # of invalid pixels


class LabelLayer(Layer):
    """Which cluster each pixel belongs to: 0 to k - 1, the dtype's largest value where invalid."""

    name, group, added = "labels", LABELS, False
    called = "labels are"
    are_labels = True
    differs = "{} labels are not the nearest centroid of their source's pixels"
    has_every_chunk = True

    def is_in(self, layout: Layout) -> bool:  # noqa: ARG002 - always
        return True

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        chunks = layout.chunks(level)
        return ArraySpec(layout.level_shape(level), chunks, layout.label_dtype.name, layout.invalid, ("y", "x"))

    def values(self, window: LayerInput, layout: Layout) -> Labels:  # noqa: ARG002 - as they are
        return _there(window.labels, self)

    def halved(self, plane: NDArray[Any], layout: Layout) -> NDArray[Any]:
        return mode_of_blocks(plane, layout.invalid)


class RawLayer(LabelLayer):
    """The labels as K-means gives them, where small regions go to their neighbours and these are kept."""

    name, group = "raw", RAW
    called = "its raw labels are"
    differs = "{} raw labels are not the nearest centroid of their source's pixels"

    @property
    def disagrees(self) -> str:
        return "{} raw labels disagree with the labels about which pixels are valid"

    def is_in(self, layout: Layout) -> bool:
        return layout.keep_raw

    def values(self, window: LayerInput, layout: Layout) -> Labels:  # noqa: ARG002 - as they are
        return _there(window.raw, self)

    def disagreeing(self, array: zarr.Array[Any], window: LayerInput, region: Region, layout: Layout) -> int:
        """Labels tell which pixels have one, and no more."""
        valid = _there(window.labels, self) != layout.invalid
        return int(((np.asarray(array[region]) != layout.invalid) != valid).sum())


class MaskLayer(Layer):
    """A mask for each cluster."""

    name, added = "masks", False
    called = "masks are"
    source: ClassVar[Literal["pixels", "labels"]] = "labels"

    @property
    def lacking(self) -> str:
        return "its masks are missing"

    @property
    def disagrees(self) -> str:
        return "{} mask pixels disagree with the labels"

    def is_in(self, layout: Layout) -> bool:
        return layout.has_masks

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        shape, chunks = (layout.k, *layout.level_shape(level)), (1, *layout.chunks(level))
        return ArraySpec(shape, chunks, "bool", False, ("cluster", "y", "x"), "bits")

    def planes(self, window: LayerInput, layout: Layout) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        labels = _there(window.labels, self)
        mask = np.empty(labels.shape, np.bool_)  # one for all: new memory for each costs as much as filling it
        for cluster in range(layout.k):
            yield (cluster,), np.equal(labels, cluster, out=mask)


class ConfidenceLayer(Layer):
    """How clearly each pixel belongs to its cluster: 0 to 254, 255 where invalid."""

    name, added = "confidence", False
    called = "its confidence is"
    differs = "the confidence of {} pixels is not that of their source's pixels"

    @property
    def disagrees(self) -> str:
        return "the confidence of {} pixels disagrees with their validity"

    def is_in(self, layout: Layout) -> bool:
        return layout.confidence

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        return ArraySpec(layout.level_shape(level), layout.chunks(level), "uint8", NO_CONFIDENCE, ("y", "x"))

    def values(self, window: LayerInput, layout: Layout) -> NDArray[np.uint8]:  # noqa: ARG002 - as it is
        return _there(window.confidence, self)

    def disagreeing(self, array: zarr.Array[Any], window: LayerInput, region: Region, layout: Layout) -> int:
        """Labels tell which pixels have one, and no more."""
        valid = _there(window.labels, self) != layout.invalid
        return int(((np.asarray(array[region]) != NO_CONFIDENCE) != valid).sum())


class CopyLayer(Layer):
    """The image itself, with a pyramid of its own: its 8-bit colours, or its bands as stored."""

    name, group, added = "copy", "", False
    called = "its copy of the image is"
    differs = "{} samples of its copy are not those of its source"
    has_every_chunk = True

    def is_in(self, layout: Layout) -> bool:
        return layout.copy_bands > 0

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        shape, chunks = (layout.copy_bands, *layout.level_shape(level)), (1, *layout.chunks(level))
        return ArraySpec(shape, chunks, layout.copy_dtype, 0, ("c", "y", "x"), "numbers")

    def planes(self, window: LayerInput, layout: Layout) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        samples = _there(window.samples, self)
        if samples.shape[2:] != (layout.copy_bands,):
            raise ValueError(f"expected samples of {layout.copy_bands} bands, got {samples.shape}")
        for band in range(layout.copy_bands):
            yield (band,), samples[..., band]

    def halved(self, plane: NDArray[Any], layout: Layout) -> NDArray[Any]:  # noqa: ARG002 - any image's
        return mean_of_blocks(plane)


def _there(values: NDArray[Any] | None, layer: Layer) -> NDArray[Any]:
    if values is None:
        raise ValueError(f"expected a window with what {layer.name} is made of, got none")
    return values
