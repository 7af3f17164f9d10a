"""The job behind ``sweep``: every k of a range from one reading of the pixels, for all images together or for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import feature_space
from kseg_core.config import FitSettings
from kseg_core.errors import KsegError, NoValidPixels, TooManyColors
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
from .fitting.bands import data_of, look_at_bands, sweep_of
from .fitting.fit import read_colours, table_on_workers
from .fitting.sweep_tasks import SweepTasks
from .labelling.label import summary_of_image
from .output import folder_for_files
from .planning.budget import Budget, image_of_too_many_colors
from .planning.notes import Note, notes_of, notes_of_all, say
from .planning.plan import Plan, naming_images
from .request import Request
from .result import Clock
from .scan import fit_to_memory, nothing_readable, survey
from .sweep_request import FIGURE, KIND, RECORD, TABLE
from .sweep_result import SweepResult, Swept


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
    space: AnySpace
    if settings.features == "bands":
        bands, failures = look_at_bands(plan, settings, context)
        if bands is None:
            return Sweeps(failures=tuple(failures))
        space, left, notes = bands.space, bands.plan, bands.notes
        _stage(settings, context.progress, lap)
        founds = sweep_of(bands, data_of(bands, context), settings, context.executor)
    else:
        summary, failures = read_colours(plan, settings, context, budget=budget)
        if summary is None:
            return Sweeps(failures=tuple(failures))
        space, left, notes = feature_space(settings.features), plan.without(failures), ()
        _stage(settings, context.progress, lap)
        data, batch = table_on_workers(summary, settings, context.executor, budget=budget)
        founds = sweep_data(data, batch, settings, SweepTasks(context.executor))
    table = Table.of(founds, space)
    return Sweeps((Swept(left.pixels, founds[0].solution.sums.pixels, table),), tuple(failures), space, notes)


def _stage(settings: FitSettings, progress: Progress, lap: Lap) -> None:
    lap("read")
    low, high = settings.tried
    progress.stage(f"finding centroids for k {low} to {high}", 0, 0)


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
    summary = summary_of_image(settings, budget, source, piece.read_for(None))
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
    errors = sorted((failure.error for failure in failures), key=lambda error: (error.source, error.reason))
    alone = settings.scope == "image"
    assert found.space is not None
    space = {"components": list(found.space.components)}
    if settings.features == "bands":
        space |= found.space.attributes()  # type: ignore[union-attr]
    told: dict[str, float | None] = {name: seconds.get(name) for name in ("total", "read", "sweep")}
    return SweepResult(
        request.output,
        settings,
        len(listing.files) + len(listing.failures),
        None if alone else found.swept[0],
        found.swept if alone else (),
        tuple(errors),
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
    record = {"kind": KIND, "version": version(), **result.to_json(palette=True), "space": result.space}
    try:
        write_sweep(result.output, (TABLE, FIGURE, RECORD), record)
    except OSError as error:
        raise KsegError(f"{result.output}: the output cannot be written ({error.strerror or error})") from error
