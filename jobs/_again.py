"""The command line that was given, with something else in it: what to type next."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ._config import asked_context

NEXT = ("output", "kind", "overwrite", "dry_run")  # what another command for another kind has of its own


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
    given = ["kseg-batch", str(context.info_name), *_given(context)] if context is not None else ["the same command"]
    folder, name = os.path.split(output)
    stem, dot, suffix = name.partition(".")
    there = os.path.join(folder, f"{stem}-{kind}{dot}{suffix}")
    return " ".join([*map(shlex.quote, given), "--kind", kind, "-o", shlex.quote(there)])


def _given(context: Any) -> Iterator[str]:
    """The words of the command line: inputs, and options but those that differ."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if source is None or source.name != "COMMANDLINE" or parameter.name in NEXT:
            continue
        value = context.params.get(parameter.name)
        values = value if isinstance(value, list | tuple) else [value]
        flags = [flag for flag in parameter.opts if flag.startswith("--")]
        if not flags:
            yield from (str(one) for one in values)
        elif isinstance(value, bool):
            yield flags[0] if value else parameter.secondary_opts[0]
        else:
            for one in values:
                yield from (flags[0], str(one))
