"""``kseg-batch edges``: Canny edges of every image."""

from __future__ import annotations

from typing import Any

from kseg_core.choice import InputSelection
from kseg_core.config import EdgesConfig, ExecutionSettings
from kseg_core.edge_settings import EdgeSettings

from ._labelling import INPUTS_OF_COLOURS, Extras
from ._layers import add_layer, failed
from ._options import WORKERS, Given, command, pick
from ._render import more_were_there, n_images, named, printable
from ._runtime import General, Report


@command(
    "edges",
    pick(InputSelection, "inputs"),
    pick(EdgeSettings, "low", "high", "blur", "aperture", "l2", "on"),
    pick(Extras, "output"),
    *INPUTS_OF_COLOURS,
    pick(EdgesConfig, "tile", "overwrite"),
    WORKERS,
    pick(ExecutionSettings, "strict"),
    General,
    failed=failed(EdgesConfig()),
)
def edges(given: Given, report: Report) -> int:
    """Find the Canny edges of every image, exactly as OpenCV does on the whole image, however large it is.

    Edges are written as images/<key>/edges. If OUT is a store of an earlier run, they are added to its images;
    otherwise a new store of edges is made. No edge is found where a transparent, masked or nodata pixel is near.

    Examples:

      kseg-batch edges ./images --low 150 --high 200
      kseg-batch edges scene.tif --low 50 --high 100 --blur 1.4 --on gray
    """
    return add_layer(given, EdgesConfig, report, edges_lines)


def edges_lines(result: dict[str, Any]) -> list[str]:
    """The end of ``edges``."""
    images, pixels, output = result["images"], result["pixels"], printable(result["output"])
    share = f"{result['edge_pixels'] / pixels['total']:.1%} of the pixels are edges"
    if images["done"]:
        head = f"edges of {n_images(images['done'])} → {output} in {result['seconds']['total']:.1f} s; {share}"
        head += more_were_there(images["reused"])
    else:
        head = f"{output}: already done, nothing changed ({n_images(images['reused'])}); {share}"
    return [head, *named("no edges of {} of the inputs:", result["failures"], "inputs")]
