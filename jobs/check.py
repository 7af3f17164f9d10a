"""``kseg-batch check``: whether a store is complete and right, and its repair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kseg_core.command_lines import made_anew_by
from kseg_core.config import ExecutionSettings
from kseg_core.options import argument, option
from kseg_core.sizes import counted

from ._options import WORKERS, Given, command
from ._render import cut, n_images, printable
from ._runtime import DONE, FAILED, General, Report


@dataclass(frozen=True, slots=True)
class Checked:
    """Which store, and whether what is damaged is made anew."""

    store: str = argument("A store made by run, apply, edges or segments, or a model.", "STORE", required=True)
    repair: bool = option(False, "Make anew, from their sources, the images that are damaged.", "Output")


@command(
    "check",
    Checked,
    WORKERS,
    General,
    failed=lambda error: {"status": "failed", "problems": [str(error)]},
)
def check(given: Given, report: Report) -> int:
    """Verify a store: complete, readable, masks and counts agree with labels, labels agree with centroids.

    Where an image's source is still there unchanged, its pixels are labelled anew and compared.

    With --repair what is damaged is made anew from its source, and nothing else is touched. Segments whose hierarchy is
    whole are cut anew from it where the source is gone.

    Examples:

      kseg-batch check images.kseg.zarr
      kseg-batch check images.kseg.zarr --json
      kseg-batch check images.kseg.zarr --repair
    """
    execution, store = given.make(ExecutionSettings), given["store"]
    if given["repair"]:
        from workflows.repair import repair_store

        report.how_to_go_on = "the same command goes on"
        found = repair_store(store, execution, report.progress)
    else:
        from workflows.check import check_store

        found = check_store(store, execution, report.progress)

    report.finish(found, check_lines(store, found))
    return DONE if found["status"] == "ok" else FAILED


def check_lines(store: str, found: dict[str, Any]) -> list[str]:
    """A verification for a person."""
    made = found.get("repaired")
    names = [f"  {printable(key)}" for key in made or ()]
    return [*([f"made anew: {n_images(len(names))}", *cut(names, "images")] if made else []), *_verdict(store, found)]


def _verdict(store: str, found: dict[str, Any]) -> list[str]:
    why = [f"  not compared: {n_images(n)}: {printable(reason)}" for reason, n in found["not_compared"].items()]
    if found["status"] == "ok":
        if not found["images"]:
            return [f"{printable(store)}: complete and right"]
        if not found.get("labelled", True):
            return [f"{printable(store)}: complete and right; {n_images(found['images'])}, with {found['layer']} alone"]
        again = f"{found['compared']} of {n_images(found['images'])} labelled anew from their sources and compared"
        return [f"{printable(store)}: complete and right; {again}", *cut(why, "reasons")]
    hint = found["damaged"] and "repaired" not in found
    return [
        f"{printable(store)}: {counted(len(found['problems']), 'problem')}",
        *cut([f"  {printable(p)}" for p in found["problems"]], "problems"),
        *cut(why, "reasons"),
        *([f"what is damaged is {made_anew_by(store)}"] if hint else []),
    ]
