"""What ``run``, ``fit`` and ``apply`` share: from option values to one workflow, from its result to the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, cast

from kseg_core.choice import PictureChoice
from kseg_core.config import AUTO, FitSettings, InputSettings, NodataIn, RunConfig
from kseg_core.errors import UsageError
from kseg_core.resume.lock import sweep_after_kill
from kseg_core.sizes import only_so_many, parse_bytes
from workflows.request import InputSelection, Request, prepare, refit_settings
from workflows.running.results import JobResult, held_to, reused_result
from workflows.sweep_request import prepare_sweep

from ._again import with_commands
from ._logging import log
from ._render import dry_run_lines, result_lines, sweep_lines
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
    return FitSettings(k=number, k_range=tried, start=colors, bands=_numbers(joined(bands)), **options)


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


def label(
    selection: InputSelection,
    config: RunConfig,
    output: str | None,
    report: Report,
    *,
    dry_run: bool = False,
    fail_on_drift: float | None = None,
) -> int:
    """Carry out ``run`` or ``apply``, or tell what they would do."""
    if fail_on_drift is not None and config.model is None:
        raise UsageError("--fail-on-drift compares with a given model: give --model M with it")
    if fail_on_drift is not None and not 0 <= fail_on_drift <= 1:
        raise UsageError(f"--fail-on-drift is from 0 to 1; got {fail_on_drift}")
    request = prepare(selection, config, output, "store")
    if dry_run:
        return _tell_beforehand(report, request, writes=True)
    if request.finished is not None:
        sweep_after_kill(request.output)
        result = held_to(reused_result(request.finished, request.output), fail_on_drift)
        return _gate(report, result, _tell(report, result, "labelled"))
    from workflows.run import run

    _say_how_to_go_on(report, config)
    done = run(request, report.progress)
    result = held_to(done.to_json(), fail_on_drift)
    _say_of_the_work(request, done)
    return _gate(report, result, _tell(report, result, "labelled"))


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
        return _tell(report, reused_result(request.finished, request.output), "fitted")
    from workflows.run import fit as fit_model

    _say_how_to_go_on(report, config)
    done = fit_model(request, report.progress)
    _say_of_the_work(request, done)
    return _tell(report, done.to_json(), "fitted")


def sweep(selection: InputSelection, config: RunConfig, output: str | None, report: Report) -> int:
    """Carry out ``sweep``."""
    request = prepare_sweep(selection, config, output)
    from workflows.sweep import sweep as sweep_over_k

    result = with_commands(sweep_over_k(request, report.progress).to_json())
    _say_of_the_files(request)
    report.finish(result, sweep_lines(result))
    return SOME_UNREADABLE if result["failures"] else DONE


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


def _tell(report: Report, result: dict[str, Any], verb: str) -> int:
    result = with_commands(result) if "drift" not in result else result  # of a given model: no kind is left out
    report.finish(result, result_lines(result, verb))
    return SOME_UNREADABLE if result["failures"] else DONE
