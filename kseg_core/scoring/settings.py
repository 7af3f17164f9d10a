"""What is scored, and how; light, so that wrong usage is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from kseg_core.input_settings import InputSettings
from kseg_core.inputs.passed_over import is_score
from kseg_core.options import joined, option, require, require_one_of
from kseg_core.result_folder import require_own_folder
from kseg_core.segment_settings import parse_level

What = Literal["auto", "labels", "classes", "segments"]
Assign = Literal["majority", "one-to-one", "name"]

WHAT: tuple[str, ...] = get_args(What)
ASSIGN: tuple[str, ...] = get_args(Assign)
MOST_CLASSES = 1000  # of a reference: of more a table and a figure say nothing


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """Of a score.

    Parameters
    ----------
    assign
        None: by name where a class has the name of one of the reference, else by majority; of segments not at all.
    nodata
        As of `InputSettings`, of the reference.
    attribute
        Of polygons, the one that has their class.
    """

    what: str = option(
        "auto",
        f"What is scored: {', '.join(WHAT)}. auto: classes where clusters have names, else labels, which are clusters.",
        "Input",
        "NAME",
    )
    level: float | None = option(
        None,
        "With --what segments: cut their hierarchy at coarse, medium, fine, or a number from 0 (the finest) to 1. "
        "Default: as they are in the store.",
        "Input",
        "LEVEL",
        parse=partial(parse_level, flag="--level"),
    )
    assign: str | None = option(
        None,
        f"Which class of the reference each cluster stands for: {', '.join(ASSIGN)}. majority: the one that it has "
        "most pixels of; one-to-one: each a class of its own, so that most pixels agree; name: that of its name. "
        "Default: name where a class has the name of one, else majority; of segments none.",
        "Model",
        "HOW",
    )
    regions: bool = option(
        False,
        "The reference tells regions of one picture apart, as people draw them, and no classes: its numbers mean "
        "nothing beyond it. Always so of segments, unless --assign is given.",
        "Model",
    )
    nodata: str = option(
        "auto,0",
        "Values of the reference that are not judged: auto (what its file says), none, or numbers with commas; may be "
        "given again.",
        "Input",
        "V,...|auto|none",
        many=True,
        parse=lambda values: joined(values) or "auto,0",
    )
    attribute: str = option("class", "Which attribute of polygons is their class.", "Input", "NAME")
    overwrite: bool = option(
        False, "Write into a folder that holds other files too (none but files of a score are touched).", "Output"
    )

    def __post_init__(self) -> None:
        require_one_of("--what", self.what, WHAT)
        if self.assign is not None:
            require_one_of("--assign", self.assign, ASSIGN)
        if self.level is not None:
            object.__setattr__(self, "level", parse_level(self.level, "--level"))
            require(self.of_segments, "--level is of segments: add --what segments")
        require(
            not self.of_segments or self.assign in (None, "majority"),
            f"segments are assigned by majority; got --assign {self.assign}",
        )
        require(
            not self.regions or self.assign is None,
            "--regions says that the reference has no classes, and --assign gives some to clusters: leave one out",
        )
        require(
            bool(self.attribute.strip()), "--attribute is empty: name the attribute of polygons that is their class"
        )
        InputSettings(nodata=self.nodata)  # refuses what is none

    @property
    def of_segments(self) -> bool:
        """Whether segments are scored."""
        return self.what == "segments"

    @property
    def has_classes(self) -> bool:
        """Whether the reference is one of classes."""
        return not self.regions and (not self.of_segments or self.assign is not None)

    @property
    def nodata_values(self) -> tuple[float, ...]:
        """Values that are not judged."""
        return InputSettings(nodata=self.nodata).nodata_values

    @property
    def takes_stated_nodata(self) -> bool:
        """Whether what a file says of itself counts."""
        return InputSettings(nodata=self.nodata).takes_stated_nodata


def require_place(folder: str, store: str, *, overwrite: bool) -> None:
    """See that a score may be written to a folder.

    Raises
    ------
    UsageError, KsegError
        As `require_own_folder`.
    """
    require_own_folder(folder, store, "score", is_score, overwrite=overwrite)
