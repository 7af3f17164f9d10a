"""The folder of a report: only what is ours is ever replaced, and each file appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from kseg_core import storage
from kseg_core.errors import KsegError, UsageError
from kseg_core.inputs.passed_over import FIGURES, PAGE, is_report


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


def write_report(folder: str, files: Mapping[str, bytes]) -> None:
    """Write a report, the page last, so that what it tells of is there; an earlier one's other figures are removed.

    Parameters
    ----------
    folder
        Made if it is not there; nothing in it is touched but files named as ours are.
    files
        By name; ``report.html`` and some of ``FIGURES``.

    Raises
    ------
    KsegError
        If it cannot be written.
    """
    folder = os.fspath(folder).rstrip(os.sep) or folder
    aside = f"{folder}.{uuid.uuid4().hex[:8]}.partial"
    try:
        os.makedirs(aside)
        for name, content in files.items():
            (Path(aside) / name).write_bytes(content)
        if not os.path.lexists(folder):
            os.replace(aside, folder)
            return
        for name in sorted(files, key=lambda name: name == PAGE):
            os.replace(os.path.join(aside, name), os.path.join(folder, name))
        for name in FIGURES:
            if name not in files and os.path.isfile(os.path.join(folder, name)):
                os.unlink(os.path.join(folder, name))
    except OSError as error:
        raise KsegError(f"{folder}: the report cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
