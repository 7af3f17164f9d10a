"""``kseg-batch edges``: Canny edges of every image."""

from __future__ import annotations

from typing import Any

from kseg_core.choice import InputSelection
from kseg_core.config import EdgesConfig, ExecutionSettings
from kseg_core.edge_settings import EdgeSettings

from ._labelling import INPUTS, Extras
from ._options import WORKERS, Given, command, pick
from ._runtime import DONE, SOME_UNREADABLE, General, Report


def _failed(error: Exception) -> dict[str, Any]:
    from workflows.layer_request import failed_layer

    return failed_layer(error, EdgesConfig().layer)


@command(
    "edges",
    pick(InputSelection, "inputs"),
    pick(EdgeSettings, "low", "high", "blur", "aperture", "l2", "on"),
    pick(Extras, "output"),
    *INPUTS,
    pick(EdgesConfig, "tile", "overwrite"),
    WORKERS,
    pick(ExecutionSettings, "strict"),
    General,
    failed=_failed,
)
def edges(given: Given, report: Report) -> int:
    """Find the Canny edges of every image, exactly as OpenCV does on the whole image, however large it is.

    Edges are written as images/<key>/edges. If OUT is a store of an earlier run, they are added to its images;
    otherwise a new store of edges is made. No edge is found where a transparent, masked or nodata pixel is near.

    Examples:

      kseg-batch edges ./images --low 150 --high 200
      kseg-batch edges scene.tif --low 50 --high 100 --blur 1.4 --on gray
    """
    settings, selection = given.make(EdgesConfig), given.make(InputSelection)
    from kseg_core.resume.lock import sweep_after_kill
    from workflows.layer_request import nothing_done, prepare_layer

    from ._render import edges_lines

    request = prepare_layer(selection, settings, given["output"])
    if request.finished:
        sweep_after_kill(request.output)
        result = nothing_done(request)
    else:
        from workflows.layer_job import add_to_images

        result = add_to_images(request, report.progress)
    told = result.to_json()
    report.finish(told, edges_lines(told))
    return SOME_UNREADABLE if result.failures else DONE
