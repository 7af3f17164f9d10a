"""What ``run``, ``fit`` and ``apply`` share: from option values to one workflow, from its result to the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from kseg_core.choice import PictureChoice
from kseg_core.config import AUTO, FitSettings, InputSettings, NodataIn, RunConfig
from kseg_core.errors import KsegError, UsageError
from kseg_core.inputs.keys import printable_source
from kseg_core.report.settings import default_folder, require_place
from kseg_core.resume.lock import sweep_after_kill
from kseg_core.sizes import only_so_many, parse_bytes
from workflows.request import InputSelection, Request, prepare, refit_settings
from workflows.result import JobResult, failed_result, held_to, reused_result
from workflows.sweep_request import prepare_sweep

from ._again import next_command, see_them, with_commands, word
from ._logging import log
from ._render import MOST_LINES, dry_run_lines, palettes_lines, report_lines, result_lines, sweep_lines
from ._runtime import DONE, FAILED, SOME_UNREADABLE, Report


def joined(values: Sequence[str] | None) -> str | None:
    """An option with commas that may be given again, as one; None where it is not given.

    Of a variable the values are its words: their commas are at their ends.
    """
    return ",".join(value.strip(" ,;") for value in values) if values else None


def input_settings(
    nodata: Sequence[str], nodata_in: str | None, mask: str | None, max_pixels: int, choice: PictureChoice
) -> InputSettings:
    """Which pixels of which picture count."""
    return InputSettings(joined(nodata) or AUTO, mask, max_pixels, choice, cast(NodataIn | None, nodata_in))


def settings_of_fit(
    k: str | None, k_range: str | None, start: Sequence[str] | None, bands: Sequence[str] | None, **options: Any
) -> FitSettings | None:
    """The fit's settings; None where neither ``k`` nor ``start`` says how many clusters."""
    options["bands"] = _numbers(joined(bands))
    given = joined(start)
    colors = () if given is None else tuple(color.strip() for color in given.replace(";", ",").split(","))
    if k is None and not colors:
        if k_range is not None:
            raise UsageError("--k-range goes with --k auto")
        defaults = {field.name: field.default for field in dataclasses.fields(FitSettings)}
        for name, value in options.items():
            if value != defaults[name]:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} is for a fit: give --k N with it; with --model there is nothing to fit")
        return None
    number = len(colors) if k is None else clusters(k)
    tried = None if k_range is None else range_of(k_range)
    return FitSettings(k=number, k_range=tried, start=colors, **options)


def refit_of(
    model: str | None,
    match: str | None,
    k: str | None,
    k_range: str | None,
    start: Sequence[str] | None,
    **options: Any,
) -> FitSettings:
    """The settings of ``--refit``: what the model does not say of itself may be given."""
    if model is None:
        raise UsageError("--refit starts from the centroids of a model: give --model M with it")
    if any(given is not None for given in (match, k, k_range, start)):
        raise UsageError("--refit keeps the number of clusters and their numbers: leave out --k, --start and --match")
    kept = ("max_iter", "tol", "batch_pixels", "seed", "kind")
    defaults = {field.name: field.default for field in dataclasses.fields(FitSettings)}
    for name, value in options.items():
        if name not in kept and value != defaults.get(name) and value is not None:
            raise UsageError(f"--{name.replace('_', '-')} is the model's own with --refit: leave it out")
    return refit_settings(model, **{name: options[name] for name in kept})


def clusters(k: str) -> int | Literal["auto"]:
    """``5`` as a number, or ``auto``."""
    if k == AUTO:
        return AUTO
    try:
        return int(k)
    except ValueError:
        raise UsageError(f"--k takes a number of clusters, as in --k 5, or auto; got {k!r}") from None


def range_of(text: str) -> tuple[int, int]:
    """``1:10`` as numbers."""
    low, colon, high = text.partition(":")
    try:
        if colon:
            return int(low), int(high)
    except ValueError:
        pass
    raise UsageError(f"--k-range takes two numbers like 1:10; got {text!r}")


def _numbers(bands: str | None) -> tuple[int, ...]:
    """``4,3,2`` as numbers."""
    try:
        return tuple(int(band) for band in bands.split(",")) if bands else ()
    except ValueError:
        raise UsageError(f"--bands takes numbers like 4,3,2; got {bands!r}") from None


def thresholds(edges: Sequence[str] | None) -> tuple[float, float] | None:
    """``150,200`` as numbers."""
    pair = joined(edges)
    if pair is None:
        return None
    try:
        low, high = (float(value) for value in pair.split(","))
    except ValueError:
        raise UsageError(f"--edges takes two numbers, LOW,HIGH, as in 150,200; got {pair!r}") from None
    return low, high


def memory_bytes(text: str | None) -> int | None:
    """``--memory`` in bytes."""
    return None if text is None else parse_bytes(text, "--memory")


@dataclass(frozen=True, slots=True)
class Also:
    """What else may be asked of ``run`` and ``apply``.

    Parameters
    ----------
    dry_run
        Only to tell what would be done.
    fail_on_drift
        How far the new images may be from the model's.
    report, open_page
        To make the report of the store, and to open it too.
    """

    dry_run: bool = False
    fail_on_drift: float | None = None
    report: bool = False
    open_page: bool = False

    @property
    def reports(self) -> bool:
        """Whether a report is made."""
        return self.report or self.open_page


def label(selection: InputSelection, config: RunConfig, output: str | None, report: Report, also: Also) -> int:
    """Carry out ``run`` or ``apply``, or tell what they would do."""
    fail_on_drift = also.fail_on_drift
    if fail_on_drift is not None and config.model is None:
        raise UsageError("--fail-on-drift compares with a given model: give --model M with it")
    if fail_on_drift is not None and not 0 <= fail_on_drift <= 1:
        raise UsageError(f"--fail-on-drift is from 0 to 1; got {fail_on_drift}")
    request = prepare(selection, config, output, "store")
    if also.reports:  # before hours of work
        require_place(default_folder(request.output), request.output, overwrite=False)
    if also.dry_run:
        return _tell_beforehand(report, request, writes=True)
    if request.finished is not None:
        sweep_after_kill(request.output)
        result = held_to(reused_result(request.finished, request.output), fail_on_drift)
    else:
        from workflows.run import run

        _say_how_to_go_on(report, config)
        done = run(request, report.progress)
        result = held_to(done.to_json(), fail_on_drift)
        _say_of_the_work(request, done)
    return _gate(report, result, _tell_of_the_store(report, request, result, also))


def _tell_of_the_store(report: Report, request: Request, result: dict[str, Any], also: Also) -> int:
    """What was labelled, and its report or how to have it."""
    result = with_commands(result) if "drift" not in result else result  # of a given model: no kind is left out
    after, unread, trouble, page = [see_them(request.output)], bool(result["failures"]), None, None
    if also.reports:
        from workflows.report import ReportRequest, make_report

        asked = ReportRequest(request.output)
        execution = dataclasses.replace(request.config.execution, strict=False, performance_report=None)
        try:
            made = make_report(asked, execution, report.progress)
        except KsegError as error:
            trouble = str(error)
        else:
            page, after, unread = asked.page, report_lines(made), unread or bool(made["failures"])
    result |= {"report": None if page is None else printable_source(page)}
    palettes = []
    if result["scope"] == "image" and not report.as_json:
        from workflows.inspect import describe_palettes

        palettes = palettes_lines(*describe_palettes(request.output, MOST_LINES))
    report.finish(result, [*result_lines(result, "labelled", palettes), *after])
    if trouble is not None:
        report.warn(f"the store is complete, but there is no report of it: {trouble}")
        return FAILED
    if page is not None and also.open_page:
        from ._page import open_in_browser

        open_in_browser(page)
    return SOME_UNREADABLE if unread else DONE


def failed_labelling(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a ``run`` or ``apply`` that failed."""
    return {**failed_result(error), "report": None}


def _say_how_to_go_on(report: Report, config: RunConfig) -> None:
    """For whoever stops it."""
    anew = "the same command starts anew, because of --overwrite"
    report.how_to_go_on = anew if config.output.overwrite else "what was finished is kept: the same command goes on"


def _gate(report: Report, result: dict[str, Any], code: int) -> int:
    """The exit code, given how far the new images may be from the model's."""
    drift = result.get("drift") or {}
    if not drift.get("failed"):
        return code
    report.warn(
        f"drift: the new images' cluster shares are {drift['batch']['share_distance']:.3f} from the model's, more than "
        f"--fail-on-drift {drift['limit']:g}; everything was written"
    )
    return FAILED


def fit(selection: InputSelection, config: RunConfig, output: str, report: Report, *, dry_run: bool = False) -> int:
    """Carry out ``fit``, or tell what it would do."""
    request = prepare(selection, config, output, "model")
    if dry_run:
        return _tell_beforehand(report, request, writes=False)
    if request.finished is not None:
        sweep_after_kill(request.output)
        return _tell_of_the_model(report, request, reused_result(request.finished, request.output))
    from workflows.run import fit as fit_model

    _say_how_to_go_on(report, config)
    done = fit_model(request, report.progress)
    _say_of_the_work(request, done)
    return _tell_of_the_model(report, request, done.to_json())


def sweep(selection: InputSelection, config: RunConfig, output: str | None, report: Report) -> int:
    """Carry out ``sweep``."""
    request = prepare_sweep(selection, config, output)
    from workflows.sweep import sweep as sweep_over_k

    result = with_commands(sweep_over_k(request, report.progress).to_json())
    _say_of_the_files(request)
    report.finish(result, [*sweep_lines(result), *_run_of_sweep(result)])
    return SOME_UNREADABLE if result["failures"] else DONE


def _run_of_sweep(result: dict[str, Any]) -> list[str]:
    """What labels with what was found."""
    left = ("output", "overwrite")
    if result["each"] is not None:
        return [f"label with these: {next_command('run', '--k', 'auto', without=left)}"]
    k = str(result["k"])
    return [f"label with k {k}: {next_command('run', '--k', k, without=(*left, 'k_range'))}"]


def _tell_beforehand(report: Report, request: Request, *, writes: bool) -> int:
    from workflows.dry_run import dry_run

    found = dry_run(request, report.progress, writes=writes).to_json()
    done = request.finished is not None
    found = with_commands(found)
    report.finish({**found, "already_done": done}, dry_run_lines(found, already_done=done))
    return SOME_UNREADABLE if found["failures"] else DONE


def _say_of_the_work(request: Request, result: JobResult) -> None:
    """What was not as asked for, and what was passed over."""
    if few := only_so_many(result.k, result.k_requested):
        log.warning("%s", few)
    _say_of_the_files(request)


def _say_of_the_files(request: Request) -> None:
    """What of the folders was no input of its own."""
    if request.listing.ours:
        made = "%d pictures that this program made (exports, reports) lie among the inputs and were passed over; "
        log.warning(made + "a pattern such as '*.png' takes them", request.listing.ours)
    if request.listing.passed_over:
        log.info("%d files that are plainly not images were passed over", request.listing.passed_over)
    for vrt, count in request.listing.read_through:
        log.warning(
            "%s names %d of the files, which are read through it; --exclude it to take them instead", vrt, count
        )


def _tell_of_the_model(report: Report, request: Request, result: dict[str, Any]) -> int:
    result = with_commands(result)
    left = ("output", "overwrite", "dry_run", "model", "performance_report")
    command = next_command("apply", "--model", word(request.output), without=left)
    report.finish(result, [*result_lines(result, "fitted"), f"label with it: {command}"])
    return SOME_UNREADABLE if result["failures"] else DONE
