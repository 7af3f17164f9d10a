"""Which pixels of the inputs count, and how they are smoothed. Light on purpose (standard library only), as
`kseg_core.config` is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from . import storage
from .band_files import AUTO as AUTO_STACK
from .band_files import StackRule
from .choice import DEFAULT, PictureChoice
from .errors import UsageError
from .options import from_json, joined, option, require, require_one_of, to_json
from .sizes import parse_length

NodataIn = Literal["any", "all"]

NODATA_IN: tuple[str, ...] = get_args(NodataIn)

# clusters: the elbow of the inertia curve; features: what suits most images; nodata: what the file says
AUTO: Literal["auto"] = "auto"
MOST_SMOOTH_PX = 16  # of more a pixel's surroundings are rather another place than a noisier view of the same
SMOOTH_TAKES = f"--smooth takes whole pixels from 1 to {MOST_SMOOTH_PX}, a length like 2um or 1.5m, or 0 for none"
PIXEL_SIZE_TAKES = "--pixel-size is the length of a pixel's side with its unit, as in 0.12mm or 0.25um"
VALIDITY = 2  # the rules of which pixels count: 1 are those of release 0.1.0, whose stores do not say


def _smooth(text: str) -> int | str:
    """A scale in pixels, or a length as it is told."""
    number, unit = parse_length(text, SMOOTH_TAKES)
    if unit:
        return f"{number:.12g}{unit}"
    require(number.is_integer(), f"{SMOOTH_TAKES}; got {text!r}")
    return int(number)


def _pixel_size(text: str) -> str:
    """A length as it is told."""
    number, unit = parse_length(text, PIXEL_SIZE_TAKES)
    require(bool(unit), f"{PIXEL_SIZE_TAKES}; got {text!r}")
    return f"{number:.12g}{unit}"


@dataclass(frozen=True, slots=True)
class InputSettings:
    """Which pixels of the inputs count, and what is too large.

    Parameters
    ----------
    nodata_in
        None: any of bands, all of colours, where 0 is also a colour. Of the bands that are selected.
    stack
        ``auto``, or a pattern (`StackRule`); None: each file is an image.
    smooth
        Pixels, or a text with a unit; 0 is none, and None what the model says that is given.
    pixel_size
        A text with a unit; None: what files say.
    validity
        Which rules are followed. 1, for what was made by release 0.1.0: nodata in all of the bands, and the masks that
        files carry are not used; alpha is the last band of a TIFF, by its tags alone.
    """

    nodata: str = option(
        "auto",
        "Values that stand for no data: auto (what the file says), none, -9999,0 (numbers), or auto,-9999; may be "
        "given again.",
        "Input",
        "V,...|auto|none",
        many=True,
        parse=lambda values: joined(values) or AUTO,
    )
    mask: str | None = option(
        None,
        "Pixels where this image is 0, or outside these polygons (GeoJSON, shapefile, GeoPackage, ...), are invalid; "
        "or a folder of such masks with the images' names.",
        "Input",
        "PATH",
    )
    max_pixels: int = option(1 << 29, "Refuse larger images that cannot be read by windows.", "Input", "N")
    choice: PictureChoice = DEFAULT
    stack: str | None = option(
        None,
        "Files of single bands are put together, one image a scene: auto (named as Sentinel-2, Landsat and drones name "
        "them, by colours or wavelengths), or by a pattern of their names such as '{scene}_{band}.tif'.",
        "Input",
        "auto|PATTERN",
        bare=AUTO_STACK,
    )
    nodata_in: NodataIn | None = option(
        None,
        "A pixel is invalid where any or all of its bands are nodata. Default: any of bands, all of colours.",
        "Input",
        "any|all",
    )
    smooth: int | str | None = option(
        None,
        f"Smooth pixels, along edges and not across them, before they are clustered and labelled: at a scale of 1 to "
        f"{MOST_SMOOTH_PX} pixels, or of a length where images say how large pixels are, as in 2um or 1.5m; 0: not. "
        "Default: not, and with a model as it was fitted.",
        "Input",
        "PX|LENGTH",
        parse=_smooth,
    )
    pixel_size: str | None = option(
        None,
        "The side of a pixel of images without a place on the ground, as in 0.12mm or 0.25um: instead of what their "
        "files say, which of photographs is nothing. Areas and lengths go by it.",
        "Input",
        "LENGTH",
        parse=_pixel_size,
    )
    validity: int = VALIDITY

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodata", str(self.nodata))  # from Python it may be a number
        try:
            _ = self.nodata_values
        except ValueError:
            raise UsageError(
                f"--nodata is auto, none, or numbers with commas between them; got {self.nodata!r}"
            ) from None
        require(self.mask is None or storage.exists(self.mask), f"no such mask or folder of masks: {self.mask}")
        _ = self.stack_rule  # which refuses what is none
        require(self.max_pixels >= 1, f"--max-pixels is at least 1; got {self.max_pixels}")
        if self.nodata_in is not None:
            require_one_of("--nodata-in", self.nodata_in, NODATA_IN)
        if self.pixel_size is not None:
            object.__setattr__(self, "pixel_size", _pixel_size(str(self.pixel_size)))
        if isinstance(self.smooth, str):
            object.__setattr__(self, "smooth", _smooth(self.smooth))
        if self.smooth is not None and not isinstance(self.smooth, str):
            fits = type(self.smooth) is int and 0 <= self.smooth <= MOST_SMOOTH_PX
            require(fits, f"{SMOOTH_TAKES}; got {self.smooth!r}")

    @property
    def stack_rule(self) -> StackRule | None:
        """How files of single bands are put together; None: each is an image."""
        return None if self.stack is None else StackRule(self.stack)

    @property
    def nodata_values(self) -> tuple[float, ...]:
        """The values given; whole numbers as such, which may be beyond what a float can tell apart."""
        if self.nodata == "none":
            return ()
        return tuple(_number(text) for text in self._nodata if text != AUTO)

    @property
    def takes_stated_nodata(self) -> bool:
        """Whether what a file says of itself counts."""
        return AUTO in self._nodata

    @property
    def _nodata(self) -> list[str]:
        return [text.strip() for text in self.nodata.split(",")]

    def as_before(self) -> InputSettings:
        """The same by the rules of release 0.1.0."""
        return dataclasses.replace(self, validity=1)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the choice's among the others'; in the words of the release whose rules are followed."""
        values = to_json(self, {"nodata", "mask", "max_pixels", "validity"})
        values.pop("choice", None)
        if not self.smooth:
            values.pop("smooth", None)
        if self.pixel_size is None:
            values.pop("pixel_size", None)
        if self.validity == 1:
            del values["validity"]
        return values | self.choice.to_json()

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> InputSettings:
        """What `to_json` told; what is not among it has its default, and the rules are the first where none are told.

        Raises
        ------
        UsageError
            If something of it is no such setting, or the mask is not there.
        """
        return from_json(cls, {"validity": 1, **told, "choice": PictureChoice.from_json(told)})


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
