"""The arrays of an image: what each is, by its layout."""

from __future__ import annotations

from .layout import Layout
from .nodes import ArraySpec

NO_CONFIDENCE = 255  # of invalid pixels


def labels(layout: Layout, level: int) -> ArraySpec:
    """A level of the labels."""
    return ArraySpec(
        layout.level_shape(level), layout.chunks(level), layout.label_dtype.name, layout.invalid, ("y", "x")
    )


def masks(layout: Layout) -> ArraySpec:
    """A mask for each cluster."""
    return ArraySpec((layout.k, *layout.shape), (1, *layout.chunks(0)), "bool", False, ("cluster", "y", "x"), "bits")


def confidence(layout: Layout) -> ArraySpec:
    """How clearly each pixel belongs to its cluster."""
    return ArraySpec(layout.shape, layout.chunks(0), "uint8", NO_CONFIDENCE, ("y", "x"))


def copy(layout: Layout, level: int) -> ArraySpec:
    """A level of the copied image."""
    shape = (layout.copy_bands, *layout.level_shape(level))
    return ArraySpec(shape, (1, *layout.chunks(level)), layout.copy_dtype, 0, ("c", "y", "x"), "numbers")
