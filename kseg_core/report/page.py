"""One HTML page that holds everything: it opens from disk and asks nobody for anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from kseg_core.figures.contrast import text_on

from . import sections
from .content import Report, ShownImage
from .markup import json_in_script, plain
from .ranking import Ranked

MOST_SHARES = 12  # columns of clusters in the table of images; the largest ones
PICTURES_BYTES = (
    9_000_000  # of pictures in a page: 12 MB in base64, and with a table of ten thousand images below 16 MB
)


@cache
def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def within_budget(shown: Sequence[ShownImage], budget_bytes: int = PICTURES_BYTES) -> list[ShownImage]:
    """As many images as a page may hold the pictures of, from the first on."""
    kept, size = [], 0
    for image in shown:
        size += image.size_bytes
        if size > budget_bytes:
            break
        kept.append(image)
    return kept


def build_page(report: Report, elbow: bytes | None = None) -> str:
    """The page.

    Parameters
    ----------
    report
        What it tells.
    elbow
        The elbow's figure (PNG), shown where a sweep has curves of many images and none of its own.

    Returns
    -------
    HTML whose every byte follows from the report: no time, no random number, no address of anything outside.
    """
    columns = _columns(report)
    parts = [
        ("warnings", "Notes", sections.warnings(report)),
        ("clusters", "Clusters", sections.clusters(report)),
        (
            "pictures",
            "Images",
            sections.images(report, [(c["title"], c["kind"] != "text", c["about"]) for c in columns]),
        ),
        ("all-images", "Table", ""),
        ("masks", "Masks", sections.masks(report)),
        ("colours", "Colours", sections.space(report)),
        ("k", "Choosing k", sections.sweep(report.sweep, report.painted, elbow)),
        ("fit", "Fit", sections.history(report)),
    ]
    facts = "".join(f"<div><dt>{plain(what)}</dt><dd>{plain(value)}</dd></div>" for what, value in report.facts)
    linked = [(anchor, name) for anchor, name, part in parts if part or anchor == "all-images"]
    return Template(_part("page.html")).substitute(
        title=f"{plain(report.name)} – K-means segmentation",
        name=plain(report.name),
        lead=plain(report.lead),
        hero=sections.hero(report),
        facts=f'<dl class="facts">{facts}</dl>',
        navigation="\n".join(f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name in linked),
        sections="\n".join(part for _, _, part in parts if part),
        footer="".join(f"<p>{plain(what)}: {plain(value)}</p>" for what, value in report.about),
        data=json_in_script(_data(report, columns)),
        style=_part("page.css"),
        script=_part("page.js"),
    )


def _columns(report: Report) -> list[dict[str, Any]]:
    """Of the table of images: id, title, kind, and what it means."""
    columns: list[dict[str, Any]] = [
        _column("rank", "Rank", "count", "1 is the farthest from the average"),
        _column("name", "Image", "text", "the path it came from"),
        _column("pixels", "Pixels", "count", "valid pixels"),
        _column("mse", "Mse", "number", "mean squared distance of its pixels to their centroids"),
        _column("ratio", "Mse / all", "ratio", "its error as a multiple of that of all images"),
    ]
    if report.clusters:
        about = "the part of its pixels that would have to change cluster to have the mean shares of all images"
        columns.append(_column("distance", "From mean", "share", about))
        columns += [_column(f"c{j}", f"{j}", "share", f"share of cluster {j}") for j in _named_clusters(report)]
    return columns


def _column(name: str, title: str, kind: str, about: str) -> dict[str, Any]:
    return {"id": name, "title": title, "kind": kind, "about": about, "digits": 4 if kind == "number" else None}


def _named_clusters(report: Report) -> list[int]:
    """The clusters that have a column."""
    shares = [cluster.share for cluster in report.clusters]
    return sorted(sorted(range(len(shares)), key=lambda j: (-shares[j], j))[:MOST_SHARES])


def _data(report: Report, columns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the page's script works with."""
    shown = {image.ranked.facts.key for image in report.shown}
    named = _named_clusters(report)
    keys = [image.facts.key for image in report.images]
    return {
        "columns": [{name: c[name] for name in ("id", "kind", "digits")} for c in columns],
        "images": [_row(at, image, named if report.clusters else None) for at, image in enumerate(report.images)],
        "links": [f"i-{key}" if key in shown else None for key in keys],
        "texts": [sections.search_text(image.facts.name, image.facts.key) for image in report.images],
        "cloud": _cloud(report),
    }


def _row(at: int, image: Ranked, clusters: Sequence[int] | None) -> list[Any]:
    facts = image.facts
    row: list[Any] = [at + 1, facts.name, facts.valid, _short(facts.mse), _short(image.ratio)]
    if clusters is not None:
        row.append(_short(image.distance))
        row += [_short(facts.shares[j]) if facts.valid else None for j in clusters]
    return row


def _short(value: float | None) -> float | None:
    """As many digits as are shown, and a few more to sort by."""
    return None if value is None else float(f"{value:.7g}")


def _cloud(report: Report) -> dict[str, Any] | None:
    cloud = report.cloud
    if cloud is None:
        return None
    colors: list[list[int]] = cloud.colors.tolist()
    return {
        "points": cloud.points.reshape(-1).tolist(),
        "labels": cloud.labels.tolist(),
        "colors": colors,
        "inks": [text_on((color[0], color[1], color[2])) for color in colors],
        "axes": list(cloud.axes),
        "numbered": cloud.numbered and len(colors) <= 40,
    }


def with_pictures_that_fit(report: Report) -> Report:
    """The report with no more pictures than a page may hold; a warning says so where some were left out."""
    kept = within_budget(report.shown)
    if len(kept) == len(report.shown):
        return report
    line = (
        f"Pictures of {len(kept):,} images fill the page; {len(report.shown) - len(kept):,} more are in the table only."
    )
    return replace(report, shown=tuple(kept), warnings=(*report.warnings, line))
