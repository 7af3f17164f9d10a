"""The job behind ``sweep``: every k of a range from one reading of the pixels, for all images together or for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import feature_space
from kseg_core.config import FitSettings
from kseg_core.errors import KsegError, NoValidPixels, TooManyColors, UnreadableImage, facts_of
from kseg_core.inputs.keys import printable_source
from kseg_core.reading.sources import Piece
from kseg_core.release import version
from kseg_core.resume.lock import hold
from kseg_core.sweep import elbow
from kseg_core.sweep.files import write_sweep
from kseg_core.sweep.search import SerialSweepRunner
from kseg_core.sweep.search import sweep as sweep_data
from kseg_core.sweep.table import AnySpace, Table

from .computing.context import Context, Failure, parted
from .computing.executor import Progress
from .fitting.fit import read_points, sweep_points
from .labelling.label import summary_of_image
from .output import folder_for_files
from .planning.budget import Budget, image_of_too_many_colors
from .planning.notes import Note, notes_of, notes_of_all, say
from .planning.plan import Plan, naming_images
from .request import Request
from .result import Clock, errors_of
from .scan import fit_to_memory, nothing_readable, survey


@dataclass(frozen=True, slots=True)
class Swept:
    """The sweep of all images together, or of one.

    Parameters
    ----------
    pixels, valid
        Of these images.
    table
        None where not one pixel is valid.
    key, source
        Of the image, where it is one.
    """

    pixels: int
    valid: int
    table: Table | None
    key: str = ""
    source: str = ""

    def to_json(self, *, palette: bool = False) -> dict[str, Any]:
        """The table and the choice, as JSON values."""
        table = self.table
        return {
            "k": None if table is None else table.choice.k,
            "why": "no valid pixel" if table is None else table.choice.why,
            "knee": None if table is None else table.choice.knee,
            "pixels": {"total": self.pixels, "valid": self.valid},
            "sweep": None if table is None else [row.to_json(palette=palette) for row in table.rows],
        }


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep came to.

    Parameters
    ----------
    output
        The folder that was written.
    settings
        Of the fits.
    total
        How many inputs there were.
    together
        The sweep of all images; None where each has its own.
    each
        The images' own sweeps, by key.
    failures
        What could not be read.
    seconds
        ``total``, ``read`` (with ``--scope image`` all of it), ``sweep``.
    space
        What the centroids are in; as a model's attributes have it.
    notes
        What there is to say of inputs that were read, and of all of them.
    """

    output: str
    settings: FitSettings
    total: int
    together: Swept | None
    each: tuple[Swept, ...]
    failures: tuple[UnreadableImage, ...]
    seconds: dict[str, float | None]
    space: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def to_json(self, *, palette: bool = False) -> dict[str, Any]:
        """The object ``--json`` prints; with the clusters for every k what ``sweep.json`` holds."""
        failed = len(self.failures)
        whole = self.together or Swept(sum(s.pixels for s in self.each), sum(s.valid for s in self.each), None)
        told = whole.to_json(palette=palette)
        own = [{"key": swept.key, "source": swept.source, **swept.to_json(palette=palette)} for swept in self.each]
        return {
            "status": "partial" if failed else "ok",
            "output": printable_source(self.output),
            "k": told["k"],
            "k_range": list(self.settings.tried),
            "why": told["why"] if self.together is not None else None,
            "knee": told["knee"],
            "features": self.settings.features,
            "features_why": self.settings.features_why,
            "scope": self.settings.scope,
            "images": {"total": self.total, "swept": self.total - failed, "failed": failed},
            "pixels": told["pixels"],
            "sweep": told["sweep"],
            "each": None if self.together is not None else own,
            "failures": [facts_of(error) for error in self.failures],
            "notes": [note.to_json() for note in self.notes],
            "seconds": self.seconds,
        }


def sweep(request: Request, progress: Progress | None = None) -> SweepResult:
    """Find the best centroids for every k and write the table, the figure and the record.

    Raises
    ------
    OutputHeld
        If another run is writing the output.
    KsegError
        If no image could be read, or the output cannot be written.
    """
    with hold(request.output):
        return _sweep(request, progress)


def _sweep(request: Request, progress: Progress | None) -> SweepResult:
    clock = Clock()
    elbow.prepare()
    with folder_for_files(request.output):
        with Context.open(request.config.execution, progress) as context:
            scan = survey(request, context)
            request, plan, failures, budget = fit_to_memory(scan, context, writes=False)
            settings = request.config.fit
            assert settings is not None
            assert budget is not None  # there is a plan
            if settings.scope == "image":
                found = sweep_each(plan, settings, budget, context, clock.lap)
            else:
                with naming_images(plan):
                    found = sweep_together(plan, settings, budget, context, clock.lap)
            failures += found.failures
            if not found.swept:
                raise nothing_readable(failures)
        clock.lap("sweep")
        say(notes_of_all(found.notes))
        told = notes_of_all(dict.fromkeys((*plan.notes, *found.notes)))
        notes = told + notes_of(plan.without(failures).sources)
        result = _result(request, settings, found, failures, notes, clock.seconds)
        _write(result)
    return result


# --------------------------------------------------------------------------------------------------- all together


@dataclass(frozen=True, slots=True)
class Sweeps:
    """What was swept, what could not be, and what there is to say of the data."""

    swept: tuple[Swept, ...] = ()
    failures: tuple[Failure, ...] = ()
    space: AnySpace | None = None
    notes: tuple[str, ...] = ()

    def merge(self, other: Sweeps) -> Sweeps:
        notes = tuple(dict.fromkeys(self.notes + other.notes))
        return Sweeps(self.swept + other.swept, self.failures + other.failures, self.space or other.space, notes)


Lap = Callable[[str], None]


def sweep_together(plan: Plan, settings: FitSettings, budget: Budget, context: Context, lap: Lap) -> Sweeps:
    """One sweep of all images.

    Raises
    ------
    NoValidPixels
        If there is none.
    """
    points, failures = read_points(plan, settings, context, budget=budget)
    if points is None:
        return Sweeps(failures=tuple(failures))
    lap("read")
    low, high = settings.tried
    context.progress.stage(f"finding centroids for k {low} to {high}", 0, 0)
    founds = sweep_points(points, settings, context.executor)
    swept = Swept(points.pixels, founds[0].solution.sums.pixels, Table.of(founds, points.space))
    return Sweeps((swept,), tuple(failures), points.space, points.notes)


# ------------------------------------------------------------------------------------------------ each image alone


def sweep_each(plan: Plan, settings: FitSettings, budget: Budget, context: Context, lap: Lap) -> Sweeps:
    """A sweep of each image: whole ones in their bundles' tasks, large ones piece by piece."""
    context.progress.stage("sweeping each image", len(plan.sources), plan.pixels)
    found = Sweeps(space=feature_space(settings.features))
    for made in context.map(sweep_image, plan.bundles, settings, budget, name="sweep"):
        swept, failures = parted(made)
        found = found.merge(Sweeps(tuple(swept), failures))
    for pieces in plan.large:
        found = found.merge(sweep_large(pieces, settings, budget, context))
        context.advance(pieces)
    lap("read")
    return Sweeps(tuple(sorted(found.swept, key=lambda swept: swept.key)), found.failures, found.space)


def sweep_image(piece: Piece, settings: FitSettings, budget: Budget) -> Swept:
    """The sweep of one whole image.

    Raises
    ------
    UnreadableImage
        If it cannot be read, or has more distinct colours than the memory's budget has room for.
    """
    source = piece.source
    summary = summary_of_image(settings, budget, source, piece.read())
    table = None
    if summary.everything.codes.size:
        space = feature_space(settings.features)
        data, batch = (ColorPoints.build(colors, space) for colors in (summary.everything, summary.batch))
        table = Table.of(sweep_data(data, batch, settings, SerialSweepRunner()), space)
    return Swept(source.pixels, summary.everything.pixels, table, source.file.key, source.file.source)


def sweep_large(pieces: tuple[Piece, ...], settings: FitSettings, budget: Budget, context: Context) -> Sweeps:
    """The sweep of one image that is read in pieces."""
    source = pieces[0].source
    names = (source.file.key, source.file.source)
    room = budget.for_one_table()
    try:
        found = sweep_together(Plan((), (pieces,)), settings, room, context.silent(), lambda _: None)
    except NoValidPixels:
        return Sweeps((Swept(source.pixels, 0, None, *names),))
    except TooManyColors:
        return Sweeps(failures=(context.failed(source.file.key, image_of_too_many_colors(source, room)),))
    return Sweeps(
        tuple(Swept(s.pixels, s.valid, s.table, *names) for s in found.swept), found.failures, notes=found.notes
    )


# ------------------------------------------------------------------------------------------------------- the output


def _result(
    request: Request,
    settings: FitSettings,
    found: Sweeps,
    failures: Sequence[Failure],
    notes: tuple[Note, ...],
    seconds: dict[str, float | None],
) -> SweepResult:
    listing = request.listing
    alone = settings.scope == "image"
    assert found.space is not None
    space = {"components": list(found.space.components)}
    if isinstance(found.space, BandSpace):
        space |= found.space.attributes()
    told: dict[str, float | None] = {name: seconds.get(name) for name in ("total", "read", "sweep")}
    return SweepResult(
        request.output,
        settings,
        len(listing.files) + len(listing.failures),
        None if alone else found.swept[0],
        found.swept if alone else (),
        errors_of(failures),
        told,
        space,
        notes,
    )


def _write(result: SweepResult) -> None:
    """The table, the figure and the record, each whole or not at all.

    Raises
    ------
    KsegError
        If they cannot be written.
    """
    record = {"version": version(), **result.to_json(palette=True), "space": result.space}
    try:
        write_sweep(result.output, record)
    except OSError as error:
        raise KsegError(f"{result.output}: the output cannot be written ({error.strerror or error})") from error
