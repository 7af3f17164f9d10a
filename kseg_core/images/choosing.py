"""Holding a `PictureChoice` against what a file has, and saying what was taken of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kseg_core.choice import PictureChoice
from kseg_core.images.raster import Refused
from kseg_core.sizes import counted

_COUNTED = {"z": "slice", "t": "point in time"}


def taken(name: str, wanted: int | None, count: int, default: int = 0) -> int:
    """Return which of ``count`` series, pages, … is read, from 0, or the default where none was ``wanted``.

    Raises
    ------
    Refused
        Where there is no such one, naming what there is, by the ``name`` of the option (such as ``"page"``).
    """
    if wanted is None:
        return default
    if wanted >= count:
        there = f"only --{name} 0" if count == 1 else f"--{name} 0 to {count - 1}"
        there += f" ({counted(count, _COUNTED.get(name, name))})" if name != "series" else f" ({count} series)"
        raise Refused(f"it has no {name} {wanted}; there is {there}")
    return wanted


def note(name: str, number: int, count: int, *, also: str = "", why: str = "") -> str:
    """Return the line that says which of ``count``, from 0, was taken and ``why``, and how another is chosen.

    ``also``: what may be chosen besides a number.
    """
    reason = f", {why}" if why else ""
    return f"{name} {number + 1} of {count}{reason}; --{name} chooses, from 0 to {count - 1}{also}"


def require_one_picture(choice: PictureChoice, form: str = "", of_several: str = "", *, channels: bool = True) -> None:
    """Raise a `Refused` where anything but the one picture of a file is chosen.

    Parameters
    ----------
    form, of_several
        The name of its format; where that may hold several, which is read, whatever is chosen.
    channels
        Whether no channel can be chosen either.
    """
    if choice.is_default:
        return
    if of_several and choice.page:
        raise Refused(
            f"--page does not choose from a {form} file: {of_several} is read (--page 0); convert it to a TIFF "
            "of several pages first"
        )
    for name, wanted in (("series", choice.series), ("page", choice.page), ("t", choice.t)):
        taken(name, wanted, 1)
    taken("z", None if choice.z == "max" else choice.z, 1)
    if channels and choice.channel is not None:
        raise Refused("--channel does not choose from such a file")


def axis_notes(sizes: Mapping[str, int], choice: PictureChoice) -> tuple[str, ...]:
    """Return what is said of slices and points in time that were left out where none was chosen, by axes' sizes."""
    notes = []
    if choice.z is None and sizes.get("z", 1) > 1:
        notes.append(note("z", 0, sizes["z"], also=", or max"))
    if choice.t is None and sizes.get("t", 1) > 1:
        notes.append(note("t", 0, sizes["t"]))
    others = {axis: size for axis, size in sizes.items() if axis not in "cztyxs" and size > 1}
    if others:
        named = ", ".join(f"{axis} (of {size})" for axis, size in others.items())
        notes.append(f"the first along {named}; {math.prod(others.values()) - 1} more are left out")
    return tuple(notes)
