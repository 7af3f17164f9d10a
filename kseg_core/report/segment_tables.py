"""What a report tells of segments in numbers: how many there are at the levels that have names, and the largest."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kseg_core.segment_settings import LEVELS, level_name

from .facts import ImageFacts
from .segment_views import LargeSegment
from .views import Pictures

MOST_ROWS, LEAST_ROWS = 20, 3  # of the table of the largest segments: of one image, and of each of many


@dataclass(frozen=True, slots=True)
class LevelRow:
    """A level: how many segments all images together have at it, and half of the images have at most."""

    name: str
    level: float | None  # None: not the same of all images
    count: int
    median: float


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One of the largest segments of an image."""

    facts: ImageFacts
    segment: LargeSegment

    @property
    def share(self) -> float:
        """What part of the image's valid pixels it has."""
        return self.segment.pixels / (self.facts.valid or 1)

    @property
    def area(self) -> float | None:
        """Square metres, where the size of a pixel is known."""
        return None if self.facts.pixel_area is None else self.segment.pixels * self.facts.pixel_area


@dataclass(frozen=True, slots=True)
class SegmentTables:
    """The numbers of a report's part on segments."""

    images: int  # that were counted: those shown whose segments can be cut at any level
    levels: tuple[LevelRow, ...]
    rows: tuple[SegmentRow, ...]

    @classmethod
    def of(cls, images: Sequence[tuple[ImageFacts, Pictures]]) -> SegmentTables | None:
        """Of the images shown; None where none has segments."""
        counted = [pictures.hierarchy for _, pictures in images if pictures.hierarchy is not None]
        levels = []
        for name, level in LEVELS.items():
            counts = [dict(each.by_level)[name] for each in counted if name in dict(each.by_level)]
            if counts:
                levels.append(LevelRow(name, level, sum(counts), statistics.median(counts)))
        stored = {each.level for each in counted}
        if stored - {*LEVELS.values()} or len(stored) > 1:
            same = stored.pop() if len(stored) == 1 else None
            counts = [each.count for each in counted]
            levels.append(LevelRow("as stored", same, sum(counts), statistics.median(counts)))
        having = [(facts, pictures.largest) for facts, pictures in images if pictures.largest]
        most = max(LEAST_ROWS, MOST_ROWS // max(1, len(having)))
        rows = [SegmentRow(facts, each) for facts, largest in having for each in largest[:most]]
        return cls(len(counted), tuple(levels), tuple(rows)) if levels or rows else None

    @property
    def has_areas(self) -> bool:
        """Whether the area of one of the largest is known."""
        return any(row.area is not None for row in self.rows)

    @property
    def has_colors(self) -> bool:
        """Whether the mean colour of one of them is."""
        return any(row.segment.color is not None for row in self.rows)


def stored_segments(images: Sequence[ImageFacts]) -> tuple[tuple[str, str], ...]:
    """How many segments the store has, and at which level, as facts for the head of the page; none: nothing."""
    having = [image.segments for image in images if image.segments is not None]
    if not having:
        return ()
    levels = sorted({each.level for each in having if each.level is not None})
    names = ", ".join(map(level_name, levels))
    at = f", level{'s' if len(levels) > 1 else ''} {names}" if levels else ""
    return (("Segments", f"{sum(each.count for each in having):,}{at}"),)
