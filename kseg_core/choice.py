"""Which files are read, and which picture of a file that holds several: a series, a page, channels, a slice, a time.

Light on purpose (standard library only): settings hold it, and are refused before anything heavy is loaded. All
numbers are from 0, as tifffile, Bio-Formats (``bfconvert -series 0 -z 0``), libtiff and libvips count, and as OME has
them (``TheZ="0"``). Only bands (``--bands``) are from 1, as GDAL and what flies over the ground count them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import storage
from .errors import UsageError
from .options import argument, from_json, option, to_json

Z = int | Literal["max"]

#: The release's rules for which picture of a file is read, and which of its pixels count. A store says by which it was
#: made; see `PictureInfo.rules`.
RULES = 2


@dataclass(frozen=True, slots=True)
class InputSelection:
    """What the user pointed at."""

    inputs: tuple[str, ...] = argument(
        "Image files, folders (searched recursively) or quoted globs; s3:// too.", "INPUT...", many=True
    )
    include: tuple[str, ...] = option(
        (),
        "Only files below a folder that match: a glob, a name with or without its suffix, a folder, or a suffix such "
        "as .jpg; case is ignored. May be given again.",
        "Input",
        "GLOB",
        many=True,
    )
    exclude: tuple[str, ...] = option(
        (),
        "Leave out files below a folder that match: as --include. May be given again.",
        "Input",
        "GLOB",
        many=True,
    )
    from_file: str | None = option(
        None, "Read inputs, one a line, from a file; - is standard input.", "Input", "FILE|-", flag="from"
    )
    null: bool = option(
        False, "The names of --from are separated by NUL, as find -print0 writes them.", "Input", short="0"
    )

    def __post_init__(self) -> None:
        if not self.inputs and self.from_file is None:
            raise UsageError("no INPUT: name files or folders, or give a list with --from")
        if self.null and self.from_file is None:
            raise UsageError("--null is of a list: give it with --from")
        for given in self.inputs:
            storage.require_known(given)


def _channels(values: Sequence[str]) -> tuple[int, ...] | None:
    texts = [text for value in values for text in value.replace(";", ",").split(",") if text.strip()]
    try:
        return tuple(int(text) for text in texts) if values else None
    except ValueError:
        raise UsageError(f"--channel takes numbers like 2,0,1; got {','.join(values)!r}") from None


def _slice(z: str) -> Z:
    try:
        return "max" if z == "max" else int(z)
    except ValueError:
        raise UsageError(f"--z is a number from 0 on, or max; got {z!r}") from None


@dataclass(frozen=True, slots=True)
class PictureChoice:
    """Which picture of a file; None: what the file's reader takes by itself, and says.

    ``channel`` is in the order wanted: they become the picture's bands.
    """

    series: int | None = option(
        None, "Which image of a file of several (OME-TIFF, SVS, SCN), from 0. Default: the largest.", "Input", "N"
    )
    page: int | None = option(
        None,
        "Which page of a TIFF, as it is stored, or frame of an animated GIF, PNG or WebP, from 0. Default: the "
        "largest, of equal ones the first.",
        "Input",
        "N",
    )
    channel: tuple[int, ...] | None = option(
        None,
        "Which channels, from 0, as in 2,0: they become the image's bands; may be given again. Default: all.",
        "Input",
        "N,...",
        many=True,
        parse=_channels,
    )
    z: Z | None = option(
        None,
        "Which slice of a stack, from 0, or max: the largest value over all. Default: the first.",
        "Input",
        "N|max",
        parse=_slice,
    )
    t: int | None = option(None, "Which point in time, from 0. Default: the first.", "Input", "N")

    def __post_init__(self) -> None:
        for name in ("series", "page", "z", "t"):
            value = getattr(self, name)
            if not (value is None or (name == "z" and value == "max") or (type(value) is int and value >= 0)):
                what = "a number from 0 on, or max" if name == "z" else "a number from 0 on"
                raise UsageError(f"--{name} is {what}; got {value!r}")
        if self.channel is not None:
            whole = all(type(number) is int and number >= 0 for number in self.channel)
            if not whole or not self.channel or len(set(self.channel)) != len(self.channel):
                raise UsageError(
                    f"--channel is a number from 0 on, or several like 2,0,1, each once; "
                    f"got {','.join(map(str, self.channel))}"
                )
        if self.page is not None:
            for name in ("series", "z", "t"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--page is one page as it is stored: leave out --{name}")

    @property
    def is_default(self) -> bool:
        """Whether nothing was chosen."""
        return self == DEFAULT

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for a store's settings."""
        return to_json(self, {"series", "page", "channel", "z", "t"})

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> PictureChoice:
        """What `to_json` told; of stores of earlier releases, the default.

        Raises
        ------
        UsageError
            If it is none.
        """
        return from_json(cls, told)


DEFAULT = PictureChoice()
