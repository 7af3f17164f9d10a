"""What windows of an image and its references come to: tables of pairs, and pixels that are not compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import StoreError
from ..export.segments import LAYER as SEGMENTS
from ..export.segments import SegmentArray
from ..layers.tiles import Region, tile_windows
from ..segment_settings import SegmentSettings
from ..segments.cutting import WindowPixels
from ..shapes.regions import LabelArray
from ..store.cuts import Cut, level_of
from ..store.opening import StoredImage
from .pairs import Pairs
from .reading import opened_reference
from .references import Reference
from .settings import ScoreSettings

WINDOW_PX = 2048  # the side of a window that is counted: with codes of 64 bits a hundred megabytes
COUNTED_BYTES = 150_000_000  # of a task that counts one, beside what a reference takes that is decoded whole


@dataclass(frozen=True, slots=True)
class Tally:
    """Of a window, or an image, and one reference.

    Parameters
    ----------
    pairs
        Of labels and codes.
    unlabelled
        Pixels that are judged and have no label: they are not valid in the image.
    unjudged
        Pixels of which the reference says nothing.
    """

    pairs: Pairs
    unlabelled: int
    unjudged: int


@dataclass(frozen=True, slots=True)
class Unit:
    """Windows of an image that one task counts.

    Parameters
    ----------
    store, key
        The image.
    windows
        One, or all where a reference can only be decoded whole.
    references
        Of the image.
    """

    store: str
    key: str
    windows: tuple[Region, ...]
    references: tuple[Reference, ...]


def units_of(image: StoredImage, references: tuple[Reference, ...]) -> Iterator[Unit]:
    """The tasks that count an image."""
    height, width = image.attributes["shape"]
    windows = _windows(image, references, (height, width))
    if any(reference.whole_bytes for reference in references):
        yield Unit(image.store, image.key, tuple(windows), references)
        return
    for window in windows:
        yield Unit(image.store, image.key, (window,), references)


def _windows(image: StoredImage, references: Sequence[Reference], shape: tuple[int, int]) -> Iterator[Region]:
    """Whole tiles of the store; where a reference has strips, windows as wide as it."""
    height, width = shape
    strips = [each.block for each in references if each.block is not None and each.place is None]
    if width > WINDOW_PX and any(block[1] >= width for block in strips):
        step = max(1, WINDOW_PX * WINDOW_PX // width)
        for top in range(0, height, step):
            yield slice(top, min(top + step, height)), slice(0, width)
        return
    array = image.labels if image.has_labels else image.array(SEGMENTS.path())
    tile = max(array.chunks)
    yield from tile_windows(height, width, min(tile * max(1, WINDOW_PX // tile), WINDOW_PX))


def scored_array(image: StoredImage, cut: Cut | None, settings: ScoreSettings) -> LabelArray:
    """The labels that are scored.

    Raises
    ------
    StoreError
        If the image has none.
    """
    if settings.of_segments:
        if cut is None and not image.has_layer(SEGMENTS):
            raise StoreError("no segments were made of this image")
        return SegmentArray.of_segments(cut)
    if not image.has_labels:
        raise StoreError("no labels were made of this image")
    return LabelArray.of_clusters(len(image.attributes.get("counts") or ()))


def count_unit(unit: Unit, cut: Cut | None, settings: ScoreSettings) -> list[Tally]:
    """A task: of each reference what the windows come to.

    Raises
    ------
    UnreadableImage
        If a reference cannot be read.
    StoreError
        If labels cannot be.
    """
    image = StoredImage(unit.store, unit.key)
    array = scored_array(image, cut, settings)
    only = array.read(image, *unit.windows[0]) if len(unit.windows) == 1 else None
    found = []
    for reference in unit.references:
        tallies = []
        with opened_reference(reference, image, settings) as reader:
            for rows, columns in unit.windows:
                labels = array.read(image, rows, columns) if only is None else only
                codes, judged = reader.read(rows, columns)
                compared = judged & (labels != array.nothing)
                pairs = Pairs.count(labels, codes, compared)
                count = int(np.count_nonzero(judged))
                tallies.append(Tally(pairs, count - pairs.total, judged.size - count))
        found.append(merged(tallies))
    return found


def merged(tallies: Sequence[Tally]) -> Tally:
    """Of all windows."""
    return Tally(
        Pairs.merged([each.pairs for each in tallies]),
        sum(each.unlabelled for each in tallies),
        sum(each.unjudged for each in tallies),
    )


def cut_anew(store: str, key: str, level: float) -> Cut | None:
    """A task: an image's segments at a level; None where they are so in the store.

    Raises
    ------
    StoreError
        If there are none.
    """
    image = StoredImage(store, key)
    if not image.has_layer(SEGMENTS):
        raise StoreError("no segments were made of this image")
    own = level_of(image)
    if own is not None and SegmentSettings(level).most == SegmentSettings(own).most:
        return None
    return Cut.of(image, level, _unmeasured)


def _unmeasured(window: Region) -> WindowPixels:
    """What segments are made of does not matter here."""
    rows, columns = window
    return WindowPixels(np.zeros((rows.stop - rows.start, columns.stop - columns.start, 0), np.uint8), None, 0)


def without_pairs(tally: Tally) -> Tally:
    """The same, its pairs let go of."""
    return replace(tally, pairs=Pairs())
