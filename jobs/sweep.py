"""``kseg-batch sweep``: the best centroids for every number of clusters."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kseg_core.choice import InputSelection
from kseg_core.config import AUTO, ExecutionSettings, FitSettings, OutputSettings, RunConfig
from kseg_core.sizes import counted

from ._again import next_command, with_commands
from ._labelling import FIT, INPUTS, Extras, say_of_the_files
from ._options import WORKERS, Given, command, omit, pick
from ._render import cut, failure_lines, features_of, n_images, printable
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

    result = with_commands(sweep_over_k(request, report.progress).to_json())
    say_of_the_files(request)
    left, k = ["output", "overwrite"], str(result["k"])
    if result["each"] is not None:
        after = f"label with these: {next_command('run', '--k', AUTO, without=left)}"
    else:
        after = f"label with k {k}: {next_command('run', '--k', k, without=[*left, 'k_range'])}"
    report.finish(result, [*sweep_lines(result), after], "k")
    return SOME_UNREADABLE if result["failures"] else DONE


def sweep_lines(result: dict[str, Any]) -> list[str]:
    """The end of ``sweep``: the table, the choice, what could not be read."""
    low, high = result["k_range"]
    swept, seconds = n_images(result["images"]["swept"]), result["seconds"]["total"]
    megapixels = result["pixels"]["total"] / 1e6
    lines = [
        f"swept {swept}, {megapixels:.1f} MP, {features_of(result)}, k {low} to {high} → {printable(result['output'])} "
        f"in {seconds:.1f} s"
    ]
    if result["each"] is None:
        lines += [*_table(result), f"k {result['k']}: {result['why']}"]
    else:
        lines += cut(
            [f"  {printable(image['key'])}  k {image['k'] or '–'}  {image['why']}" for image in result["each"]],
            "images",
        )
        chosen = Counter(image["k"] for image in result["each"] if image["k"] is not None)
        lines += [f"k {k} for {n_images(n)}" for k, n in sorted(chosen.items())]
    return lines + failure_lines(result["failures"], result.get("left_out", ()))


def _table(result: dict[str, Any]) -> list[str]:
    """A line for every k, in columns."""
    cells = [("k", "inertia", "mse", "drop", "silhouette", "Calinski-Harabasz", "")]
    rows, before = result["sweep"], None
    marked = False
    for row in rows:
        drop = "–" if not before else f"{1 - row['inertia'] / before:.1%}"
        before = row["inertia"]
        marks = []
        if row["k_found"] < row["k"]:
            marks.append(f"only {counted(row['k_found'], 'distinct value')}")
        if row["k"] == result["knee"]:
            marks.append("← knee")
        if row["k_found"] == result["k"] and result["knee"] is None and not marked:
            marked = True
            marks.append("← chosen")
        silhouette = "–" if row["silhouette"] is None else f"{row['silhouette']:.3f}"
        index = (
            "–"
            if row["calinski_harabasz"] is None
            else f"{row['calinski_harabasz']:{',.0f' if row['calinski_harabasz'] < 1e12 else '.3g'}}"
        )
        numbers = (str(row["k"]), f"{row['inertia']:.4e}", f"{row['mse']:.6g}", drop, silhouette, index)
        cells.append((*numbers, "  ".join(marks)))
    widths = [max(len(row[column]) for row in cells) for column in range(6)]
    return [
        "  " + "  ".join([*(text.rjust(width) for text, width in zip(row, widths, strict=False)), row[6]]).rstrip()
        for row in cells
    ]
