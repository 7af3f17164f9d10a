"""Lists of inputs, as ``--from`` takes them: how their bytes become names, and which of them no person can mean.

A list is bytes, one name a line, and a name may be of bytes that are no text. Only what a byte order mark or the zeros
of UTF-16 and UTF-32 give away is decoded; nothing is guessed beyond that.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from urllib.parse import unquote

from kseg_core import storage
from kseg_core.errors import UsageError, system_reason
from kseg_core.inputs.keys import printable_source

_MARKS = {  # UTF-32's begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
LIKE = 0.85  # how much of a name is as it was typed, to be told as what was meant: not a.jpg for d.jpg
LEAST_LETTERS = 3  # single letters that are no files: fewer may be a slip
_QUOTES, _ADDRESS = "\"'", "file://"


def read_list(from_file: str, *, null: bool) -> list[str]:
    """The names in a list, a file's or (``-``) standard input's, separated by line ends or by NUL.

    Raises
    ------
    UsageError
        If it cannot be read, or is no list of names: of another encoding, or separated by NUL without ``null``.
    """
    called = _called(from_file)
    try:
        content = sys.stdin.buffer.read() if from_file == "-" else storage.read(from_file)
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the list {called}: {reason}") from None
    wide = _as_text(content, called, null=null)
    if wide is None and b"\0" in content and not null:
        raise UsageError(
            f"the list {called} has NUL bytes in it: add --null if they separate its names (find -print0); "
            "otherwise it is no list of names, one a line"
        )
    # Some editors mark UTF-8 so; what is no text stays as it is, byte by byte.
    text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8)) if wide is None else wide
    names = text.split("\0") if null else [line.removesuffix("\r") for line in text.split("\n")]
    return [name for name in names if name.strip()]


def _called(from_file: str) -> str:
    return "on standard input" if from_file == "-" else printable_source(from_file)


def _as_text(content: bytes, called: str, *, null: bool) -> str | None:
    """The text of a list in UTF-16 or UTF-32; None for one in bytes, UTF-8 among them."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            try:
                text = content[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"the list {called} begins as {encoding[:6].upper()} and is not ({error.reason}); save it as UTF-8"
                ) from None
            if "\0" in text and not null:
                raise UsageError(f"the list {called} has NUL characters in it: add --null if they separate its names")
            return text
    if null or b"\0" not in content:
        return None
    for encoding in _MARKS.values():
        with contextlib.suppress(UnicodeDecodeError):
            if _reads_as_lines(text := content.decode(encoding)):
                return text
    return None


def _reads_as_lines(text: str) -> bool:
    """Whether a text without a byte order mark is names, each on a line, so that its encoding was guessed right.

    In the wrong order of bytes an end of line is U+0A00, which is no character, and a letter of Latin is of another
    script or none. So lines must end, or all must be of Latin.
    """
    plain = all(character.isprintable() or character in "\r\n\t" for character in text)
    return plain and ("\n" in text or all(ord(character) < 0x250 for character in text))


def meant(name: str) -> str:
    """The path that a line may stand for where it is none itself: no shell has taken quotes and ``~`` from it."""
    path = name.strip()
    if len(path) > 1 and path[0] == path[-1] and path[0] in _QUOTES:
        path = path[1:-1]
    if path.lower().startswith(_ADDRESS):
        path = unquote(path[len(_ADDRESS) :].removeprefix("localhost"), errors="surrogateescape")
    return os.path.expanduser(path) if path and "\0" not in path else name


def like(path: str) -> str:
    """What there is that a path on this machine may mean which leads nowhere, as the end of a message."""
    folder, name = os.path.split(path.rstrip("/"))
    while folder and not os.path.isdir(folder):
        folder, name = os.path.split(folder)
    try:
        names = os.listdir(folder or ".") if name and not storage.is_remote(path) else []
    except OSError:
        return ""
    near = get_close_matches(name, names, 1, LIKE)
    return f"; did you mean {printable_source(os.path.join(folder, near[0]))}?" if near else ""


def why_missing(name: str) -> str:
    """Why there is no such file, as far as the line tells, and what to do."""
    path = meant(name)
    if path != name and storage.exists(path):
        return f"no such file or folder; write it as a plain path: {printable_source(path)}"
    if "\r" in name:
        return "no such file or folder; lines of a list end in LF or CR LF, not in CR alone"
    return "no such file or folder" + ("; a list has no comments" if name.lstrip().startswith("#") else "")


def require_plausible(names: Sequence[str], missing: Sequence[str], folders: Sequence[str], from_file: str) -> None:
    """Refuse a list that no person can mean, before anything of it is walked.

    Of its ``names`` those are given as well that are not there, and that are folders.

    Raises
    ------
    UsageError
        If its names are mostly single letters that are no files, or one is the root, the working folder or one above
        it, in whatever way it is written.
    """
    called = _called(from_file)
    letters = [name for name in missing if len(name.strip()) == 1]
    if len(letters) >= LEAST_LETTERS and 2 * len(letters) > len(names):
        raise UsageError(
            f"the list {called} is no list of names: {len(letters)} of its {len(names)} entries are single characters, "
            "and no such files are there; write it in UTF-8, one name a line"
        )
    paths = [(name, name) for name in folders] + [(name, meant(name)) for name in missing]
    for name, path in paths:
        if (what := _place(path)) is not None:
            raise UsageError(
                f"the list {called} names {printable_source(name.strip())!r} among its files, which is {what}: all "
                "images below it would be taken; leave that line out, or give the folder as an INPUT"
            )


def _place(path: str) -> str | None:
    """What a folder is that stands for far more than files; None for any other."""
    if storage.is_remote(path):
        return None
    folder, working = os.path.realpath(path), os.path.realpath(os.curdir)
    if folder == os.path.dirname(folder):
        return "the root of all folders"
    return "the working folder, or one above it" if f"{working}/".startswith(f"{folder}/") else None
