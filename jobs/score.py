"""``kseg-batch score``: how well labels agree with references."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Any

from kseg_core.config import ExecutionSettings
from kseg_core.options import argument, option
from kseg_core.scoring.settings import ScoreSettings
from kseg_core.sizes import counted

from ._options import WORKERS, Given, command, pick
from ._render import MOST_LINES, n_images, named, printable
from ._runtime import DONE, SOME_UNREADABLE, General, Report

MOST_COLUMNS = 8  # classes of a confusion matrix that is printed: more do not fit into 80 columns
NAME_WIDTH = 16  # of a class in it


@dataclass(frozen=True, slots=True)
class Compared:
    """Which images of a store, with what, and where the files go."""

    store: str = argument("A store made by run, apply or segments.", "STORE", required=True)
    reference: str = option(
        MISSING,
        "What is right: a label image (PNG, TIFF, Zarr) or polygons (GeoJSON, GeoPackage, shapefile, ...) of all "
        "images, or a folder of such with the images' names.",
        "Input",
        "PATH",
        required=True,
    )
    image: tuple[str, ...] = option(
        (),
        "Only these images: a key or source, a name without its suffix, a folder, a suffix such as .jpg, or a glob; "
        "may be given again.",
        "Input",
        "KEY|GLOB",
        many=True,
    )
    to: str | None = option(
        None, "Also write the score as JSON, CSV files and a figure into this folder.", "Output", "DIR"
    )


def _failed(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a score that could not be made."""
    images = {"total": 0, "scored": 0, "unjudged": 0, "failed": 0}
    return {"status": "failed", "images": images, "output": None, "files": [], "failures": [], "error": str(error)}


@command(
    "score",
    pick(Compared, "store", "reference"),
    ScoreSettings,
    Compared,
    WORKERS,
    General,
    failed=_failed,
)
def score(given: Given, report: Report) -> int:
    """Say how well labels, classes or segments agree with references: what people have labelled.

    Of classes: confusion matrix, accuracy, kappa; precision, recall, F1 and IoU of each; adjusted Rand index and mutual
    information. Of regions that people drew, one picture a person: covering, probabilistic Rand index and variation of
    information. Exact for images of any size; pixels that are 0 or nodata in the reference are not judged.

    Examples:

      kseg-batch score images.kseg.zarr --reference labels
      kseg-batch score images.kseg.zarr --reference labels --assign one-to-one
      kseg-batch score scene.kseg.zarr --reference fields.gpkg --attribute crop
      kseg-batch score a.kseg.zarr --what segments --reference people --to out
    """
    settings, execution, compared = given.make(ScoreSettings), given.make(ExecutionSettings), given.make(Compared)
    from workflows.score import ScoreRequest
    from workflows.score import score as make

    request = ScoreRequest(compared.store, compared.reference, settings, compared.image, compared.to)
    result = make(request, execution, report.progress)
    report.finish(result, score_lines(result))
    return SOME_UNREADABLE if result["failures"] else DONE


def score_lines(result: dict[str, Any]) -> list[str]:
    """A score for a person."""
    pixels, classes = result["pixels"], result["classes"]
    head = f"{printable(result['store'])}: {result['what']} of {n_images(result['images']['scored'])}, "
    head += f"{counted(result['references'], 'reference')}, {pixels['judged'] / 1e6:.4g} MP judged"
    lines = [head]
    others = [(pixels["unlabelled"], "judged but not valid in the image"), (pixels["unjudged"], "not judged")]
    lines += [f"  {count / 1e6:.4g} MP {what}" for count, what in others if count]
    if result["images"]["unjudged"]:
        lines.append(f"  {n_images(result['images']['unjudged'])} in which the reference judges no pixel")
    if classes is not None:
        lines += _classes_lines(result, classes)
    lines += _agreement_lines(result["agreement"], of_classes=classes is not None)
    if result["output"] is not None:
        lines.append(f"{counted(len(result['files']), 'file')} → {printable(result['output'])}")
    return [*lines, *named("{} of the images could not be scored:", result["failures"], "images")]


def _classes_lines(result: dict[str, Any], classes: dict[str, Any]) -> list[str]:
    """Assignment, figures of all, of each class, and the confusion matrix."""
    by = {"majority": "by majority", "one-to-one": "one to one", "name": "by name"}[result["assign"]]
    lines = [
        f"accuracy {_share(classes['accuracy'])}, kappa {_figure(classes['kappa'])}, "
        f"mean F1 {_figure(classes['mean_f1'])}, mean IoU {_figure(classes['mean_iou'])}; assigned {by}"
    ]
    for each in (result["assignment"] or ())[:MOST_LINES]:
        share = each["correct"] / each["judged"]
        stands = f"{printable(each['class'])}  {share:6.1%} of its pixels" if each["class"] is not None else "no class"
        lines.append(f"  {printable(each['name'])} → {stands}")
    rows = [
        [
            each["name"],
            *(_figure(each[name]) for name in ("precision", "recall", "f1", "iou")),
            f"{each['reference']:,}",
        ]
        for each in classes["each"]
    ]
    lines += _table(["class", "precision", "recall", "F1", "IoU", "pixels"], rows)
    names = [each["name"] for each in classes["each"]]
    if 0 < len(names) <= MOST_COLUMNS:
        lines += _confusion(names, classes["confusion"], unassigned=classes["unassigned"] > 0)
    return lines


def _confusion(names: list[str], counts: list[list[int]], *, unassigned: bool) -> list[str]:
    heads = [*names, *(["unassigned"] if unassigned else [])]
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row)
        rows.append([name, *(f"{count / total:.1%}" if total else "–" for count in row[: len(heads)])])
    return [
        "confusion: of each class of the reference (rows), what its pixels are labelled as",
        *_table(["", *heads], rows),
    ]


def _agreement_lines(found: dict[str, Any] | None, *, of_classes: bool) -> list[str]:
    if found is None:
        return []
    chance = f"adjusted Rand index {_figure(found['adjusted_rand'])}, "
    chance += f"normalized mutual information {_figure(found['mutual_information'])}"
    if of_classes:
        return [chance]
    return [
        f"covering {_figure(found['covering'])}, probabilistic Rand index {_figure(found['rand'])}, "
        f"variation of information {_figure(found['variation_of_information'])} bits",
        chance,
    ]


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Columns, the first to the left and the others to the right; of many rows the first."""
    cells = [[_short(cell) for cell in row] for row in [heads, *rows[:MOST_LINES]]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    lines = []
    for first, *others in cells:
        padded = [first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
        lines.append(f"  {'  '.join(padded)}".rstrip())
    more = len(rows) - MOST_LINES
    return [*lines, f"  … and {more} more (--json lists all)"] if more > 0 else lines


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= NAME_WIDTH else f"{text[: NAME_WIDTH - 1]}…"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
