"""Everything about an image's arrays that is known before its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..clustering.labelling import Labels, invalid_label, label_dtype
from ..config import OutputSettings
from ..images.geo import GeoReference
from .tiles import level_shape, pyramid_levels


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of one image.

    Parameters
    ----------
    shape
        (height, width).
    k
        Number of clusters; 0 for an image without a valid pixel that has no model.
    tile
        Side of the chunks in pixels.
    masks
        Whether masks are made, one a cluster.
    levels
        Of the pyramids of labels and copied image; 1: no pyramid.
    copy_bands, copy_dtype
        Channels of the copied image and their dtype; 0: no copy.
    geo
        CRS and transform, where known.
    pixel_size, unit
        (y, x) and its unit as OME-Zarr names it (``micrometer``), where known.
    confidence
        Whether it is told how clearly each pixel belongs to its cluster.
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

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or self.tile < 1 or self.levels < 1 or self.k < 0 or self.copy_bands < 0:
            raise ValueError(f"expected an image, tiles and levels of at least 1, got {self}")
        if np.dtype(self.copy_dtype).kind not in "uif":
            raise ValueError(f"expected integers or floating-point numbers to copy, got {self.copy_dtype}")

    @classmethod
    def planned(cls, shape: tuple[int, int], k: int, output: OutputSettings, *, pyramid: bool = True) -> Layout:
        """Labels down to a level of one tile (or of one level), and masks as the settings say."""
        levels = pyramid_levels(shape, output.tile) if pyramid else 1
        return cls(shape, k, output.tile, output.writes_masks(k), levels, confidence=output.confidence)

    @property
    def has_masks(self) -> bool:
        """Whether there are masks: no clusters, no masks."""
        return self.masks and self.k > 0

    @property
    def invalid(self) -> int:
        """The label of invalid pixels."""
        return invalid_label(self.k)

    @property
    def label_dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of the labels."""
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

    def require_labels(self, labels: Labels, rows: slice, columns: slice) -> None:
        """Refuse labels that are not those of a window.

        Raises
        ------
        ValueError
            If their shape or dtype is another.
        """
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if labels.shape != shape or labels.dtype != self.label_dtype:
            raise ValueError(f"expected labels {self.label_dtype} {shape}, got {labels.dtype} {labels.shape}")
