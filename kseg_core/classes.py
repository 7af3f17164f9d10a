"""Named classes: what people report, each of one cluster or of several.

Named classes are numbered from 0 in the order given. Every cluster that is not in one of them follows as a class of its
own, in cluster order, whose name is its number. Light on purpose (standard library only), as `kseg_core.config` is.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import storage
from .errors import UsageError, system_reason

MOST_CHARACTERS = 100  # of a name: it is part of the names of files
INVALID = "invalid"  # what no class may be called: pixels that do not count are, where labels have names


@dataclass(frozen=True, slots=True)
class NamedClass:
    """One class.

    Parameters
    ----------
    name
        As people say it.
    clusters
        Of which it is, ascending.
    color
        To paint it with, ``#rrggbb``; None: the mean colour of its clusters.
    """

    name: str
    clusters: tuple[int, ...]
    color: str | None = None

    def __post_init__(self) -> None:
        _require_name(self.name)
        object.__setattr__(self, "clusters", tuple(sorted(self.clusters)))
        if not self.clusters:
            raise UsageError(f"class {self.name!r} has no cluster: give at least one, as in {self.name}=0")
        for cluster in self.clusters:
            if type(cluster) is not int or cluster < 0:
                raise UsageError(f"class {self.name!r}: clusters are numbers from 0; got {cluster!r}")
        if len(set(self.clusters)) < len(self.clusters):
            raise UsageError(f"class {self.name!r} names a cluster twice: {_numbers(self.clusters)}; give each once")
        if self.color is not None:
            object.__setattr__(self, "color", parse_color(self.color, self.name))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"name": self.name, "clusters": list(self.clusters), "color": self.color}


@dataclass(frozen=True, slots=True)
class Classes:
    """Named classes in their order; a cluster is in one of them at most."""

    named: tuple[NamedClass, ...]

    def __post_init__(self) -> None:
        names: dict[str, str] = {}
        owners: dict[int, str] = {}
        for each in self.named:
            if (other := names.get(each.name.casefold())) is not None:
                raise UsageError(
                    f"classes {other!r} and {each.name!r}: names differ in more than capitals; give others"
                )
            names[each.name.casefold()] = each.name
            for cluster in each.clusters:
                if (owner := owners.setdefault(cluster, each.name)) != each.name:
                    raise UsageError(
                        f"cluster {cluster} is in {owner!r} and in {each.name!r}; a cluster is in one class: say anew "
                        f"of which clusters both are, as in '{owner}=…'"
                    )

    def __iter__(self) -> Iterator[NamedClass]:
        return iter(self.named)

    def __len__(self) -> int:
        return len(self.named)

    def groups(self, k: int) -> tuple[tuple[int, ...], ...]:
        """Of each class by number the clusters it is of, those that are not named at the end.

        Raises
        ------
        UsageError
            If a class is of a cluster that there is not.
        """
        self.require_within(k)
        named = {cluster for each in self.named for cluster in each.clusters}
        return (*(each.clusters for each in self.named), *((c,) for c in range(k) if c not in named))

    def names(self, k: int) -> tuple[str, ...]:
        """Of each class by number its name; that of a cluster that is not named is its number."""
        own = tuple(each.name for each in self.named)
        return own + tuple(str(group[0]) for group in self.groups(k)[len(own) :])

    def of_clusters(self, k: int) -> tuple[int, ...]:
        """Of each of k clusters the number of its class."""
        numbers = {cluster: at for at, group in enumerate(self.groups(k)) for cluster in group}
        return tuple(numbers[cluster] for cluster in range(k))

    def require_within(self, k: int) -> None:
        """Refuse classes of clusters that a model of k does not have.

        Raises
        ------
        UsageError
            Which class, and which numbers there are.
        """
        for each in self.named:
            if each.clusters[-1] >= k:
                raise UsageError(
                    f"class {each.name!r}: there is no cluster {each.clusters[-1]}; clusters are numbered 0 to {k - 1}"
                )

    def renumbered(self, numbers: Mapping[int, int]) -> Classes:
        """The same of clusters that have other numbers now; those that have none are gone, and so are classes of such
        alone.
        """
        kept = [(each, tuple(numbers[c] for c in each.clusters if c in numbers)) for each in self.named]
        return Classes(tuple(NamedClass(each.name, clusters, each.color) for each, clusters in kept if clusters))

    def changed(self, given: Iterable[tuple[str, tuple[int, ...]]], colors: Mapping[str, str]) -> Classes:
        """The same with some classes made anew, or removed where nothing is given for them, and with other colours.

        A class that is there stays at its place and has the colour that it had; new ones follow.

        Raises
        ------
        UsageError
            If that makes no sense.
        """
        clusters = {each.name: each.clusters for each in self.named}
        painted = {each.name: each.color for each in self.named}
        for name, numbers in given:
            if not numbers and name not in clusters:
                raise UsageError(f"there is no class {name!r} to remove{_there(clusters)}")
            clusters[name] = numbers
        clusters = {name: numbers for name, numbers in clusters.items() if numbers}
        for name, color in colors.items():
            if name not in clusters:
                raise UsageError(
                    f"--color {name}={color}: no class has that name{_there(clusters)}; name it first: {name}=CLUSTERS"
                )
            painted[name] = None if color == "mean" else parse_color(color, name)
        return Classes(tuple(NamedClass(name, numbers, painted.get(name)) for name, numbers in clusters.items()))

    # ------------------------------------------------------------------------------------------------ as documents

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON values."""
        return [each.to_json() for each in self.named]

    @classmethod
    def from_json(cls, told: Sequence[Mapping[str, Any]]) -> Classes:
        """What `to_json` gave.

        Raises
        ------
        UsageError, KeyError, TypeError
            If it is something else.
        """
        return cls(tuple(NamedClass(each["name"], tuple(each["clusters"]), each["color"]) for each in told))

    def to_toml(self) -> str:
        """As a file that `from_toml` reads."""
        lines = ["[classes]", *(f"{_quoted(each.name)} = {list(each.clusters)}" for each in self.named)]
        colors = [f'{_quoted(each.name)} = "{each.color}"' for each in self.named if each.color is not None]
        return "\n".join([*lines, *(["", "[colors]", *colors] if colors else [])]) + "\n"

    @classmethod
    def from_toml(cls, path: str) -> Classes:
        """The classes of a file: a table ``classes`` of names and lists of clusters, and perhaps one of ``colors``.

        Raises
        ------
        UsageError
            If it cannot be read, or is something else.
        """
        try:
            told = tomllib.loads(storage.read(path).decode())
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({system_reason(error)})") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not a TOML file ({error})") from error
        classes, colors = told.pop("classes", None), told.pop("colors", {})
        if told or not isinstance(classes, dict) or not isinstance(colors, dict):
            odd = f"; it has {', '.join(map(repr, told))} besides" if told else ""
            raise UsageError(f"{path}: expected a table [classes] with lines like plant = [1, 2, 4]{odd}")
        try:
            given = [(name, _clusters_in(name, value)) for name, value in classes.items()]
            painted = {name: parse_color(color, name) for name, color in colors.items()}
            return cls(()).changed(given, painted)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error


NO_CLASSES = Classes(())


def parse_class(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and clusters of a text like ``plant=1,2,4``; no clusters of ``plant=``.

    Raises
    ------
    UsageError
        If it is something else.
    """
    name, equals, numbers = text.rpartition("=")
    try:
        clusters = tuple(int(number) for number in numbers.split(",")) if numbers.strip() else ()
    except ValueError:
        equals = ""
    if not equals:
        raise UsageError(f"a class is given like plant=1,2,4, by the numbers of its clusters; got {text!r}")
    return _require_name(name.strip()), clusters


def parse_colors(texts: Iterable[str]) -> dict[str, str]:
    """Colours by name, of texts like ``plant=#2ca02c``; ``plant=mean`` is that of its clusters.

    Raises
    ------
    UsageError
        If one is something else.
    """
    found = {}
    for text in texts:
        name, equals, color = text.rpartition("=")
        if not equals:
            raise UsageError(f"--color takes a class and its colour, as in 'plant=#2ca02c'; got {text!r}")
        found[name.strip()] = "mean" if color.strip() == "mean" else parse_color(color, name.strip())
    return found


def parse_color(color: object, name: str) -> str:
    """A colour as ``#rrggbb``, in small letters.

    Raises
    ------
    UsageError
        If it is something else.
    """
    text = color.strip().lower() if isinstance(color, str) else ""
    if re.fullmatch("#[0-9a-f]{6}", text) is None:
        raise UsageError(f"class {name!r}: a colour is given like '#2ca02c'; got {color!r}")
    return text


def _require_name(name: object) -> str:
    """Refuse what would be taken for something else on a command line, or in a file's name.

    Raises
    ------
    UsageError
        If it is no name.
    """
    if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
        raise UsageError(f"a class has a name of printable characters; got {name!r}")
    if len(name) > MOST_CHARACTERS:
        raise UsageError(f"a class has a name of at most {MOST_CHARACTERS} characters; got {len(name)}: {name[:20]}…")
    if name.isdecimal():
        raise UsageError(f"class {name!r}: a number is the name of a cluster; give the class another")
    if name.startswith("-") or any(each in name for each in ",="):
        raise UsageError(f"class {name!r}: a name has no comma, no = and no dash at its start")
    if name.casefold() == INVALID:
        raise UsageError(f"class {name!r}: pixels that do not count are called so; give the class another name")
    return name


def _clusters_in(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(each) is int for each in value):
        raise UsageError(f"class {name!r} is a list of clusters, as in [1, 2, 4]; got {value!r}")
    return tuple(value)


def _numbers(clusters: Iterable[int]) -> str:
    return ",".join(map(str, clusters))


def _there(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f" (there are: {listed})" if listed else " (there are none)"


def _quoted(name: str) -> str:
    """A key of TOML."""
    if re.fullmatch("[A-Za-z0-9_-]+", name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
