"""Which picture of a file that holds several: a series, a page, channels, a slice, a point in time.

Light on purpose (standard library only): settings hold it, and are refused before anything heavy is loaded. All
numbers are from 0, as tifffile, Bio-Formats (``bfconvert -series 0 -z 0``), libtiff and libvips count, and as OME has
them (``TheZ="0"``). Only bands (``--bands``) are from 1, as GDAL and what flies over the ground count them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .errors import UsageError

Z = int | Literal["max"]

#: The release's rules for which picture of a file is read, and which of its pixels count. A store says by which it was
#: made; see `PictureInfo.rules`.
RULES = 2


@dataclass(frozen=True, slots=True)
class PictureChoice:
    """Which picture of a file; None: what the file's reader takes by itself, and says.

    Parameters
    ----------
    series
        One image of an OME-TIFF, SVS, SCN, ... (those of a Zarr group are inputs of their own).
    page
        One page of a TIFF as it is stored: its directory's number; or a frame of an animation.
    channel
        Which channels, in the order wanted: they become the picture's bands.
    z
        One slice, or ``"max"``: the largest value over all slices.
    t
        One point in time.
    """

    series: int | None = None
    page: int | None = None
    channel: tuple[int, ...] | None = None
    z: Z | None = None
    t: int | None = None

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
        told = dataclasses.asdict(self)
        return told | {"channel": None if self.channel is None else list(self.channel)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> PictureChoice:
        """What `to_json` told; of stores of earlier releases, the default.

        Raises
        ------
        UsageError
            If it is none.
        """
        channel = told.get("channel")
        many = tuple(channel) if isinstance(channel, list) else None
        return cls(told.get("series"), told.get("page"), many, told.get("z"), told.get("t"))


DEFAULT = PictureChoice()


def choice_of(
    series: int | None = None,
    page: int | None = None,
    channel: Sequence[str] | None = None,
    z: str | None = None,
    t: int | None = None,
) -> PictureChoice:
    """The choice that options say: ``z`` is a number or ``max``, ``channel`` numbers with commas.

    Raises
    ------
    UsageError
        If they are none.
    """
    slice_: Z | None = None
    if z is not None:
        try:
            slice_ = "max" if z == "max" else int(z)
        except ValueError:
            raise UsageError(f"--z is a number from 0 on, or max; got {z!r}") from None
    channels: tuple[int, ...] | None = None
    if channel:
        texts = [text for value in channel for text in value.replace(";", ",").split(",") if text.strip()]
        try:
            channels = tuple(int(text) for text in texts)
        except ValueError:
            raise UsageError(f"--channel takes numbers like 2,0,1; got {','.join(channel)!r}") from None
    return PictureChoice(series, page, channels, slice_, t)
