"""From a list of files to images of known size, and to bundles worth a task each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from kseg_core.areas import has_unit
from kseg_core.clustering.outliers import Fill, fill_lines, merged
from kseg_core.config import InputSettings, OutputSettings
from kseg_core.errors import NoValidPixels
from kseg_core.expressions import Bands
from kseg_core.images.kinds import numbered_bands, remarks_of_bands, remarks_of_colours
from kseg_core.images.validity import fits
from kseg_core.inputs.listing import InputFile
from kseg_core.reading.min_region import min_region_of, pixel_size_of
from kseg_core.reading.sources import ImageSource, Piece

from ..computing.context import Context, Failure, parted
from .notes import Note, first_of, notes_of_all

HEADERS_PER_TASK = 64  # a header takes about a tenth of a millisecond, a task about one
BUNDLE_PX = 8_000_000  # about a tenth of a second of decoding: a task's own cost is below one per cent
BUNDLE_IMAGES = 64  # so that progress is seen and a lost worker loses little
TASKS_PER_WORKER = 4  # enough pieces to keep all workers busy to the end

Bundle = tuple[Piece, ...]


class Header(NamedTuple):
    """A file that is looked at before anything of it is read."""

    file: InputFile
    pixels: int = 0
    is_last: bool = True


def open_header(header: Header, settings: InputSettings, output: OutputSettings | None) -> ImageSource:
    """What a file is, and how large; one that cannot be labelled as asked is refused."""
    source = ImageSource.open(header.file, settings)
    if output is not None and output.min_region is not None and has_unit(output.min_region):
        min_region_of(source, output, pixel_size_of(source))
    return source


def scan_headers(
    files: Sequence[InputFile], settings: InputSettings, context: Context, output: OutputSettings | None = None
) -> tuple[list[ImageSource], list[Failure]]:
    """Which files are images, and how large, in the order given; ``output``: how they are to be labelled."""
    context.progress.stage("looking at headers", len(files), 0)
    groups = [
        [Header(file) for file in files[at : at + HEADERS_PER_TASK]] for at in range(0, len(files), HEADERS_PER_TASK)
    ]
    made = context.map(open_header, groups, settings, output, name="open")
    sources, failures = parted(chain.from_iterable(made))
    return sources, list(failures)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job's tasks are.

    Parameters
    ----------
    bundles
        Whole images, small ones together until they are worth a task.
    large
        Images worked on in pieces: every piece is a task.
    checkpoints
        The folder where tasks keep what they bring home, for a job that goes on where it was stopped; None: nowhere.
    notes
        What there is to say of all images together, a line each.
    """

    bundles: tuple[Bundle, ...]
    large: tuple[tuple[Piece, ...], ...] = ()
    checkpoints: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> list[ImageSource]:
        """All images."""
        return [piece.source for bundle in self.bundles for piece in bundle] + [
            pieces[0].source for pieces in self.large
        ]

    @property
    def first(self) -> ImageSource:
        """The one of the lowest key, which stands for all of a kind, whatever is worked on together or in pieces."""
        return min(self.sources, key=lambda source: source.file.key)

    @property
    def pixels(self) -> int:
        return sum(source.pixels for source in self.sources)

    @property
    def keys(self) -> set[str]:
        """Names of all images."""
        return {source.file.key for source in self.sources}

    @property
    def unsmoothed(self) -> Plan:
        """The same pieces of the images as their files have them."""

        def plain(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
            return tuple(replace(piece, source=replace(piece.source, smoothing=None)) for piece in pieces)

        if all(source.smoothing is None for source in self.sources):
            return self
        return replace(self, bundles=tuple(map(plain, self.bundles)), large=tuple(map(plain, self.large)))

    def only(self, keys: AbstractSet[str]) -> Plan:
        """The plan of some of its images."""
        bundles = [tuple(piece for piece in bundle if piece.source.file.key in keys) for bundle in self.bundles]
        large = [pieces for pieces in self.large if pieces[0].source.file.key in keys]
        return Plan(tuple(bundle for bundle in bundles if bundle), tuple(large), self.checkpoints, self.notes)

    def without(self, failures: Sequence[Failure]) -> Plan:
        """The plan less the images that failed."""
        return self.only(self.keys - {failure.key for failure in failures})


def make_plan(sources: Sequence[ImageSource], tile: int, workers: int) -> Plan:
    """Cut large images into pieces, and put small neighbours together; what takes longest comes first."""
    cut = [tuple(source.pieces(tile)) for source in sources]
    whole = [pieces[0] for pieces in cut if len(pieces) == 1]
    large = tuple(pieces for pieces in cut if len(pieces) > 1)
    total = sum(piece.pixels for piece in whole)
    target = min(BUNDLE_PX, max(1, total // (workers * TASKS_PER_WORKER)))
    bundles: list[Bundle] = []
    current: list[Piece] = []
    size = 0
    for piece in whole:
        if current and (size + piece.pixels > target or len(current) >= BUNDLE_IMAGES):
            bundles.append(tuple(current))
            current, size = [], 0
        current.append(piece)
        size += piece.pixels
    if current:
        bundles.append(tuple(current))
    return Plan(tuple(sorted(bundles, key=lambda bundle: -pixels_of(bundle))), large)


@contextmanager
def naming_images(plan: Plan) -> Iterator[None]:
    """Where none of the images has a valid pixel, say which they are, and what may help."""
    try:
        yield
    except NoValidPixels as error:
        sources = plan.sources
        of_nodata = any(source.nodata is not None for source in sources)
        causes = ["transparent", "NaN", *(["nodata"] if of_nodata else []), "left out by a mask"]
        ways = [*(["--nodata none takes nodata as values"] if of_nodata else [])]
        ways += ["see what --mask leaves out"] if any(source.mask is not None for source in sources) else []
        raise NoValidPixels(
            f"no valid pixel in {first_of([source.file.source for source in sources])}: there is nothing to cluster; "
            f"every pixel is {', '.join(causes[:-1])} or {causes[-1]}{''.join(f'; {way}' for way in ways)}"
        ) from error


def lines_of_fill(
    fills: Sequence[Fill], sources: Sequence[ImageSource], seen: Mapping[float, str] | None = None
) -> tuple[str, ...]:
    """A line for each value that is likely none, less those that all the images of it say or are told are none.

    ``seen``: where each was seen; None: that is said beside the lines.
    """
    declared = [_declared(source) for source in sources]
    known = set[float]().union(*declared)
    left = [fill for fill in fills if not all(fill.value in values for values in declared)]
    return fill_lines(left, sources[0].info.dtype, sorted(known), seen)


def notes_of_fills(plan: Plan, fills: Mapping[str, Sequence[Fill]]) -> tuple[Note, ...]:
    """What there is to say of values beyond all others in images by key, and the images that have them.

    Each image's own are stored with it.
    """
    if not fills:
        return ()
    sources = {source.file.key: source for source in plan.sources if source.file.key in fills}
    seen: dict[float, list[str]] = {}
    for key, own in fills.items():
        for fill in own:
            seen.setdefault(fill.value, []).append(sources[key].file.source)
    of_all = merged((fill for key in sorted(fills) for fill in fills[key]), of_bands=False)
    where = {value: first_of(names) for value, names in seen.items()}
    return notes_of_all(lines_of_fill(of_all, list(sources.values()), where))


def _declared(source: ImageSource) -> set[float]:
    """The values that stand for no data in an image already; NaN counts nowhere anyway."""
    if source.nodata is None:
        return set()
    values = (*source.nodata.values, *source.nodata.by_band)
    return {value for value in values if value is not None and not math.isnan(value)}


def pixels_of(bundle: Bundle) -> int:
    """Pixels of a bundle."""
    return sum(piece.pixels for piece in bundle)


def remarked(sources: Iterable[ImageSource], bands: Bands | None, *, asked_for: bool) -> tuple[ImageSource, ...]:
    """The images, whose notes also say what is left out of them.

    Parameters
    ----------
    sources
        The images.
    bands
        Which are clustered, none for all but alpha; None: colours are.
    asked_for
        Whether the fit's settings say so, rather than a model that is given.
    """
    found = []
    for source in sources:
        info = source.info
        told = (
            remarks_of_colours(info, asked_for=asked_for)
            if bands is None
            else remarks_of_bands(info, bands, asked_for=asked_for)
        )
        noted = replace(info, notes=(*info.notes, *told))
        found.append(replace(source, info=noted) if told else source)
    return tuple(found)


def nodata_of_no_use(sources: Sequence[ImageSource], settings: InputSettings) -> tuple[str, ...]:
    """A line for each value of ``--nodata`` that the samples of some images cannot have."""
    lines = []
    for value in dict.fromkeys(value for value in settings.nodata_values if not math.isnan(value)):
        without = [source for source in sources if not fits(value, np.dtype(source.info.dtype))]
        if without:
            dtypes = ", ".join(sorted({source.info.dtype for source in without}))
            where = first_of([source.file.source for source in without])
            lines.append(
                f"--nodata {value}: no pixel of {dtypes} can have this value; it leaves out nothing of {where}"
            )
    return tuple(lines)


def notes_of_stacks(sources: Sequence[ImageSource]) -> tuple[str, ...]:
    """What there is to say of images whose bands are files of their own: what ``--bands`` calls these, and how they are
    read.
    """
    names = dict.fromkeys(source.info.band_names for source in sources if source.info.separate)
    read = dict.fromkeys(note for source in sources for note in source.info.common_notes)
    return (*(f"bands in files of their own, by number: {numbered_bands(each)}" for each in names), *read)
