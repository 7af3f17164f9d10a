"""Patterns of paths: ``include``, ``exclude``, and an INPUT such as ``photos/**/*.jpg``.

- ``*``, ``?`` and ``[a-z]`` stay within one name, ``**`` spans any number of folders, case is ignored;
- a pattern that matches a folder stands for everything below it, and one that ends in ``/`` matches folders only;
- an include or exclude pattern without ``/`` is held against every name on the way down from the input: a folder's, a
  file's with or without its suffix, or (``.jpg``) its suffix; one with ``/`` against the whole path below the input,
  and against the path as it was given. Files named one by one are matched by their name, or by the path that was given.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from kseg_core.errors import UsageError
from kseg_core.inputs.keys import printable_source
from kseg_core.storage import SCHEME, is_remote


def slashed(path: str) -> str:
    """The path with slashes, on any system."""
    return path.replace(os.sep, "/") if os.sep != "/" else path


def tidy(path: str) -> str:
    """Drop what says nothing (``./``, ``//``); ``..`` stays, since through a link it may lead anywhere."""
    leading = "/" if path.startswith("/") else ""
    if is_remote(path):
        leading, path = SCHEME, path.removeprefix(SCHEME)
    return leading + "/".join(part for part in path.split("/") if part not in ("", "."))


def joined(folder: str, below: str) -> str:
    """Two paths as one; either may be empty."""
    if not folder or not below:
        return folder or below
    return folder + below if folder.endswith("/") else f"{folder}/{below}"


def has_magic(text: str) -> bool:
    """Whether a text may be a pattern."""
    return any(sign in text for sign in "*?[")


def compiled(regex: str) -> re.Pattern[str]:
    """A regular expression that ignores case and takes any character of a name."""
    return re.compile(regex, re.DOTALL | re.IGNORECASE)


@dataclass(slots=True)
class Filter:
    """Patterns to include or exclude, and which of them have matched anything yet."""

    patterns: tuple[str, ...]
    matched: set[str] = field(default_factory=set)
    _names: dict[str, re.Pattern[str]] = field(default_factory=dict)
    _all: re.Pattern[str] | None = None
    _paths: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        if self.patterns:
            regexes = [pattern_regex(slashed(each), anchored=False) for each in self.patterns]
            self._names = dict(zip(self.patterns, map(compiled, regexes), strict=True))
            self._all = compiled("|".join(regexes))
            paths = [regex for each, regex in zip(self.patterns, regexes, strict=True) if "/" in each.rstrip("/")]
            self._paths = compiled("|".join(paths)) if paths else None

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, below: str, source: str = "") -> bool:
        """Whether one of them matches a path below an input, or the same path as it was given."""
        source = source.lstrip("/")  # as patterns have it
        by_path = self._paths is not None and self._paths.fullmatch(source) is not None
        is_match = by_path or (self._all is not None and self._all.fullmatch(below) is not None)
        if is_match and len(self.matched) < len(self._names):
            for pattern, regex in self._names.items():
                if regex.fullmatch(below) or (by_path and regex.fullmatch(source)):
                    self.matched.add(pattern)
        return is_match

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The patterns that have matched nothing."""
        return tuple(pattern for pattern in self.patterns if pattern not in self.matched)


def _pattern_parts(pattern: str) -> list[str]:
    """The names of a pattern; several ``**`` in a row say no more than one and cost far more."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if part not in ("", ".") and not (part == "**" and parts[-1:] == ["**"]):
            parts.append(part)
    if not parts:
        raise UsageError(f"not a pattern: '{printable_source(pattern)}'; give a name such as '*.jpg'")
    return parts


def pattern_regex(pattern: str, *, anchored: bool) -> str:
    """A regular expression for the paths a pattern matches and for everything below them."""
    parts = _pattern_parts(pattern)
    floating = not anchored and "/" not in pattern.rstrip("/")
    regex = "(?:.*/)?" if floating else ""
    for part in parts[:-1]:
        regex += "(?:[^/]+/)*" if part == "**" else _name_regex(part) + "/"
    if parts[-1] == "**":
        return regex + ".*"
    last = parts[-1]
    if anchored or has_magic(last) or pattern.endswith("/"):
        return regex + _name_regex(last) + ("/.*" if pattern.endswith("/") else "(?:/.*)?")
    if re.fullmatch(r"\.\w+", last):  # a suffix, or a hidden file's name
        return f"{regex}[^/]*{re.escape(last)}(?:/.*)?"
    suffix = "" if "." in last else r"|\.[^/]+"  # a name without the suffix it has
    return f"{regex}{re.escape(last)}(?:/.*{suffix})?"


def descend_regex(pattern: str) -> str:
    """A regular expression for the folders below which a pattern may match."""
    parts = _pattern_parts(pattern)
    names = parts[: parts.index("**")] if "**" in parts else parts
    regex = ".*"
    for part in reversed(names):
        regex = f"{_name_regex(part)}(?:/{regex})?"
    return regex


def _name_regex(part: str) -> str:
    """A regular expression for one name: ``*``, ``?`` and ``[...]`` never match a slash."""
    regex = ""
    at = 0
    while at < len(part):
        sign = part[at]
        end = part.find("]", at + 3 if part[at + 1 : at + 2] in ("!", "^") else at + 2) if sign == "[" else -1
        if end > 0:
            regex += _class_regex(part[at + 1 : end])
            at = end
        elif sign == "*":
            regex += "" if regex.endswith("[^/]*") else "[^/]*"
        else:
            regex += "[^/]" if sign == "?" else re.escape(sign)
        at += 1
    return regex


def _class_regex(body: str) -> str:
    negated = body[0] in "!^"
    body = body[negated:]
    members = ""
    at = 0
    while at < len(body):
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            if body[at] <= body[at + 2]:
                members += f"{re.escape(body[at])}-{re.escape(body[at + 2])}"
            at += 3
        else:
            members += re.escape(body[at])
            at += 1
    if negated:
        return f"[^/{members}]"
    return f"[{members}]" if members else "(?!)"
