"""What ``run``, ``fit``, ``apply`` and ``sweep`` share: their options, and how a job is begun, carried out and told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kseg_core.choice import InputSelection
from kseg_core.config import FIT_OF_MODEL, ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import KsegError, UsageError
from kseg_core.options import option
from kseg_core.report.settings import default_folder, require_place
from kseg_core.sizes import counted, only_so_many

from ._again import find_segments, see_them, with_commands
from ._logging import log
from ._options import WORKERS, Given, Listed, omit, pick
from ._render import MOST_LINES, class_rows, dry_run_lines, palettes_lines, result_lines
from ._runtime import DONE, FAILED, SOME_UNREADABLE, Report
from .report import open_in_browser, report_lines

if TYPE_CHECKING:
    from workflows.request import Request
    from workflows.result import JobResult


TOLD = ("report", "k", "changes", "drift")  # of a result, in the log's last line


@dataclass(frozen=True, slots=True)
class Extras:
    """What a job is told besides its settings: where it writes, and what else it does."""

    output: str | None = option(
        None,
        "The Zarr store to write. Default: <input name>.kseg.zarr in the current folder.",
        "Output",
        "OUT",
        short="o",
    )
    fail_on_drift: float | None = option(
        None,
        "With --model: exit 1 (everything is written) if the new images' cluster shares are further than X from the "
        "model's: half the sum of the differences, 0 to 1.",
        "Model",
        "X",
    )
    report: bool = option(
        False,
        "Also make the report, as the command of that name does: <store name>.report in the current folder.",
        "Output",
    )
    open_page: bool = option(False, "Make the report and open it in the browser.", "Output", flag="open")
    dry_run: bool = option(
        False, "Only tell what would be read, held in memory and written, from headers alone.", "Execution"
    )


INPUTS: list[Listed] = [InputSelection, pick(InputSettings, "nodata", "nodata_in"), InputSettings]
INPUTS_AS_THEY_ARE: list[Listed] = [*INPUTS[:-1], omit(InputSettings, "smooth")]
INPUTS_OF_COLOURS: list[Listed] = [*INPUTS[:-1], omit(InputSettings, "smooth", "stack")]
FIT: list[Listed] = [
    pick(FitSettings, "features", "stains", "kind", "bands", "derive", "display", "normalize"),
    FitSettings,
]
LABELS: list[Listed] = [
    pick(OutputSettings, "masks", "tile"),
    omit(OutputSettings, "overwrite"),
    OutputSettings,
    pick(Extras, "report", "open_page"),
]
EXECUTION: list[Listed] = [WORKERS, ExecutionSettings, pick(Extras, "dry_run")]
GROWING = [*pick(OutputSettings, "checksum", "prune"), *pick(Extras, "fail_on_drift")]


def failed_labelling(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a ``run`` or ``apply`` that failed."""
    from workflows.result import failed_result

    return {**failed_result(error), "report": None}


# ------------------------------------------------------------------------------------------------ settings


def config_of(given: Given) -> RunConfig:
    """The settings of a ``run`` or ``fit``."""
    if given["refit"]:
        return given.make(RunConfig, fit=_refit_of(given), model=None, match=given["model"])
    if given["k"] is None and not given["start"]:
        refuse_to_fit(given)
        return given.make(RunConfig, fit=None)
    k = len(given["start"]) if given["k"] is None else given["k"]
    return given.make(RunConfig, fit=given.make(FitSettings, k=k))


def refuse_to_fit(given: Given) -> None:
    """Where neither ``k`` nor ``start`` says how many clusters there are, no option of a fit has a use."""
    changed = list(given.changed(FitSettings))
    if any(item.name == "k_range" for item in changed):
        raise UsageError("--k-range goes with --k auto")
    for item in changed:
        raise UsageError(f"{item.flag} is for a fit: give --k N with it; with --model there is nothing to fit")


def _refit_of(given: Given) -> FitSettings:
    """The settings of ``--refit``: what the model does not say of itself may be given."""
    if given["model"] is None:
        raise UsageError("--refit starts from the centroids of a model: give --model M with it")
    changed = list(given.changed(FitSettings))
    if given["match"] is not None or any(item.name in ("k", "k_range", "start") for item in changed):
        raise UsageError("--refit keeps the number of clusters and their numbers: leave out --k, --start and --match")
    for item in changed:
        if item.name in FIT_OF_MODEL:
            raise UsageError(f"{item.flag} is the model's own with --refit: leave it out")
    from workflows.earlier import refit_settings

    return refit_settings(given["model"], **{item.name: given[item.name] for item in changed})


# ------------------------------------------------------------------------------------------------ labelling


def label(given: Given, config: RunConfig, report: Report) -> int:
    """Carry out ``run`` or ``apply``, or tell what they would do."""
    selection, extras = given.make(InputSelection), given.make(Extras)
    limit = extras.fail_on_drift
    if limit is not None and config.model is None:
        raise UsageError("--fail-on-drift compares with a given model: give --model M with it")
    if limit is not None and not 0 <= limit <= 1:
        raise UsageError(f"--fail-on-drift is from 0 to 1; got {limit}")
    from workflows.request import prepare
    from workflows.result import held_to

    request = prepare(selection, config, extras.output, "store")
    if extras.report or extras.open_page:  # before hours of work
        require_place(default_folder(request.output), request.output, overwrite=False)
    if extras.dry_run:
        return tell_beforehand(report, request, writes=True)
    done = finished(request)
    if done is None:
        from workflows.run import run as run_job

        say_how_to_go_on(report, request)
        made = run_job(request, report.progress)
        done = made.to_json()
        say_of_the_work(request, made)
    result = held_to(done, limit)
    code = _tell_of_the_store(report, request, result, extras)
    drift = result.get("drift") or {}
    if not drift.get("failed"):
        return code
    report.warn(
        f"drift: the new images' cluster shares are {drift['batch']['share_distance']:.3f} from the model's, more than "
        f"--fail-on-drift {drift['limit']:g}; everything was written"
    )
    return FAILED


def _palettes(output: str, result: dict[str, Any]) -> list[str]:
    """The palettes of images that have one each, or the classes of one that all share, where it has some."""
    if result["scope"] == "image":
        from workflows.inspect import describe_palettes

        return palettes_lines(*describe_palettes(output, MOST_LINES))
    return class_lines(output, result)


def class_lines(output: str, result: dict[str, Any]) -> list[str]:
    """A table of the classes of a store or model, where clusters have names."""
    from kseg_core.store.manifest import has_classes

    if result["k"] is None or not has_classes(output):
        return []
    from workflows.classes import named_rows

    return class_rows(named_rows(output))


def _tell_of_the_store(report: Report, request: Request, result: dict[str, Any], extras: Extras) -> int:
    """What was labelled, and its report or how to have it."""
    from kseg_core.inputs.keys import printable_source
    from kseg_core.store.manifest import read_attributes

    result = with_commands(result) if "drift" not in result else result  # of a given model: no kind is left out
    asked = request.config.output.segments is not None or "segments" in (read_attributes(request.output) or {})
    after = [] if asked else [find_segments(request.output)]
    after, unread, trouble, page = [*after, see_them(request.output)], bool(result["failures"]), None, None
    if extras.report or extras.open_page:
        from workflows.report import ReportRequest, make_report

        wanted = ReportRequest(request.output)
        execution = dataclasses.replace(request.config.execution, strict=False, performance_report=None)
        try:
            made = make_report(wanted, execution, report.progress)
        except KsegError as error:
            trouble = str(error)
        else:
            page, after, unread = wanted.page, report_lines(made), unread or bool(made["failures"])
    result |= {"report": None if page is None else printable_source(page)}
    palettes = [] if report.as_json else _palettes(request.output, result)
    report.finish(result, [*result_lines(result, "labelled", palettes), *after], *TOLD)
    if trouble is not None:
        report.warn(f"the store is complete, but there is no report of it: {trouble}")
        return FAILED
    if page is not None and extras.open_page:
        open_in_browser(page)
    return SOME_UNREADABLE if unread else DONE


def finished(request: Request) -> dict[str, Any] | None:
    """The earlier result, where the job was done already."""
    if request.finished is None:
        return None
    from kseg_core.resume.lock import sweep_after_kill
    from workflows.result import reused_result

    sweep_after_kill(request.output)
    return reused_result(request.finished, request.output)


def say_how_to_go_on(report: Report, request: Request) -> None:
    """For whoever stops it."""
    anew = "the same command starts anew, because of --overwrite"
    kept = "what was finished is kept: the same command goes on"
    report.how_to_go_on = anew if request.config.output.overwrite else kept


def tell_beforehand(report: Report, request: Request, *, writes: bool) -> int:
    from workflows.dry_run import dry_run

    found = with_commands(dry_run(request, report.progress, writes=writes).to_json())
    done = request.finished is not None
    report.finish({**found, "already_done": done}, dry_run_lines(found, already_done=done))
    return SOME_UNREADABLE if found["failures"] else DONE


def say_of_the_work(request: Request, result: JobResult) -> None:
    """What was not as asked for, and what was passed over."""
    if few := only_so_many(result.k, result.k_requested):
        log.warning("%s", few)
    say_of_the_files(request)


def say_of_the_files(request: Request) -> None:
    """What of the folders was no input of its own."""
    if request.listing.ours:
        made = "%d pictures that this program made (exports, reports) lie among the inputs and were passed over; "
        log.warning(made + "a pattern such as '*.png' takes them", request.listing.ours)
    if request.listing.passed_over:
        files = counted(request.listing.passed_over, "file")
        log.info("passed over %s: no images, or overviews and masks of one", files)
    for vrt, count in request.listing.read_through:
        log.warning(
            "%s names %d of the files, which are read through it; --exclude it to take them instead", vrt, count
        )
