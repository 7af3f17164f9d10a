"""Where a command may write the folder of files that it is to make; light, so that wrong usage is refused at once."""

from __future__ import annotations

import os
from collections.abc import Callable

from kseg_core import storage
from kseg_core.errors import KsegError, UsageError


def require_outside(folder: str, store: str, made: str) -> None:
    """See that a folder has a name, and lies outside the store that its files are of.

    Parameters
    ----------
    made
        What is done there, with its verb: "a report is written".

    Raises
    ------
    UsageError
        If it does not.
    """
    if not folder.strip():
        raise UsageError("--to is empty: name a folder for the files")
    storage.require_here(folder, made)
    inside, outside = os.path.realpath(folder), os.path.realpath(store)
    if inside == outside or inside.startswith(outside + os.sep):
        raise UsageError(f"{folder} lies in the store; choose another folder with --to")


def require_own_folder(folder: str, store: str, what: str, is_ours: Callable[[str], bool], *, overwrite: bool) -> None:
    """See that files of one kind may be written to a folder.

    Parameters
    ----------
    what
        They are: "report".
    is_ours
        Whether such are in a folder.

    Raises
    ------
    UsageError
        As `require_outside`.
    KsegError
        If something else is there: a file, or a folder that is neither empty nor of an earlier one.
    """
    require_outside(folder, store, f"a {what} is written")
    if not os.path.lexists(folder):
        return
    if not os.path.isdir(folder):
        raise KsegError(f"{folder} is a file; choose another folder with --to")
    if not overwrite and os.listdir(folder) and not is_ours(folder):
        raise KsegError(
            f"{folder} holds other things than an earlier {what}; choose another folder with --to, or write the {what} "
            "among them with --overwrite"
        )
