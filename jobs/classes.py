"""``kseg-batch classes``: names for clusters, or for several of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kseg_core.classes import parse_class, parse_colors
from kseg_core.command_lines import command_line, made_anew_by, place, word
from kseg_core.config import AUTO, ExecutionSettings
from kseg_core.errors import UsageError
from kseg_core.options import argument, option

from ._options import WORKERS, Given, command
from ._render import class_rows, cut, n_images, printable
from ._runtime import DONE, SOME_UNREADABLE, General, Report

BY_PRICE = 0  # as many groups as the data itself suggests
MOST_CLUSTERS = 12  # of a group, that a table of proposals lists: the file has them all


def _named(texts: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    found = [parse_class(text) for text in texts]
    for name, _ in found:
        if sum(name == other for other, _ in found) > 1:
            raise UsageError(f"class {name!r} is given twice; give it once, with all of its clusters")
    return tuple(found)


def _painted(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple(parse_colors(texts).items())


def _groups(text: str) -> int:
    """How many groups; `BY_PRICE` of ``auto``."""
    if text.strip() == AUTO:
        return BY_PRICE
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"--suggest takes a number of classes from 1, or none; got {text!r}")
    return int(text)


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
    suggest: int | None = option(
        None,
        "Propose which clusters of a store are one class, so many classes of them: those that touch most and differ "
        "least go together. Without a number where the next would differ most. Printed as a file that --from takes; "
        "the store stays as it is.",
        "Output",
        "[N]",
        parse=_groups,
        bare=AUTO,
    )
    to: str | None = option(
        None, "With --suggest: write the proposal into this file, and print a table of it alone.", "Output", "FILE.toml"
    )

    def __post_init__(self) -> None:
        if self.to is not None and self.suggest is None:
            raise UsageError("--to is where --suggest writes to; of classes that are there: --toml > FILE.toml")
        if self.suggest is not None and self._sets_some:
            raise UsageError("--suggest proposes classes and sets none: leave out what sets or prints those there are")
        if self.clear and self.source is not None:
            raise UsageError("--from replaces all classes: leave out --clear")

    @property
    def _sets_some(self) -> bool:
        """Whether classes are set, or those that there are printed as a file."""
        return bool(self.named or self.color or self.source or self.clear or self.masks is not None or self.toml)


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
      kseg-batch classes images.kseg.zarr --suggest 3 > classes.toml
    """
    asked = given.make(Names)
    if asked.suggest is not None:
        return _suggest(asked, given, report)
    from workflows.classes import ClassChanges, as_toml, classes_of_all

    changes = ClassChanges(asked.clear, asked.source, asked.named, asked.color, asked.masks)
    if asked.toml and (report.as_json or not changes.asks_for_nothing):
        raise UsageError("--toml prints the classes that are there, and nothing else: give it alone")
    report.how_to_go_on = "the same command goes on"
    found = classes_of_all(asked.store, changes, given.make(ExecutionSettings), report.progress)
    lines = as_toml(asked.store).splitlines() if asked.toml else classes_lines(found)
    report.finish(found, lines)
    return SOME_UNREADABLE if found["failures"] else DONE


def _suggest(asked: Names, given: Given, report: Report) -> int:
    """A proposal: as a file whose comments are a table, or the table alone where the file is written."""
    from workflows.suggest import suggest_classes

    wanted = asked.suggest or None
    found = suggest_classes(asked.store, wanted, asked.to, given.make(ExecutionSettings), report.progress)
    lines = suggestion_lines(found)
    report.finish(
        found, lines if asked.to is not None else [*(f"# {line}" for line in lines), *found["toml"].splitlines()]
    )
    return SOME_UNREADABLE if found["failures"] else DONE


def suggestion_lines(found: dict[str, Any]) -> list[str]:
    """A proposal for a person."""
    groups = found["classes"]
    rows = [{**each, "clusters": _first(each["clusters"])} for each in groups]
    lines = [f"{printable(found['store'])}: {_n_classes(len(groups))} suggested, k {found['k']}", *class_rows(rows)]
    if found["wanted"] is not None and found["fewest"] is not None:
        lines.append(f"not {found['wanted']}: what is left touches nowhere, put it together by hand")
    if found["failures"]:
        bad = [f"  {printable(each['key'])}: {printable(each['reason'])}" for each in found["failures"]]
        lines += [f"without {n_images(len(bad))}; {made_anew_by(found['store'])}", *cut(bad, "images")]
    file = "FILE.toml" if found["output"] is None else found["output"]
    return [*lines, f"give names in it, then: {command_line('classes', place(found['store']), '--from', place(file))}"]


def _n_classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _first(clusters: list[int]) -> list[int | str]:
    more = len(clusters) - MOST_CLUSTERS
    return [*clusters] if more <= 1 else [*clusters[:MOST_CLUSTERS], f"… and {more} more"]


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
