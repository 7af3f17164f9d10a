"""What can be chosen of a report, and where it may be written; light, so that wrong usage is refused at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kseg_core import storage
from kseg_core.errors import KsegError, UsageError
from kseg_core.inputs.passed_over import is_report
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
    UsageError
        If it is no name, or lies in the store.
    KsegError
        If something else is there: a file, or a folder that is neither empty nor an earlier report.
    """
    if not folder.strip():
        raise UsageError("--to is empty: name a folder, or leave it out for the default")
    storage.require_here(folder, "a report is written")
    inside, outside = os.path.realpath(folder), os.path.realpath(store)
    if inside == outside or inside.startswith(outside + os.sep):
        raise UsageError(f"{folder} lies in the store; choose another folder with --to")
    if not os.path.lexists(folder):
        return
    if not os.path.isdir(folder):
        raise KsegError(f"{folder} is a file; choose another folder with --to")
    if not overwrite and os.listdir(folder) and not is_report(folder):
        raise KsegError(
            f"{folder} holds other things than an earlier report; choose another folder with --to, or write the report "
            "among them with --overwrite"
        )
