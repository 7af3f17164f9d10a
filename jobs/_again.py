"""The command line that was given, with something else in it: what to type next."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from kseg_core.command_lines import command_line, place, word

from ._origins import asked_context

NEXT = frozenset({"output", "kind", "overwrite", "dry_run"})  # what another command for another kind has of its own
MOST_INPUTS = 3  # that a command to be typed next repeats


def next_command(name: str, *more: str, without: Collection[str] = ()) -> str:
    """A command for the same inputs, with what of the options given it takes as well, and the words of ``more``.

    ``without`` names parameters that are not repeated.
    """
    context = asked_context()
    if context is None or context.parent is None:
        return command_line(name, "INPUT...", *more)
    group: Any = context.parent.command
    own = {parameter.name for parameter in group.commands[name].params}
    left = {parameter.name for parameter in context.command.params} - own | set(without)
    inputs = context.params.get("inputs") or ()
    many = ["INPUT..."] if not 0 < len(inputs) <= MOST_INPUTS and not context.params.get("from_file") else []
    given = _given(context, left | {"inputs"} if many else left)
    return command_line(name, *many, *given, *more)


def see_them(store: str) -> str:
    """What to type after images were labelled."""
    return f"see them: {command_line('report', place(store))}"


def find_segments(store: str) -> str:
    """What to type for more than clusters."""
    return f"parts that a person would tell apart: {command_line('segments', place(store))}"


def with_commands(result: dict[str, Any]) -> dict[str, Any]:
    """The result, which also tells how many images of each other kind were left out, and what labels these."""
    kinds = Counter(str(failure["kind"]) for failure in result["failures"] if "kind" in failure)
    left = [
        {"kind": kind, "images": count, "command": command_for(kind, str(result["output"]))}
        for kind, count in sorted(kinds.items())
    ]
    return {**result, "left_out": left}


def command_for(kind: str, output: str) -> str:
    """The command that labels images of another kind, into an output beside that of this one."""
    context = asked_context()
    folder, name = os.path.split(output)
    stem, dot, suffix = name.partition(".")
    there = os.path.join(folder, f"{stem}-{kind}{dot}{suffix}")
    more = ("--kind", kind, "-o", there)
    if context is None:
        return " ".join(["the same command", *map(word, more)])
    return command_line(str(context.info_name), *_given(context, NEXT), *more)


def _given(context: Any, without: Collection[str]) -> Iterator[str]:
    """The words of the command line: inputs, and options but those that differ."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if source is None or source.name != "COMMANDLINE" or parameter.name in without:
            continue
        value = context.params.get(parameter.name)
        values = value if isinstance(value, list | tuple) else [value]
        flags = [flag for flag in parameter.opts if flag.startswith("--")]
        if not flags:
            yield from (place(str(one)) for one in values)
        elif isinstance(value, bool):
            yield flags[0] if value else parameter.secondary_opts[0]
        else:
            for one in values:
                yield from (flags[0], str(one))
