"""``kseg-batch classes``: names for clusters, or for several of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kseg_core.classes import parse_class, parse_colors
from kseg_core.command_lines import made_anew_by, word
from kseg_core.config import ExecutionSettings
from kseg_core.errors import UsageError
from kseg_core.options import argument, option

from ._options import WORKERS, Given, command
from ._render import class_rows, cut, n_images, printable
from ._runtime import DONE, SOME_UNREADABLE, General, Report


def _named(texts: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    found = [parse_class(text) for text in texts]
    for name, _ in found:
        if sum(name == other for other, _ in found) > 1:
            raise UsageError(f"class {name!r} is given twice; give it once, with all of its clusters")
    return tuple(found)


def _painted(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple(parse_colors(texts).items())


@dataclass(frozen=True, slots=True)
class Names:
    """Whose classes, and what becomes of them."""

    store: str = argument("A model, or a store made by run or apply.", "STORE|MODEL", required=True)
    named: tuple[tuple[str, tuple[int, ...]], ...] = argument(
        "A class and its clusters, by number; NAME= removes a class. Without any the classes are printed.",
        "NAME=1,2,4",
        default=(),
        many=True,
        parse=_named,
    )
    color: tuple[tuple[str, str], ...] = option(
        (),
        "What a class is painted with, as in 'plant=#2ca02c'; 'plant=mean' is the mean colour of its clusters, as "
        "without; may be given again.",
        "Output",
        "NAME=COLOUR",
        many=True,
        parse=_painted,
    )
    source: str | None = option(
        None,
        "Classes of a TOML file take the place of those that are there: a table of the name classes with "
        "lines like plant = 1, 2, 4 in brackets, and perhaps one of colors, as --toml prints them.",
        "Output",
        "FILE.toml",
        flag="from",
    )
    clear: bool = option(False, "Take all names away, before any that are given.", "Output")
    masks: bool | None = option(
        None, "Of a store: also a mask of each class (class_masks), or none any more. Default: as it is.", "Output"
    )
    toml: bool = option(False, "Print the classes as a file that --from takes.", "Output")

    def __post_init__(self) -> None:
        if self.clear and self.source is not None:
            raise UsageError("--from replaces all classes: leave out --clear")


@command("classes", Names, WORKERS, General, failed=lambda error: {"status": "failed", "error": str(error)})
def classes(given: Given, report: Report) -> int:
    """Give clusters names, alone or several together, or print those they have.

    Clusters without a name stay classes of their own, called by their numbers. Names go with the model: apply, --match
    and --refit hand them on.

    Examples:

      kseg-batch classes images.kseg.zarr
      kseg-batch classes images.kseg.zarr plant=1,2,4 soil=0,3
      kseg-batch classes images.kseg.zarr --color 'plant=#2ca02c'
      kseg-batch classes images.kseg.zarr --toml > classes.toml
      kseg-batch classes palette.zarr --from classes.toml
      kseg-batch classes images.kseg.zarr --clear
    """
    asked = given.make(Names)
    from workflows.classes import ClassChanges, as_toml, classes_of_all

    changes = ClassChanges(asked.clear, asked.source, asked.named, asked.color, asked.masks)
    if asked.toml and (report.as_json or not changes.asks_for_nothing):
        raise UsageError("--toml prints the classes that are there, and nothing else: give it alone")
    report.how_to_go_on = "the same command goes on"
    found = classes_of_all(asked.store, changes, given.make(ExecutionSettings), report.progress)
    lines = as_toml(asked.store).splitlines() if asked.toml else classes_lines(found)
    report.finish(found, lines)
    return SOME_UNREADABLE if found["failures"] else DONE


def classes_lines(found: dict[str, Any]) -> list[str]:
    """The classes for a person."""
    output = printable(found["output"])
    named = "1 named class" if found["named"] == 1 else f"{found['named'] or 'no'} named classes"
    set_now = "set: " if found["changed"] else ""
    lines = [f"{output}: {set_now}{named}, k {found['k']}", *class_rows(found["classes"])]
    if found["failures"]:
        bad = [f"  {printable(each['key'])}: {printable(each['reason'])}" for each in found["failures"]]
        lines += [f"no classes of {n_images(len(bad))}; {made_anew_by(found['output'])}", *cut(bad, "images")]
    if not found["finished"]:
        lines.append("not all images have these classes, as a command was stopped: the same command goes on")
    if not found["named"]:
        lines.append(f"name some: kseg-batch classes {word(found['output'])} NAME=0,1")
    return lines
