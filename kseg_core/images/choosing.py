"""Holding a `PictureChoice` against what a file has, and saying what was taken of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kseg_core.choice import PictureChoice
from kseg_core.images.raster import Refused
from kseg_core.sizes import counted


def taken(name: str, wanted: int | None, count: int, default: int = 0) -> int:
    """Return which of ``count`` series, pages, … is read, from 0.

    Parameters
    ----------
    name
        Of the option, such as ``"page"``.
    wanted
        As chosen; None: ``default``.

    Raises
    ------
    Refused
        Where there is no such one, naming what there is.
    """
    if wanted is None:
        return default
    if wanted >= count:
        there = f"only --{name} 0" if count == 1 else f"--{name} 0 to {count - 1}"
        raise Refused(f"it has no {name} {wanted}; there is {there} ({_counted(name, count)})")
    return wanted


def _counted(name: str, count: int) -> str:
    """How many there are, in words."""
    if name == "series":
        return f"{count} series"
    return counted(count, {"z": "slice", "t": "point in time"}.get(name, name))


def note(name: str, number: int, count: int, *, also: str = "", why: str = "") -> str:
    """Return the line that says which of several was taken, and how another is chosen.

    Parameters
    ----------
    name
        Of the option.
    number, count
        Which, from 0, of how many.
    also
        What may be chosen besides a number.
    why
        What is special about it.
    """
    reason = f", {why}" if why else ""
    return f"{name} {number + 1} of {count}{reason}; --{name} chooses, from 0 to {count - 1}{also}"


def require_one_picture(choice: PictureChoice, form: str = "", of_several: str = "", *, channels: bool = True) -> None:
    """Refuse to choose from a file that holds one picture anything but that.

    Parameters
    ----------
    form, of_several
        The name of its format; where that may hold several, which is read, whatever is chosen.
    channels
        Whether no channel can be chosen either.

    Raises
    ------
    Refused
        Naming what there is.
    """
    if choice.is_default:
        return
    if of_several and choice.page:
        raise Refused(
            f"--page does not choose from a {form} file: {of_several} is read (--page 0); convert it to a TIFF "
            "of several pages first"
        )
    for name in ("series", "page", "t"):
        taken(name, {"series": choice.series, "page": choice.page, "t": choice.t}[name], 1)
    taken("z", None if choice.z == "max" else choice.z, 1)
    if channels and choice.channel is not None:
        raise Refused("--channel does not choose from such a file")


def axis_notes(sizes: Mapping[str, int], choice: PictureChoice) -> tuple[str, ...]:
    """Return what is said of slices and points in time that were left out where none was chosen.

    Parameters
    ----------
    sizes
        How many there are along each axis, by its name in lower case.
    """
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
