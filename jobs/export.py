"""``kseg-batch export``: pictures and outlines for people and other tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from typing import Any, Literal

from kseg_core.config import ExecutionSettings
from kseg_core.errors import UsageError
from kseg_core.export.settings import ExportSettings
from kseg_core.options import argument, option
from kseg_core.products import KINDS
from kseg_core.sizes import counted

from ._options import WORKERS, Given, command, pick
from ._render import cut, n_images, printable
from ._runtime import DONE, FAILED, SOME_UNREADABLE, General, Report


@dataclass(frozen=True, slots=True)
class Files:
    """Which images of a store, and where their files go."""

    store: str = argument("A store made by run, apply, edges or segments.", "STORE", required=True)
    to: str = option(MISSING, "The folder for the files; made where it is not there.", "Output", "DIR", required=True)
    image: tuple[str, ...] = option(
        (),
        "Only these images: a key or source, a name without its suffix, a folder, a suffix such as .jpg, or a glob; "
        "may be given again.",
        "Output",
        "KEY|GLOB",
        many=True,
    )
    overwrite: bool = option(False, "Replace files of the same names (nothing else is ever touched).", "Output")
    skip_existing: bool = option(
        False, "Leave files that are there already: goes on with an export that was stopped.", "Output"
    )

    def __post_init__(self) -> None:
        if self.overwrite and self.skip_existing:
            raise UsageError("--overwrite and --skip-existing ask for opposite things; give one")
        if not self.to.strip():
            raise UsageError("--to is empty: name a folder for the files")

    @property
    def existing(self) -> Literal["refuse", "replace", "keep"]:
        """What is done with files that are there."""
        return "replace" if self.overwrite else "keep" if self.skip_existing else "refuse"


def _failed(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of an export that could not begin."""
    images = {"total": 0, "done": 0, "failed": 0}
    nothing: dict[str, Any] = {"output": None, "images": images, "files": [], "kept": 0, "failures": []}
    return {"status": "failed", **nothing, "error": str(error)}


def _with_kinds(body: Callable[[Given, Report], int]) -> Callable[[Given, Report], int]:
    """The command, its help telling of every kind."""
    kinds = "\n\n    ".join(f"{kind.name}: {kind.help}" for kind in KINDS.values())
    body.__doc__ = (body.__doc__ or "").replace("KINDS", kinds)
    return body


@command(
    "export",
    pick(Files, "store", "to"),
    pick(ExportSettings, "what"),
    pick(Files, "image"),
    ExportSettings,
    Files,
    WORKERS,
    General,
    failed=_failed,
)
@_with_kinds
def export(given: Given, report: Report) -> int:
    """Make files of a store's images, for people and other tools: PNG, TIFF, GeoJSON, GeoPackage and others.

    KINDS

    Cut-outs and boundaries need the images where they were, or a run with --copy-image.

    Examples:

      kseg-batch export images.kseg.zarr --to out
      kseg-batch export images.kseg.zarr --to out --what cutout --cluster 3
      kseg-batch export images.kseg.zarr --to out --what masks --image 'leaf-*'
      kseg-batch export scene.kseg.zarr --to out --what polygons --min-area 50
      kseg-batch export scene.kseg.zarr --to out --what polygons --format gpkg
      kseg-batch export slide.kseg.zarr --to out --what polygons --format qupath
      kseg-batch export scene.kseg.zarr --to out --what labels --palette distinct
    """
    settings, execution, files = given.make(ExportSettings), given.make(ExecutionSettings), given.make(Files)
    if files.existing == "refuse":
        report.how_to_go_on = "files that were finished stay; the same command with --skip-existing goes on"
    from workflows.export import export as make
    from workflows.export_plan import ExportRequest

    request = ExportRequest(files.store, files.to, settings, files.image, files.existing)
    result = make(request, execution, report.progress)
    told = result.to_json()
    report.finish(told, export_lines(told))
    return {"ok": DONE, "partial": SOME_UNREADABLE, "failed": FAILED}[result.status]


def export_lines(result: dict[str, Any]) -> list[str]:
    """The end of ``export``."""
    made = Counter(file["what"] for file in result["files"])
    of = f" ({', '.join(f'{n} {what}' for what, n in made.items())})" if len(made) > 1 else ""
    head = f"{counted(len(result['files']), 'file')}{of} of {n_images(result['images']['total'])}"
    head += f" → {printable(result['output'])}"
    if result["kept"]:
        head += f"; {result['kept']} were there already and were left alone"
    rows = [
        f"  {printable(f['image'])} ({', '.join(f['what'])}): {printable(f['source'])}: {printable(f['reason'])}"
        for f in result["failures"]
    ]
    failed = result["images"]["failed"]
    return [head, *([f"not everything of {n_images(failed)}:", *cut(rows, "failures")] if rows else [])]
