"""``kseg-batch segments``: segments of every image, or of those of a store, at a level."""

from __future__ import annotations

from typing import Any

from kseg_core.choice import InputSelection
from kseg_core.command_lines import command_line, place
from kseg_core.config import ExecutionSettings, SegmentsConfig
from kseg_core.segment_settings import SegmentSettings, level_name

from ._labelling import INPUTS_AS_THEY_ARE, Extras
from ._layers import add_layer, failed
from ._options import WORKERS, Given, command, pick
from ._render import more_were_there, n_images, named, printable
from ._runtime import General, Report


@command(
    "segments",
    pick(InputSelection, "inputs", help="Folders, files, Zarr arrays or patterns (quoted); or one store."),
    pick(SegmentSettings, "level", default="medium"),
    pick(SegmentsConfig, "scale", "palette"),
    pick(Extras, "output"),
    *INPUTS_AS_THEY_ARE,
    pick(SegmentsConfig, "tile", "overwrite"),
    WORKERS,
    pick(ExecutionSettings, "strict"),
    General,
    failed=failed(SegmentsConfig()),
)
def segments(given: Given, report: Report) -> int:
    """Find segments in every image, parts that a person would tell apart, and cut their hierarchy at a level.

    Of a store, or where OUT is one of an earlier run, they are added to its images; otherwise a new store of segments
    is made. The hierarchy is kept with them, so that another level takes a moment, also where the files are gone.

    Examples:

      kseg-batch segments images.kseg.zarr
      kseg-batch segments images.kseg.zarr --level fine
      kseg-batch segments ./images --level 0.3 -o segments.zarr
    """
    return add_layer(given, SegmentsConfig, report, segments_lines)


def segments_lines(result: dict[str, Any]) -> list[str]:
    """The end of ``segments``."""
    images, output = result["images"], printable(result["output"])
    level = level_name(result["settings"]["level"])
    if images["done"]:
        head = f"segments of {n_images(images['done'])}, level {level} → {output} in {result['seconds']['total']:.1f} s"
        head += more_were_there(images["reused"])
    else:
        head = f"{output}: already done, nothing changed ({n_images(images['reused'])}, level {level})"
    see = f"see them: {command_line('export', place(result['output']), '--to', 'DIR', '--what', 'segments')}"
    return [head, see, *named("no segments of {} of the inputs:", result["failures"], "inputs")]
