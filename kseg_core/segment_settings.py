"""What is asked of segments, and what their levels mean; known without NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import UsageError
from .options import option

Scale = Literal["auto", "photo", "native"]
SCALES: tuple[str, ...] = get_args(Scale)
WhosePalette = Literal["image", "shared"]
PALETTES: tuple[str, ...] = get_args(WhosePalette)

LEVELS = {"coarse": 0.6, "medium": 0.5, "fine": 0.36}  # some 5, 10 and 22 segments of a photograph of BSDS500
MOST = 253  # levels are stored in so many steps of 1; what is beyond stands for pixels that do not count


def parse_level(text: str | float, flag: str = "--segments") -> float:
    """A level from its name, or from a number from 0 to 1.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if isinstance(text, str) and text in LEVELS:
        return LEVELS[text]
    try:
        level = float(text)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 1:
        names = ", ".join(LEVELS)
        raise UsageError(f"{flag} takes {names}, or a level from 0 (the finest) to 1 (one segment); got {text!r}")
    return level


def level_name(level: float) -> str:
    """The name of a level that has one, else its number."""
    return next((name for name, value in LEVELS.items() if value == level), f"{level:g}")


def _of_flag(text: str | float) -> float:
    return parse_level(text, "--level")


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """How segments are found.

    Parameters
    ----------
    level
        Where the hierarchy is cut, 0 (the finest) to 1 (one segment).
    scale
        At which scale the hierarchy is made: that of a photograph, whatever its resolution (``photo``), pixel by pixel
        (``native``), or pixel by pixel where the size of a pixel is known and of bands, else that of a photograph.
    palette
        Whose colours regions are compared by: the image's own, or one palette of all images of the store (``shared``).
    """

    level: float = option(
        LEVELS["medium"],
        "Where the hierarchy is cut: coarse, medium, fine, or a number from 0 (the finest) to 1 (one segment).",
        "Output",
        "LEVEL",
        parse=_of_flag,
    )
    scale: Scale = "auto"
    palette: WhosePalette = "image"

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", _of_flag(self.level))
        if self.scale not in SCALES:
            raise UsageError(f"--segment-scale is one of {', '.join(SCALES)}; got {self.scale!r}")
        if self.palette not in PALETTES:
            raise UsageError(f"--segment-palette is one of {', '.join(PALETTES)}; got {self.palette!r}")

    @property
    def most(self) -> int:
        """The highest step of a boundary that has vanished at this level."""
        return round(self.level * MOST)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"level": self.level, "scale": self.scale, "palette": self.palette}
