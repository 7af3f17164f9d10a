"""Files of single bands become scenes: grouped, held against each other, and each made one input, a stack.

All scenes of a job have the same bands: those that a model names, else those that half of the scenes have. A scene
without one of them is refused by name, so that one whose files are not all there yet is never half a scene.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kseg_core.band_files import BandFile, StackRule, natural, same_band, stack_path
from kseg_core.errors import UnreadableImage
from kseg_core.inputs.keys import printable_source
from kseg_core.inputs.patterns import joined
from kseg_core.sizes import counted

_FEW = 3  # files or scenes that one line names


@dataclass(frozen=True, slots=True)
class Stacking:
    """How single bands are put together.

    Parameters
    ----------
    rule
        Which files are of one scene.
    bands
        The bands that each scene must have, in order, and no others; none: those that half of the scenes have.
    """

    rule: StackRule
    bands: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str | None, bands: Sequence[str] = ()) -> Stacking | None:
        """By ``--stack``; None where files are not put together."""
        return None if text is None else cls(StackRule(text), tuple(bands))


class Single(NamedTuple):
    """A file that may be a band of a scene; paths as of `InputFile`, sizes in bytes, times in nanoseconds."""

    path: str
    source: str
    below: str
    size: int
    modified_ns: int


class Stack(NamedTuple):
    """A scene; its size is that of all files, and its time that of the youngest."""

    path: str
    source: str
    below: str
    size: int
    modified_ns: int


@dataclass(slots=True)
class Stacked:
    """What files came to.

    Attributes
    ----------
    stacks
        The scenes.
    failures
        Those that are refused.
    passed_over
        How many files are known to be no bands, or a band of a scene in a coarser resolution than another file.
    remarks
        What else was left out, a line each.
    """

    stacks: list[Stack] = field(default_factory=list)
    failures: list[UnreadableImage] = field(default_factory=list)
    passed_over: int = 0
    remarks: list[str] = field(default_factory=list)


def stacked(files: Iterable[Single], stacking: Stacking) -> Stacked:
    """Put files of single bands together.

    Parameters
    ----------
    files
        In any order.
    stacking
        How.
    """
    result, rule = Stacked(), stacking.rule
    scenes: dict[str, list[tuple[BandFile, Single]]] = {}
    others = []
    for file in sorted(files):
        band = rule.band_file(file.path)
        if band is not None:
            scenes.setdefault(band.scene, []).append((band, file))
        elif rule.is_auxiliary(file.path):
            result.passed_over += 1
        else:
            others.append(printable_source(file.source))
    if others:
        result.remarks.append(
            f"--stack {rule.text}: no band in the name of {_some(others, 'file')}; passed over (a pattern such as "
            "'{scene}_{band}.tif' says where it is)"
        )
    sound = {}
    for path, parts in sorted(scenes.items()):
        scene = _Scene(path, {})
        try:
            result.passed_over += scene.take(parts)
        except ValueError as error:
            result.failures.append(UnreadableImage(scene.source(parts[0][1].source, parts[0][1]), str(error)))
        else:
            sound[path] = scene
    _make(list(sound.values()), stacking.bands, result)
    return result


class _Scene(NamedTuple):
    """The files of a scene, by `same_band` of their bands."""

    path: str
    files: dict[str, tuple[BandFile, Single]]

    def take(self, parts: Sequence[tuple[BandFile, Single]]) -> int:
        """Take the finest file of each band; returns how many others there are.

        Raises
        ------
        ValueError
            Of two files that are one band.
        """
        for band, file in parts:
            name = same_band(band.band)
            other = self.files.get(name)
            if other is None or band.metres < other[0].metres:
                self.files[name] = band, file
            elif band.metres == other[0].metres:
                two = " and ".join(printable_source(each.source) for each in (other[1], file))
                raise ValueError(f"two files are its band {band.band}: {two}; --exclude one of them")
        return len(parts) - len(self.files)

    def below(self, file: Single) -> str:
        """The path that its name in a store is made of."""
        return self._in_place_of(file.below, file)

    def source(self, source: str, file: Single) -> str:
        """Its path as the user knows it, by that of a file."""
        return printable_source(self._in_place_of(source, file))

    def _in_place_of(self, path: str, file: Single) -> str:
        """A path of a file with the scene in the file's place, as deep as it is."""
        folder, _, name = self.path.rpartition("/")
        depth = file.path.removeprefix(f"{folder}/").count("/") + 1
        return joined("/".join(path.split("/")[:-depth]), name)

    def stack(self, bands: Sequence[str]) -> Stack:
        """The scene, of these bands.

        Raises
        ------
        ValueError
            If its files have names that cannot be written in one.
        """
        files = [self.files[band][1] for band in bands]
        sources = [file.source for file in files]
        if len({source.startswith("/") for source in sources}) > 1:  # some were given by absolute paths
            sources = [file.path for file in files]
        path, source = stack_path([file.path for file in files]), stack_path(sources)
        tail = "" if path is None else path[path.rfind("/", 0, path.rfind("{")) :]  # what no listing of a folder tells
        if path is None or source is None or printable_source(tail) != tail:
            raise ValueError("names of its files have braces, commas or bytes that are no text: rename them first")
        size, modified_ns = sum(file.size for file in files), max(file.modified_ns for file in files)
        return Stack(path, source, self.below(files[0]), size, modified_ns)


def _make(scenes: Sequence[_Scene], wanted: Sequence[str], result: Stacked) -> None:
    """Make stacks of the scenes that have all bands wanted, or else of all that half of the scenes have."""
    counts = Counter(name for scene in scenes for name in scene.files)
    written = {name: band.band for scene in reversed(scenes) for name, (band, _) in scene.files.items()}
    names = [same_band(band) for band in wanted]
    if not names:
        most = [name for name, count in counts.items() if 2 * count >= len(scenes)]
        names = sorted(most, key=lambda name: natural(written[name]))
    written |= {same_band(band): band for band in wanted}
    left = dict[str, list[str]]()
    for scene in scenes:
        first = next(iter(scene.files.values()))[1]
        source = scene.source(first.source, first)
        try:
            _require_whole(scene, names, written, _why(counts, len(scenes), of_model=bool(wanted)))
            result.stacks.append(scene.stack(names))
        except ValueError as error:
            result.failures.append(UnreadableImage(source, str(error)))
        else:
            for name in scene.files.keys() - set(names):
                left.setdefault(name, []).append(source)
    for name in sorted(left):
        why = "the model is of none such" if wanted else f"{counts[name]} of {len(scenes)} scenes have it"
        result.remarks.append(f"band {written[name]} of {_some(left[name], 'scene')} is left out: {why}")


def _why(counts: Counter[str], scenes: int, *, of_model: bool) -> dict[str, str]:
    """Why a scene must have a band, by band."""
    return {} if of_model else {name: f"which {count} of {scenes} scenes have" for name, count in counts.items()}


def _require_whole(scene: _Scene, names: Collection[str], written: dict[str, str], why: dict[str, str]) -> None:
    """Refuse a scene that lacks a band, or has a single one.

    Raises
    ------
    ValueError
        Which, and which it has.
    """
    there = ", ".join(sorted((band.band for band, _ in scene.files.values()), key=natural))
    missing = [name for name in names if name not in scene.files]
    if missing:
        lacks = ", ".join(written[name] for name in missing)
        why_first = why.get(missing[0], "which the model is of")
        raise ValueError(f"it has no band {lacks}, {why_first} (there is {there}): left out until its file is there")
    if len(names) < 2:
        raise ValueError(f"it has no other band than {there}: there is nothing to stack")


def _some(names: Sequence[str], what: str) -> str:
    """How many there are, and which are the first."""
    more = ", …" if len(names) > _FEW else ""
    return f"{counted(len(names), what)} ({', '.join(names[:_FEW])}{more})"
