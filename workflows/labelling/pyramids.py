"""The levels of large images: each in a pass of its own, after the one it is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dask.delayed import delayed

from kseg_core.layers.layer import Layout
from kseg_core.store.writing import build_level

from ..computing.context import Context

LEVEL_SIDE = 4096  # a task makes so many pixels of a level, from twice as many of the one above


def build_pyramids(
    images: Sequence[tuple[str, Layout]], store: str, context: Context, build: Callable[..., None] = build_level
) -> None:
    """All levels of some images, by their names in the store."""
    task = delayed(build, pure=False)
    for level in range(1, max((layout.levels for _, layout in images), default=1)):
        lazy = (
            task(store, key, level, region, layout)
            for key, layout in images
            if level < layout.levels
            for region in layout.windows(level, LEVEL_SIDE)
        )
        context.run(lazy)
