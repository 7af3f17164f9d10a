"""What a job will write, worked out from headers alone, and whether there is room for it."""

from __future__ import annotations

import os
import shutil

from kseg_core import storage
from kseg_core.errors import KsegError
from kseg_core.memory import written_bytes
from kseg_core.sizes import format_bytes

from .budget import Work, pieces_of
from .plan import Plan

# Of their plain size labels and masks of photographs take, with five clusters, from 4 (22 megapixels, no masks) to 20 %
# (thumbnails, with masks), which is 7 to 70 % of their files' size: with less than this share free, a job hardly ends.
LEAST_FREE_SHARE = 0.03


def bytes_to_write(plan: Plan, work: Work) -> int:
    """Most bytes of the store, before compression."""
    if work.output is None:
        return 0
    return sum(written_bytes(piece, work.k, work.output, work.bands) for piece in pieces_of(plan))


def require_room_on_disk(output: str, at_most: int, *, begun: bool) -> None:
    """Refuse to begin what the disk cannot hold. ``begun``: there is an output to go on with, of these settings.

    Raises
    ------
    KsegError
        If less is free than the output of photographs takes at least.
    """
    free = free_bytes(output)
    if free is not None and free < at_most * LEAST_FREE_SHARE:
        advice = "Free some, choose another output with -o, or use --no-masks"
        if begun:  # with other settings it would be refused
            advice = "Free some: what was finished is kept, and the same command goes on"
        raise KsegError(
            f"{output}: {format_bytes(free)} are free on its disk; labels and masks of these images take up to "
            f"{format_bytes(at_most)} before compression. {advice}"
        )


def free_bytes(output: str) -> int | None:
    """What is free on the disk that an output will be on; None: in an object store, which does not say."""
    if storage.is_remote(output):
        return None
    folder = os.path.dirname(os.path.abspath(output))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free
