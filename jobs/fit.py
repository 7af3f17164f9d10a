"""``kseg-batch fit``: a model, and nothing labelled."""

from __future__ import annotations

from typing import Any

from kseg_core.choice import InputSelection
from kseg_core.config import FitSettings, OutputSettings, RunConfig
from kseg_core.errors import UsageError

from ._again import next_command, with_commands
from ._labelling import (
    EXECUTION,
    FIT,
    INPUTS,
    TOLD,
    Extras,
    class_lines,
    config_of,
    finished,
    refuse_to_fit,
    say_how_to_go_on,
    say_of_the_work,
    tell_beforehand,
)
from ._options import Given, command, omit, pick
from ._render import result_lines
from ._runtime import DONE, SOME_UNREADABLE, General, Report


def _failed(error: Exception) -> dict[str, Any]:
    from workflows.result import failed_result

    return failed_result(error)


@command(
    "fit",
    pick(InputSelection, "inputs"),
    pick(FitSettings, "k", "k_range"),
    pick(RunConfig, "model", help="With --refit: the model, or the store, to start from."),
    pick(Extras, "output", help="The model to write.", metavar="MODEL"),
    *INPUTS,
    pick(RunConfig, "refit"),
    FIT[0],
    omit(FitSettings, "scope"),
    pick(RunConfig, "match", "classes"),
    pick(OutputSettings, "overwrite"),
    *EXECUTION,
    General,
    failed=_failed,
)
def fit(given: Given, report: Report) -> int:
    """Find K colours for all images and save them as a model; nothing is labelled.

    Examples:

      kseg-batch fit ./images --k 5 -o palette.zarr
      kseg-batch fit ./images --k 5 --features lab --match palette.zarr -o m.zarr
      kseg-batch fit ./this-year --model palette.zarr --refit -o this-year.zarr
    """
    if given["output"] is None:
        raise UsageError("fit needs an output: name the model to write with -o")
    if given["model"] is not None and not given["refit"]:
        raise UsageError("fit takes --model only to start from its centroids: add --refit, or leave it out")
    if (given["k"], given["start"], given["refit"]) == (None, (), False):
        refuse_to_fit(given)
        raise UsageError("fit needs the number of clusters: --k N, or --k auto; or --model M --refit")
    config = config_of(given)
    from workflows.request import prepare

    request = prepare(given.make(InputSelection), config, given["output"], "model")
    if given["dry_run"]:
        return tell_beforehand(report, request, writes=False)
    done = finished(request)
    if done is None:
        from workflows.run import fit as fit_model

        say_how_to_go_on(report, request)
        made = fit_model(request, report.progress)
        say_of_the_work(request, made)
        done = made.to_json()
    result = with_commands(done)
    left = ("output", "overwrite", "dry_run", "model", "performance_report")
    line = next_command("apply", "--model", request.output, without=left)
    classes = [] if report.as_json else class_lines(request.output, result)
    report.finish(result, [*result_lines(result, "fitted", classes), f"label with it: {line}"], *TOLD)
    return SOME_UNREADABLE if result["failures"] else DONE
