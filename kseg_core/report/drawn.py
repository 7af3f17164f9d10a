"""The report's figures as PNG files, from the same plain values as the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from .content import Report, ShownImage
from .encoding import pixels_of

MOST_ROWS = 6
MOST_MASKS = 8


def figure_files(report: Report) -> dict[str, bytes]:
    """Every figure there is something to draw of, by its file's name. Loads Matplotlib."""
    from kseg_core.figures.drawing import to_png
    from kseg_core.figures.history import history_figure
    from kseg_core.figures.palette import palette_figure
    from kseg_core.figures.pictures import comparison_figure, masks_figure
    from kseg_core.figures.scatter import scatter_figure

    files: dict[str, bytes] = {}
    if report.clusters:
        colors = np.array([cluster.color for cluster in report.clusters], np.uint8)
        files["palette.png"] = to_png(palette_figure(colors, [cluster.share for cluster in report.clusters]))
    pairs = [image for image in report.shown if image.original is not None][:MOST_ROWS]
    if pairs:
        rows = [(_name(image), [_pixels(image.original), pixels_of(image.segmented)]) for image in pairs]
        files["comparison.png"] = to_png(comparison_figure(rows, ("original", "segmented")))
    masked = [image for image in report.shown if image.masks]
    if masked:
        masks = [(_name(i), [(j, pixels_of(file)) for j, file in i.masks[:MOST_MASKS]]) for i in masked]
        files["masks.png"] = to_png(masks_figure(masks))
    edged = [image for image in report.shown if image.edges is not None][:MOST_ROWS]
    if edged:
        rows = [(_name(i), [_pixels(i.original), pixels_of(i.segmented), _pixels(i.edges)]) for i in edged]
        files["edges.png"] = to_png(comparison_figure(rows, ("original", "segmented", "edges")))
    if report.cloud is not None:
        cloud = report.cloud
        centres = cloud.colors if cloud.numbered else np.empty((0, 3), np.uint8)
        figure = scatter_figure(cloud.points, cloud.colors[cloud.labels], centres, cloud.axes)
        files["scatter.png"] = to_png(figure)
    if report.history is not None:
        files["history.png"] = to_png(history_figure(*report.history))
    if report.sweep_record is not None:
        from kseg_core.figures.elbow import elbow_png

        files["elbow.png"] = elbow_png(dict(report.sweep_record))
    if report.painted is not None:
        painted = report.painted
        titles = ["original", *(f"k = {k}" for k, _ in painted.pictures)]
        row = [_pixels(painted.original), *(pixels_of(file) for _, file in painted.pictures)]
        files["several-k.png"] = to_png(comparison_figure([(painted.name, row)], titles))
    return files


def _pixels(file: bytes | None) -> Any:
    return None if file is None else pixels_of(file)


def _name(image: ShownImage) -> str:
    return image.ranked.facts.name
