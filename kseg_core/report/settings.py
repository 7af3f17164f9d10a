"""What can be chosen of a report; light, so that wrong usage is refused at once."""

from __future__ import annotations

from dataclasses import dataclass

from kseg_core.errors import UsageError
from kseg_core.options import option

MOST_PICTURES = 1000
THUMBNAIL_PX = (16, 2048)


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Of a report."""

    limit: int = option(60, "Most images with pictures; all are in the table.", "Output", "N")
    thumbnail: int = option(400, "Longest side of a picture, 16 to 2048.", "Output", "PX")
    overwrite: bool = option(
        False,
        "Write into a folder that holds other files too (none but files of a report are touched).",
        "Output",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.limit <= MOST_PICTURES:
            raise UsageError(f"--limit is from 0 to {MOST_PICTURES} images; got {self.limit}")
        low, high = THUMBNAIL_PX
        if not low <= self.thumbnail <= high:
            raise UsageError(f"--thumbnail is from {low} to {high} pixels; got {self.thumbnail}")
