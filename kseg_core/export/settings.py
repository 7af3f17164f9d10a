"""What is to be exported; checked before anything heavy is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

from kseg_core.errors import UsageError
from kseg_core.options import joined, option, require_one_of
from kseg_core.products import FORMATS, KINDS, Palette, What, content_of, format_named, formats_to_choose
from kseg_core.segment_settings import parse_level

*_MOST, _LAST = (kind.name for kind in KINDS.values() if kind.clusters != "all")
_OF_CLUSTERS = f"{', '.join(_MOST)} and {_LAST}"
_BY = ", ".join(kind.name for kind in KINDS.values() if kind.has_by).capitalize()
BY: tuple[What, ...] = get_args(What)
_OUTLINES = ", ".join(kind.name for kind in KINDS.values() if "outlines" in kind.contents)
_PAINTED = ", ".join(kind.name for kind in KINDS.values() if kind.is_painted)
MOST_SIMPLIFY_PX = 100  # beyond it outlines have little to do with pixels


def _names(values: Sequence[str]) -> tuple[str, ...]:
    """``segmented,masks`` as names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in joined(values).split(",") if name.strip()))


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is made of each image.

    Parameters
    ----------
    what
        Some of `KINDS`.
    clusters
        Of kinds that are of clusters: names of classes, or numbers of clusters; None: each.
    format
        ``auto``: as `written_as` has it; a format also by its suffix, as in ``tif``.
    palette
        In which colours clusters are that were given none.
    level
        At which segments are cut, 0 to 1; None: as they are in the store.
    by
        Of kinds that are of labels: whether of classes or of clusters; None: masks, cut-outs and outlines are of
        classes where there are some, all else of clusters.
    """

    what: tuple[str, ...] = option(
        ("segmented",),
        f"What to make of each image: {', '.join(KINDS)}; may be given again.",
        "Output",
        "LIST",
        many=True,
        parse=_names,
    )
    clusters: tuple[str, ...] | None = option(
        None,
        f"{_OF_CLUSTERS.capitalize()} of these classes or clusters only, as in plant,3; a cut-out shows them together; "
        "may be given again.",
        "Output",
        "NAME|J,...",
        flag="cluster",
        many=True,
        parse=_names,
    )
    format: str = option(
        "auto",
        f"{', '.join(formats_to_choose())}, or auto: GeoTIFF for georeferenced images, else PNG up to 64 megapixels "
        "and tiled TIFF above.",
        "Output",
        "NAME",
    )
    palette: Palette = option(
        "mean",
        f"Colours of {_PAINTED}: the mean colour of each cluster, or distinct ones, which are told apart also by those "
        "who do not see red, green or blue. A colour that a class was given stays.",
        "Output",
        "mean|distinct",
    )
    line: str = option("#ffff00", "Colour of the boundaries.", "Output", "COLOUR", flag="line-color")
    min_area_px: int = option(
        1, f"With --what {_OUTLINES}: leave out regions with fewer pixels.", "Output", "PX", flag="min-area"
    )

    simplify_px: float = option(
        0.0,
        f"With --what {_OUTLINES}: leave out corners of outlines as long as no point of them moves by more than this; "
        "neighbours keep sharing their borders, and no region is lost. Pixels make stairs of 0.7. 0: every corner.",
        "Output",
        "PX",
        flag="simplify",
    )

    level: float | None = option(
        None,
        "With --what segments: cut their hierarchy at coarse, medium, fine, or a number from 0 (the finest) to 1. "
        "Default: as they are in the store.",
        "Output",
        "LEVEL",
        parse=partial(parse_level, flag="--level"),
    )

    by: str | None = option(
        None,
        f"{_BY} of classes, or of clusters. Default: {_OF_CLUSTERS} of classes where clusters have names, all else of "
        "clusters.",
        "Output",
        "|".join(BY),
    )

    def __post_init__(self) -> None:
        if not self.what:
            raise UsageError(f"--what is empty: name some of {', '.join(KINDS)}")
        for kind in self.what:
            if kind not in KINDS:
                raise UsageError(f"--what takes {', '.join(KINDS)}; got {kind!r}")
        object.__setattr__(self, "format", format_named(self.format))
        formats = ["auto", *formats_to_choose()]
        if self.format not in formats:
            raise UsageError(f"--format is one of {', '.join(formats)}; got {self.format!r}")
        there = {content for kind in self.what for content in KINDS[kind].contents}
        if self.format != "auto" and FORMATS[self.format].content not in there:
            raise UsageError(f"--format {self.format} writes none of --what {','.join(self.what)}: leave it out")
        if self.level is not None:
            object.__setattr__(self, "level", parse_level(self.level, "--level"))
            if "segments" not in self.what:
                raise UsageError("--level is of segments, and --what names none: add --what segments")
        if self.clusters is not None:
            object.__setattr__(self, "clusters", tuple(map(str, self.clusters)))
            if not self.clusters:
                raise UsageError("--cluster is empty: name classes or clusters, as in plant,3")
            if all(KINDS[kind].clusters == "all" for kind in self.what):
                raise UsageError(f"--cluster chooses for {_OF_CLUSTERS}; --what names none of them")
        if self.by is not None:
            require_one_of("--by", self.by, BY)
            if not any(KINDS[kind].has_by for kind in self.what):
                raise UsageError(f"--by is of {_BY.lower()}; --what names none of them: leave it out")
        if self.palette not in get_args(Palette):
            raise UsageError(f"--palette is {' or '.join(get_args(Palette))}; got {self.palette!r}")
        if self.palette != "mean" and not any(KINDS[kind].is_painted for kind in self.what):
            raise UsageError(f"--palette is of {_PAINTED}, and --what names none of them: leave it out")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.line):
            raise UsageError(f"--line-color is like '#ffff00'; got {self.line!r}")
        if self.min_area_px < 1:
            raise UsageError(f"--min-area is at least 1 pixel; got {self.min_area_px}")
        no_outlines = all(content_of(KINDS[kind], self.format) != "outlines" for kind in self.what)
        if self.min_area_px > 1 and no_outlines:
            told = f"--min-area leaves out small outlines of {_OUTLINES}"
            raise UsageError(f"{told}, and --what and --format ask for none: leave it out")
        if not 0 <= self.simplify_px <= MOST_SIMPLIFY_PX:  # which NaN is not either
            raise UsageError(f"--simplify is 0 to {MOST_SIMPLIFY_PX} pixels; got {self.simplify_px}")
        if self.simplify_px and no_outlines:
            raise UsageError(
                f"--simplify is of the outlines of {_OUTLINES}, and --what, with --format, names none: leave it out"
            )

    @property
    def legend_by(self) -> What | None:
        """As `Legend.of` takes it, of masks, cut-outs and outlines."""
        return next((each for each in BY if each == self.by), None)

    @property
    def line_rgb(self) -> tuple[int, int, int]:
        """The colour of boundaries."""
        red, green, blue = bytes.fromhex(self.line[1:])
        return red, green, blue
