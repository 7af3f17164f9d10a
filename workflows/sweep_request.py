"""What a sweep is asked to do, checked before anything heavy is loaded; and what it says where it fails."""

from __future__ import annotations

import os
from typing import Any

from kseg_core import storage
from kseg_core.choice import InputSelection
from kseg_core.config import RunConfig
from kseg_core.errors import StoreError, UsageError
from kseg_core.inputs.listing import list_selected
from kseg_core.inputs.passed_over import is_sweep
from kseg_core.inputs.stacks import Stacking
from kseg_core.store.manifest import read_attributes

from .request import Request, default_output, require_mask
from .result import failed_result

SUFFIX = ".sweep"

KEYS = (
    "status", "output", "k", "k_range", "why", "knee", "features", "features_why", "scope", "images",
    "pixels", "sweep", "each", "failures", "notes", "seconds", "left_out",
)  # fmt: skip


def prepare_sweep(selection: InputSelection, config: RunConfig, output: str | None) -> Request:
    """Check a sweep against what is on disk.

    Parameters
    ----------
    selection, config
        The job; ``config.fit.k`` is ``"auto"``.
    output
        The folder to write to; None for the default name.

    Raises
    ------
    UsageError, KsegError
        If it cannot be done.
    """
    if output is not None and not output.strip():
        raise UsageError("-o is empty: name the folder to write, or leave it out for the default")
    if output is not None:
        storage.require_here(output, "a sweep writes its figure and table")
    listing = list_selected(selection, Stacking.of(config.input.stack))
    require_mask(config.input)
    output = default_output(selection, SUFFIX) if output is None else output.rstrip("/") or "/"
    _require_outside(output, selection)
    _require_free(output, overwrite=config.output.overwrite)
    return Request(listing, config, output, config.fingerprint(), "")


def failed_sweep(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a sweep that failed."""
    told = failed_result(error)
    known = {name: told.get(name) for name in KEYS}
    return {
        **known,
        "images": {"total": told["images"]["total"], "swept": 0, "failed": told["images"]["failed"]},
        "seconds": {"total": None, "read": None, "sweep": None},
        "left_out": [],
        "error": told["error"],
    }


def _require_outside(output: str, selection: InputSelection) -> None:
    """A figure among the images would be an image the next time."""
    place = os.path.realpath(output)
    for given in selection.inputs:
        if os.path.isdir(given) and f"{place}/".startswith(f"{os.path.realpath(given)}/"):
            raise UsageError(
                f"{output} is inside the input folder {given}, where its figure would count as an image; "
                "choose another output with -o"
            )


def _require_free(output: str, *, overwrite: bool) -> None:
    """A new folder may be written to, an empty one, an earlier sweep's; any other but a store with --overwrite."""
    if not os.path.lexists(output):
        return
    if not os.path.isdir(output):
        raise StoreError(f"{output} is not a folder; it is left alone. Choose another output with -o")
    if os.path.exists(os.path.join(output, "zarr.json")) or read_attributes(output) is not None:
        raise StoreError(f"{output} is a Zarr store; it is left alone. Choose another output with -o")
    if os.listdir(output) and not overwrite and not is_sweep(output):
        raise StoreError(
            f"{output} exists and does not hold a sweep; choose another output with -o, "
            "or write into it with --overwrite"
        )
