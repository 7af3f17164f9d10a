"""What is to be exported; checked before anything heavy is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kseg_core.errors import UsageError

from .kinds import KINDS

FORMATS = ("auto", "png", "tiff")


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is made of each image.

    Parameters
    ----------
    what
        Some of `KINDS`.
    clusters
        Only these, of kinds that are of clusters; None: each.
    format
        ``png``, ``tiff``, or ``auto``: GeoTIFF for what lies on the ground, PNG up to `PNG_PX` pixels, TIFF above.
    line
        Colour of boundaries, ``#rrggbb``.
    min_area_px
        Polygons of regions with fewer pixels are left out.
    """

    what: tuple[str, ...] = ("segmented",)
    clusters: tuple[int, ...] | None = None
    format: str = "auto"
    line: str = "#ffff00"
    min_area_px: int = 1

    def __post_init__(self) -> None:
        if not self.what:
            raise UsageError(f"--what is empty: name some of {', '.join(KINDS)}")
        for kind in self.what:
            if kind not in KINDS:
                raise UsageError(f"--what takes {', '.join(KINDS)}; got {kind!r}")
        if self.format not in FORMATS:
            raise UsageError(f"--format is one of {', '.join(FORMATS)}; got {self.format!r}")
        if self.clusters is not None:
            if not self.clusters or min(self.clusters) < 0:
                raise UsageError(f"--cluster takes numbers from 0, as in 0,2; got {','.join(map(str, self.clusters))}")
            if all(KINDS[kind].clusters == "all" for kind in self.what):
                raise UsageError("--cluster chooses for masks, cutout and polygons; --what names none of them")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.line):
            raise UsageError(f"--line-color is like '#ffff00'; got {self.line!r}")
        if self.min_area_px < 1:
            raise UsageError(f"--min-area is at least 1 pixel; got {self.min_area_px}")
        if self.min_area_px > 1 and "polygons" not in self.what:
            raise UsageError("--min-area leaves out small polygons, and --what names no polygons: leave it out")

    @property
    def line_rgb(self) -> tuple[int, int, int]:
        """The colour of boundaries."""
        red, green, blue = bytes.fromhex(self.line[1:])
        return red, green, blue
