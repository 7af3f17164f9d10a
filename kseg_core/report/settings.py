"""What can be chosen of a report, and where it may be written; light, so that wrong usage is refused at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kseg_core.errors import UsageError
from kseg_core.inputs.passed_over import is_report
from kseg_core.options import option
from kseg_core.result_folder import require_own_folder

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


def default_folder(store: str) -> str:
    """``<store name>.report`` in the current folder."""
    name = os.path.basename(os.path.abspath(store))
    for suffix in (".kseg.zarr", ".zarr"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            name = name[: -len(suffix)]
            break
    return f"{name or 'store'}.report"


def require_place(folder: str, store: str, *, overwrite: bool) -> None:
    """See that a report may be written to a folder.

    Raises
    ------
    UsageError, KsegError
        As `require_own_folder`.
    """
    require_own_folder(folder, store, "report", is_report, overwrite=overwrite)
