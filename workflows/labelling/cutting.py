"""Segments cut anew from contours, of images of a store whose files are gone, or are others now: an image a task. Where
they are damaged, what is left of them says first whether contours can be relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kseg_core.errors import StoreError
from kseg_core.layers.segments import SegmentLayer
from kseg_core.store.cuts import cut_without_source
from kseg_core.store.manifest import image_facts, image_folder
from kseg_core.store.opening import StoredImage
from kseg_core.store.segment_checks import contours_are_right

from ..computing.context import Context, Failure
from ..viewing.tasks import Work, on_images
from .added import Added
from .pieces import writing_to

NO_COLORS = (
    "its file is not what it was, so the mean colours of its segments are left out; --overwrite finds them where it is"
)


def cut_images(keys: Sequence[str], layer: SegmentLayer, store: str, tile: int, context: Context) -> Added:
    """Cut images at the layer's level, and write what came of it."""
    return _cut_all(cut_image, keys, layer, store, tile, context)


def recut_images(keys: Sequence[str], layer: SegmentLayer, store: str, tile: int, context: Context) -> Added:
    """The same of images whose segments are damaged."""
    return _cut_all(recut_image, keys, layer, store, tile, context)


def _cut_all(
    function: Callable[..., Added], keys: Sequence[str], layer: SegmentLayer, store: str, tile: int, context: Context
) -> Added:
    shapes = [(image_facts(image_folder(store, key)) or {}).get("shape", [0, 0]) for key in keys]
    context.progress.stage("cutting segments", len(keys), sum(height * width for height, width in shapes))
    done = Added()
    with writing_to(store) as path:
        work = [Work(key, key, height * width, True) for key, (height, width) in zip(keys, shapes, strict=True)]
        made = on_images(context, function, work, path, layer, tile, name="segments")
        for each in made:
            done = done.merge(Added(failures=(each,)) if isinstance(each, Failure) else each)
    return done


def cut_image(key: str, store: str, layer: SegmentLayer, tile: int) -> Added:
    """A task: all of an image."""
    pixels, in_segments, colored = cut_without_source(store, key, layer, tile)
    return Added(1, pixels, in_segments, notes={} if colored else {key: (NO_COLORS,)})


def recut_image(key: str, store: str, layer: SegmentLayer, tile: int) -> Added:
    """A task: the same, of an image whose segments are damaged.

    Raises
    ------
    StoreError
        If its contours do not say what they were.
    """
    if not contours_are_right(StoredImage(store, key), layer):
        raise StoreError("its contours are not those of its segments")
    return cut_image(key, store, layer, tile)
