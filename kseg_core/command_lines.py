"""Command lines that messages name for a person to type, as a shell takes them."""

from __future__ import annotations

import os
import shlex

PROGRAM = "kseg-batch"


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


def command_line(name: str, *words: str) -> str:
    """A command of this program; each of ``words`` is one word of it, whatever characters it has.

    Examples
    --------
    >>> command_line("report", place("my store.zarr"))
    "kseg-batch report 'my store.zarr'"
    """
    return " ".join([PROGRAM, name, *map(word, words)])


def made_anew_by(store: str) -> str:
    """How what is damaged in a store is made anew."""
    return f"made anew by: {command_line('check', place(store), '--repair')}"
