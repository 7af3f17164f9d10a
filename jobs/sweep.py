"""``kseg-batch sweep``: the best centroids for every number of clusters."""

from __future__ import annotations

from typing import Any

from kseg_core.choice import InputSelection
from kseg_core.config import AUTO, ExecutionSettings, FitSettings, OutputSettings, RunConfig

from ._again import next_command, with_commands
from ._labelling import FIT, INPUTS, Extras, say_of_the_files
from ._options import WORKERS, Given, command, omit, pick
from ._runtime import DONE, SOME_UNREADABLE, General, Report


def _failed(error: Exception) -> dict[str, Any]:
    from workflows.sweep_request import failed_sweep

    return failed_sweep(error)


@command(
    "sweep",
    pick(InputSelection, "inputs"),
    pick(FitSettings, "k_range", default="1:10", help="Numbers of clusters to try."),
    pick(
        Extras,
        "output",
        help="The folder to write table, figure and record to. Default: <input name>.sweep in the current folder.",
        metavar="DIR",
    ),
    *INPUTS,
    FIT[0],
    omit(FitSettings, "k", "start"),
    pick(
        OutputSettings,
        "overwrite",
        help="Write into a folder that holds other files (nothing else in it is touched).",
    ),
    WORKERS,
    pick(ExecutionSettings, "strict"),
    General,
    failed=_failed,
)
def sweep(given: Given, report: Report) -> int:
    """Find the best centroids for every number of clusters, and the knee of the inertia curve (the elbow method).

    The pixels are read once. Writes sweep.csv, sweep.png and sweep.json, which has the centroids and colours too.

    Beside inertia stand the simplified silhouette and the index of Calinski and Harabasz; for both more is better.

    Where the curve has no knee, the largest silhouette decides.

    Examples:

      kseg-batch sweep ./images
      kseg-batch sweep ./images --k-range 2:20 --features lab -o elbow
      kseg-batch sweep ./images --scope image --json
    """
    config = given.make(RunConfig, fit=given.make(FitSettings, k=AUTO))
    from workflows.sweep_request import prepare_sweep

    request = prepare_sweep(given.make(InputSelection), config, given["output"])
    from workflows.sweep import sweep as sweep_over_k

    from ._render import sweep_lines

    result = with_commands(sweep_over_k(request, report.progress).to_json())
    say_of_the_files(request)
    left, k = ["output", "overwrite"], str(result["k"])
    if result["each"] is not None:
        after = f"label with these: {next_command('run', '--k', AUTO, without=left)}"
    else:
        after = f"label with k {k}: {next_command('run', '--k', k, without=[*left, 'k_range'])}"
    report.finish(result, [*sweep_lines(result), after])
    return SOME_UNREADABLE if result["failures"] else DONE
