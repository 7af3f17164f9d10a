"""The command line that was given, with something else in it: what to type next."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from ._origins import asked_context

NEXT = frozenset({"output", "kind", "overwrite", "dry_run"})  # what another command for another kind has of its own
MOST_INPUTS = 3  # that a command to be typed next repeats


def word(text: str) -> str:
    """A text as one word for a shell, and printable whatever is in it."""
    if os.name == "nt":
        import subprocess

        return subprocess.list2cmdline([text])
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(c if c.isprintable() and c not in "'\\" else _escaped(c) for c in text)
    return f"$'{escaped}'"


def _escaped(character: str) -> str:
    """Its bytes, as shells read them between ``$'`` and ``'``."""
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def place(path: str) -> str:
    """A path that is no option, whatever it begins with."""
    return f"./{path}" if path.startswith("-") and path != "-" else path


def next_command(name: str, *more: str, without: Collection[str] = ()) -> str:
    """A command for the same inputs, with what of the options given it takes as well, and ``more``.

    ``without`` names parameters that are not repeated.
    """
    context = asked_context()
    if context is None or context.parent is None:
        return " ".join(["kseg-batch", name, "INPUT...", *more])
    group: Any = context.parent.command
    own = {parameter.name for parameter in group.commands[name].params}
    left = {parameter.name for parameter in context.command.params} - own | set(without)
    inputs = context.params.get("inputs") or ()
    many = ["INPUT..."] if not 0 < len(inputs) <= MOST_INPUTS and not context.params.get("from_file") else []
    given = _given(context, left | {"inputs"} if many else left)
    return " ".join(["kseg-batch", name, *many, *map(word, given), *more])


def see_them(store: str) -> str:
    """What to type after images were labelled."""
    return f"see them: kseg-batch report {word(place(store))}"


def find_segments(store: str) -> str:
    """What to type for more than clusters."""
    return f"parts that a person would tell apart: kseg-batch segments {word(place(store))}"


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
    given = (
        ["kseg-batch", str(context.info_name), *_given(context, NEXT)] if context is not None else ["the same command"]
    )
    folder, name = os.path.split(output)
    stem, dot, suffix = name.partition(".")
    there = os.path.join(folder, f"{stem}-{kind}{dot}{suffix}")
    return " ".join([*map(word, given), "--kind", kind, "-o", word(there)])


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
