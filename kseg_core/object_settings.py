"""Which regions are measured, one by one or in a table of classes.

Light on purpose (standard library only), as `kseg_core.config` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from .areas import Area, parse_area
from .errors import UsageError
from .options import joined, option, require_one_of

Of = Literal["classes", "clusters", "segments"]
WHOSE: tuple[str, ...] = get_args(Of)


def _names(values: Sequence[str]) -> tuple[str, ...]:
    """``plant,3`` as names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in joined(values).split(",") if name.strip()))


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """Which regions are objects.

    Parameters
    ----------
    of
        None: of classes where there are some, else of clusters.
    chosen
        Names of classes, or numbers of clusters; of segments, what most of their pixels are. None: all.
    min_area
        Pixels, or a text with a unit.
    """

    of: str | None = option(
        None,
        "With --objects: regions of classes, of clusters, or segments; with --table: of classes or of clusters. "
        "Default: of classes where there are some, else of clusters.",
        "Output",
        "|".join(WHOSE),
    )
    chosen: tuple[str, ...] | None = option(
        None,
        "With --objects or --table: those of these classes or clusters only, as in plant,3; may be given again.",
        "Output",
        "NAME|J,...",
        flag="cluster",
        many=True,
        parse=_names,
    )
    min_area: Area = option(
        1,
        "With --objects: leave out smaller regions: pixels, or an area like 50um2 where the size of a pixel is known.",
        "Output",
        "PX|AREA",
        parse=partial(parse_area, name="--min-area"),
    )

    def __post_init__(self) -> None:
        if self.of is not None:
            require_one_of("--of", self.of, WHOSE)
        if self.chosen is not None and not self.chosen:
            raise UsageError("--cluster is empty: name classes or clusters, as in plant,3")
        object.__setattr__(self, "min_area", parse_area(self.min_area, "--min-area"))

    @property
    def by(self) -> Literal["cluster", "class"] | None:
        """Whether labels are those of clusters or of classes, where that was said."""
        return "cluster" if self.of == "clusters" else "class" if self.of == "classes" else None
