"""The figures of a report as PNG files. Loads Matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from kseg_core.config import ADDED
from kseg_core.figures import plots
from kseg_core.products import FIGURES
from kseg_core.scoring.files import names_of
from kseg_core.sizes import counted

from .content import Card, Report
from .page import LINES, Numbers, PicturePart, digits, percent
from .thumbnails import pixels_of

MOST_ROWS, MOST_MASKS = 6, 8  # images of a figure, and masks of each


def figure_files(report: Report) -> dict[str, bytes]:
    """Every figure there is something to draw of, by its file's name."""
    drawn = ((name, PICTURES[name].draw(report) if name in PICTURES else _lines(name, report)) for name in FIGURES)
    return {name: plots.to_png(figure) for name, figure in drawn if figure is not None}


def shown_on_page(report: Report, files: Mapping[str, bytes]) -> list[tuple[PicturePart, bytes]]:
    """Which of the files the page shows as they are, and in which part each."""
    parts = ((PICTURES[name].part(report), file) for name, file in files.items() if name in PICTURES)
    return [(part, file) for part, file in parts if part is not None]


def _lines(name: str, report: Report) -> Figure | None:
    charts = LINES[name].charts(report)
    return plots.lines_figure(charts) if charts else None


def _palette(report: Report) -> Figure | None:
    colors = np.array([cluster.color for cluster in report.clusters], np.uint8)
    return plots.palette_figure(colors, [cluster.share for cluster in report.clusters]) if report.clusters else None


def _comparison(report: Report, added: str | None = None) -> Figure | None:
    """Originals beside what they became; with a layer that was ``added``, images that have it, beside that too."""
    kinds = ["original", *(["segmented"] if report.is_labelled else []), *([added] if added else [])]
    if len(kinds) == 1:
        return None
    images = [image for image in report.cards if (added or "original") in image.pictures.by_name][:MOST_ROWS]
    rows = [(_name(image), [_pixels(image.pictures.by_name.get(kind)) for kind in kinds]) for image in images]
    return plots.comparison_figure(rows, kinds) if rows else None


def _masks(report: Report) -> Figure | None:
    masked = [image for image in report.cards if image.pictures.masks]
    rows = [(_name(i), [(j, pixels_of(file)) for j, file in i.pictures.masks[:MOST_MASKS]]) for i in masked]
    return plots.masks_figure(rows) if rows else None


def _scatter(report: Report) -> Figure | None:
    if (cloud := report.cloud) is None:
        return None
    centres = cloud.colors if cloud.numbered else np.empty((0, 3), np.uint8)
    return plots.scatter_figure(cloud.points, cloud.colors[cloud.labels], centres, cloud.axes)


def _elbow(report: Report) -> Figure | None:
    return None if report.sweep is None else plots.sweep_figure(report.sweep)


def _several(report: Report) -> Figure | None:
    if (painted := report.painted) is None:
        return None
    titles = ["original", *(f"k = {k}" for k, _ in painted.pictures)]
    row = [_pixels(painted.original), *(pixels_of(file) for _, file in painted.pictures)]
    return plots.comparison_figure([(painted.name, row)], titles)


def _elbows_part(report: Report) -> PicturePart | None:
    """Of the curves of many images; those of one sweep the page draws itself."""
    if report.sweep is not None and report.sweep["sweep"]:
        return None
    about = "Each image was swept alone: how its inertia falls with k, and which k was chosen for how many images."
    alt = "The elbows of all images, and how often each k was chosen"
    return PicturePart("k", "Choosing k", "How many clusters", about, alt, "each image alone")


def _score(report: Report) -> Figure | None:
    """The confusion matrix; of regions how well each image is covered."""
    if (score := report.score) is None:
        return None
    classes = score["classes"]
    if classes is not None and classes["each"]:
        return plots.confusion_figure(names_of(classes), classes["confusion"])
    return plots.covering_figure([each["covering"] for each in score["each"]]) if score["each"] else None


def _score_part(report: Report) -> PicturePart | None:
    """Figures of all, and a table of each class or image."""
    if (score := report.score) is None:
        return None
    agreement, classes, columns = score["agreement"], score["classes"], tuple[str, ...]()
    judged = f"{score['pixels']['judged']:,} pixels judged by {counted(score['references'], 'reference')}"
    if classes is None:
        about = f"{judged}: covering {digits(agreement['covering'])}, probabilistic Rand index "
        about += f"{digits(agreement['rand'])}, variation of information "
        about += f"{digits(agreement['variation_of_information'])} bits."
        alt, whose = "How well the segments of each image cover the regions of its references", "an image"
        columns = ("Image", "Covering", "Rand index", "Variation of information")
        names: tuple[str, ...] = ("covering", "rand", "variation_of_information")
        rows = [[each["key"], *(digits(each[name]) for name in names)] for each in score["each"]]
    else:
        about = f"{judged}: accuracy {percent(classes['accuracy'] or 0)}, kappa {digits(classes['kappa'])}, mean F1 "
        about += f"{digits(classes['mean_f1'])}, mean IoU {digits(classes['mean_iou'])}, adjusted Rand index "
        about += f"{digits(agreement['adjusted_rand'])}; labels assigned by {score['assign']}."
        alt = "Confusion matrix: of each class of the reference, what its pixels are labelled as"
        whose, columns = "a class of the reference", ("Class", "Precision", "Recall", "F1", "IoU", "Pixels")
        names = ("precision", "recall", "f1", "iou")
        rows = [
            [each["name"], *(digits(each[name]) for name in names), f"{each['reference']:,}"]
            for each in classes["each"]
        ]
    numbers = Numbers(f"One row {whose}", columns, rows)
    return PicturePart("score", "Score", "How good it is", about, alt, "against references", numbers)


class PictureFigure(NamedTuple):
    """A figure that is no line chart.

    Attributes
    ----------
    draw
        Draws it; None where there is nothing to draw.
    part
        Gives the part of the page that shows it as it is; None: there is none, as with all that ``page.html`` shows in
        its own way.
    """

    draw: Callable[[Report], Figure | None]
    part: Callable[[Report], PicturePart | None] = lambda _: None


#: By file, those of `FIGURES` that are no line charts.
PICTURES = {
    "palette.png": PictureFigure(_palette),
    "comparison.png": PictureFigure(_comparison),
    "masks.png": PictureFigure(_masks),
    **{f"{name}.png": PictureFigure(partial(_comparison, added=name)) for name in ADDED},
    "scatter.png": PictureFigure(_scatter),
    "elbow.png": PictureFigure(_elbow, _elbows_part),
    "several-k.png": PictureFigure(_several),
    "score.png": PictureFigure(_score, _score_part),
}


def _pixels(file: bytes | None) -> Any:
    return None if file is None else pixels_of(file)


def _name(image: Card) -> str:
    return image.ranked.facts.name
