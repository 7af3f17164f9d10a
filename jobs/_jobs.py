"""What ``run``, ``fit`` and ``apply`` share: from option values to one workflow, from its result to the report."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from kseg_core.config import AUTO, FitSettings, RunConfig
from kseg_core.errors import UsageError
from kseg_core.sizes import parse_bytes
from workflows.request import InputSelection, Request, prepare
from workflows.results import JobResult, reused_result
from workflows.sweep_request import prepare_sweep

from ._render import dry_run_lines, result_lines, sweep_lines
from ._runtime import DONE, SOME_UNREADABLE, Report, log


def settings_of_fit(
    k: str | None, k_range: str | None, start: str | None, bands: str | None, **options: Any
) -> FitSettings | None:
    """The fit's settings; None where neither ``k`` nor ``start`` says how many clusters."""
    colors = () if start is None else tuple(color.strip() for color in start.replace(";", ",").split(","))
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
    return FitSettings(k=number, k_range=tried, start=colors, bands=_numbers(bands), **options)


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


def thresholds(edges: str | None) -> tuple[float, float] | None:
    """``150,200`` as numbers."""
    if edges is None:
        return None
    try:
        low, high = (float(value) for value in edges.split(","))
    except ValueError:
        raise UsageError(f"--edges takes two numbers, LOW,HIGH, as in 150,200; got {edges!r}") from None
    return low, high


def memory_bytes(text: str | None) -> int | None:
    """``--memory`` in bytes."""
    return None if text is None else parse_bytes(text, "--memory")


def label(
    selection: InputSelection, config: RunConfig, output: str | None, report: Report, *, dry_run: bool = False
) -> int:
    """Carry out ``run`` or ``apply``, or tell what they would do."""
    request = prepare(selection, config, output, "store")
    if dry_run:
        return _tell_beforehand(report, request, writes=True)
    if request.finished is not None:
        return _tell(report, reused_result(request.finished), "labelled")
    from workflows.run import run

    return _finish(report, request, run(request, report.progress), "labelled")


def fit(selection: InputSelection, config: RunConfig, output: str, report: Report, *, dry_run: bool = False) -> int:
    """Carry out ``fit``, or tell what it would do."""
    request = prepare(selection, config, output, "model")
    if dry_run:
        return _tell_beforehand(report, request, writes=False)
    if request.finished is not None:
        return _tell(report, reused_result(request.finished), "fitted")
    from workflows.run import fit as fit_model

    return _finish(report, request, fit_model(request, report.progress), "fitted")


def sweep(selection: InputSelection, config: RunConfig, output: str | None, report: Report) -> int:
    """Carry out ``sweep``."""
    request = prepare_sweep(selection, config, output)
    from workflows.sweep import sweep as sweep_over_k

    result = sweep_over_k(request, report.progress).to_json()
    if request.listing.passed_over:
        log.info("%d files that are plainly not images were passed over", request.listing.passed_over)
    report.finish(result, sweep_lines(result))
    return SOME_UNREADABLE if result["failures"] else DONE


def _tell_beforehand(report: Report, request: Request, *, writes: bool) -> int:
    from workflows.run import dry_run

    found = dry_run(request, report.progress, writes=writes).to_json()
    done = request.finished is not None
    report.finish({**found, "already_done": done}, dry_run_lines(found, already_done=done))
    return SOME_UNREADABLE if found["failures"] else DONE


def _finish(report: Report, request: Request, result: JobResult, verb: str) -> int:
    if result.k is not None and isinstance(result.k_requested, int) and result.k < result.k_requested:
        log.warning("the data has only %d distinct values: %d clusters, not %d", result.k, result.k, result.k_requested)
    if request.listing.passed_over:
        log.info("%d files that are plainly not images were passed over", request.listing.passed_over)
    return _tell(report, result.to_json(), verb)


def _tell(report: Report, result: dict[str, Any], verb: str) -> int:
    report.finish(result, result_lines(result, verb))
    return SOME_UNREADABLE if result["failures"] else DONE
