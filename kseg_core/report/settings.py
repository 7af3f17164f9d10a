"""What can be chosen of a report; light, so that wrong usage is refused at once."""

from __future__ import annotations

from dataclasses import dataclass

from kseg_core.errors import UsageError

MOST_PICTURES = 1000
THUMBNAIL_PX = (16, 2048)


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Of a report.

    Parameters
    ----------
    limit
        Most images whose pictures are shown, 0 to 1000; all are in the table.
    thumbnail
        Longest side of a picture in pixels, 16 to 2048.
    overwrite
        Write into a folder that is not an earlier report.
    """

    limit: int = 60
    thumbnail: int = 400
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.limit <= MOST_PICTURES:
            raise UsageError(f"--limit is from 0 to {MOST_PICTURES} images; got {self.limit}")
        low, high = THUMBNAIL_PX
        if not low <= self.thumbnail <= high:
            raise UsageError(f"--thumbnail is from {low} to {high} pixels; got {self.thumbnail}")
