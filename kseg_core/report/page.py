"""The files of a report: one HTML page that holds everything and asks nobody for anything, and its figures as PNG.

What is written on the page is in ``page.html`` and ``macros.html``, Jinja templates; here are the values they take.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from kseg_core.errors import KsegError
from kseg_core.figures import charts
from kseg_core.products import FIGURES, PAGE
from kseg_core.segment_settings import LEVELS, MOST, level_name

from .content import Report, history_of
from .facts import Ranked, largest, outlier_fence
from .thumbnails import data_uri, size_of

MOST_SHARES = 12  # columns of clusters in the table of images; the largest ones
PICTURES_BYTES = (
    9_000_000  # of pictures in a page: 12 MB in base64, and with a table of ten thousand images below 16 MB
)
TINY_PX, TINY_SHOWN_PX = 96, 160  # pictures smaller than this are shown enlarged, with visible pixels


class PicturePart(NamedTuple):
    """A part of the page that shows a figure as it is.

    Attributes
    ----------
    anchor
        Where it is on the page.
    name, title, about
        In the page's list of parts, above the figure, and below the title.
    alt, caption
        What the figure shows, for those who do not see it; and below it.
    numbers
        Shown below it, if there are some.
    """

    anchor: str
    name: str
    title: str
    about: str
    alt: str
    caption: str
    numbers: Numbers | None = None


def build_page(report: Report, pictures: Sequence[tuple[PicturePart, bytes]] = ()) -> str:
    """The page; ``pictures``: figures (PNG) that are shown as they are, as `figures.shown_on_page` gives them.

    Every byte follows from the report: no time, no random number, no address of anything outside.
    """
    columns = _columns(report)
    sweep = report.sweep if report.sweep is not None and report.sweep["sweep"] else None
    return _environment().get_template("page.html").render(
        report=report,
        columns=columns,
        data=_data(report, columns),
        fence=outlier_fence(report.images),
        legend=_largest_clusters(report, 24),
        pictures=list(pictures),
        elbow_chart=None if sweep is None else charts.elbow_chart(sweep, per_pixel=True),
        lines=[(each, drawn) for each in LINES.values() if (drawn := each.charts(report))],
        style=Markup(_part("page.css")),
        script=Markup(_part("page.js")),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Everything that a template is given is escaped; control characters, which no name needs, are shown as such."""
    environment = Environment(
        autoescape=True,
        finalize=_printable,
        loader=FunctionLoader(_part),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "area": area,
        "digits": digits,
        "hex": charts.hex_of,
        "ink": lambda color: "on-light" if charts.text_on(color) == "#000000" else "on-dark",
        "largest": largest,
        "percent": percent,
        "pick": lambda places, values: [values[at] for at in places],
        "plane": charts.Plane.of,
        "search_text": search_text,
        "embedded": picture,
        "address": lambda file: Markup(data_uri(file)),
        "level": level_name,
    }
    return environment


@cache
def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _printable(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else "\ufffd" for c in value)


# --------------------------------------------------------------------------------------------- as people read them


def percent(share: float) -> str:
    """A share as people read it, halves rounded up as the page's script does; what is small is not called nothing."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{Decimal(100 * share).quantize(Decimal('0.1'), ROUND_HALF_UP)} %"


def area(square_metres: float | None) -> str:
    """An area in the unit that suits it: square kilometres, metres, millimetres or micrometres."""
    if square_metres is None:
        return "–"
    for size, unit, metres in ((1e6, "km²", 1e6), (1e-2, "m²", 1.0), (1e-8, "mm²", 1e-6)):
        if square_metres >= size:
            scaled = square_metres / metres
            return f"{scaled:,.4g} {unit}" if scaled < 1e4 else f"{scaled:,.0f} {unit}"
    return f"{square_metres * 1e12:,.4g} µm²"


def digits(value: float | None, count: int = 4, *, commas: bool = False) -> str:
    """So many digits of a number; a dash where it is not known."""
    return "–" if value is None else f"{value:{',' if commas else ''}.{count}g}"


def search_text(image: Ranked) -> str:
    """What the search box looks in."""
    return f"{image.facts.name} {image.facts.key}".lower()


class _Embedded(NamedTuple):
    address: Markup
    width: int
    height: int
    kind: str


def picture(file: bytes) -> _Embedded:
    """A picture's address, its size on the page, and its class."""
    width, height = size_of(file)
    kind = "wide" if width >= height else ""
    if max(width, height) < TINY_PX:
        scale = TINY_SHOWN_PX // max(width, height)
        width, height, kind = width * scale, height * scale, "tiny"
    return _Embedded(Markup(data_uri(file)), width, height, kind)


# --------------------------------------------------------------------------------------- what the script works with


def _columns(report: Report) -> list[dict[str, Any]]:
    """Of the table of images: id, title, kind, and what it means."""
    columns = [
        _column("rank", "Rank", "count", "1 is the farthest from the average" if report.is_labelled else "by name"),
        _column("name", "Image", "text", "the path it came from"),
        _column("pixels", "Pixels", "count", "valid pixels"),
    ]
    if _has_segments(report):
        columns.append(_column("segments", "Segments", "count", "how many it has, as the store has them"))
    if report.is_labelled:
        columns += [
            _column("mse", "Mse", "number", "mean squared distance of its pixels to their centroids"),
            _column("ratio", "Mse / all", "ratio", "its error as a multiple of that of all images"),
        ]
    if report.clusters:
        about = "the part of its pixels that would have to change cluster to have the mean shares of all images"
        columns.append(_column("distance", "From mean", "share", about))
        columns += [
            _column(f"c{j}", f"{j}", "share", f"share of cluster {j}") for j in _largest_clusters(report, MOST_SHARES)
        ]
    return columns


def _has_segments(report: Report) -> bool:
    return any(image.facts.segments is not None for image in report.images)


def _column(name: str, title: str, kind: str, about: str) -> dict[str, Any]:
    return {"id": name, "title": title, "kind": kind, "about": about, "digits": 4 if kind == "number" else None}


def _largest_clusters(report: Report, most: int) -> list[int]:
    """So many clusters, empty ones too, in the order of their numbers."""
    shares = [cluster.share for cluster in report.clusters]
    return sorted(sorted(range(len(shares)), key=lambda j: (-shares[j], j))[:most])


def _data(report: Report, columns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    cards = {image.ranked.facts.key for image in report.cards}
    clusters = _largest_clusters(report, MOST_SHARES) if report.clusters else []
    values = [_values(at, image, clusters) for at, image in enumerate(report.images)]
    keys = [image.facts.key for image in report.images]
    return {
        "columns": [{name: c[name] for name in ("id", "kind", "digits")} for c in columns],
        "images": [[of_image[column["id"]] for column in columns] for of_image in values],
        "links": [f"i-{key}" if key in cards else None for key in keys],
        "texts": [search_text(image) for image in report.images],
        "cloud": _cloud(report),
        "levels": {name: round(level * MOST) for name, level in LEVELS.items()},
    }


def _values(at: int, image: Ranked, clusters: Sequence[int]) -> dict[str, Any]:
    """What the table of images may have of one, by column."""
    facts = image.facts
    return {
        "rank": at + 1,
        "name": facts.name,
        "pixels": facts.valid,
        "segments": None if facts.segments is None else facts.segments.count,
        "mse": _short(facts.mse),
        "ratio": _short(image.ratio),
        "distance": _short(image.distance),
        **{f"c{j}": _short(facts.shares[j]) if facts.valid else None for j in clusters},
    }


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
        "inks": [charts.text_on(color) for color in colors],
        "axes": list(cloud.axes),
        "numbered": cloud.numbered and len(colors) <= 40,
    }


def with_pictures_that_fit(report: Report, budget_bytes: int = PICTURES_BYTES) -> Report:
    """The report with no more pictures than a page may hold, from the first on; a warning says so where some were left
    out.
    """
    sizes = np.cumsum([image.pictures.size_bytes for image in report.cards])
    fit = int(np.searchsorted(sizes, budget_bytes, side="right"))
    if fit == len(report.cards):
        return report
    line = f"Pictures of {fit:,} images fill the page; {len(report.cards) - fit:,} more are in the table only."
    return replace(report, cards=report.cards[:fit], warnings=(*report.warnings, line))


# ----------------------------------------------------------------------------------------------- charts, and files


class Numbers(NamedTuple):
    """A table of what a chart shows: what it is, its columns, and numbers as they are read."""

    about: str
    columns: tuple[str, ...]
    rows: list[list[str]]

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """As the page's tables take their columns."""
        return [(column, True) for column in self.columns]


@dataclass(frozen=True, slots=True)
class LineFigure:
    """A figure of line charts: a part of the page, and a file.

    Parameters
    ----------
    name, title, about
        In the page's list of parts, above the charts, and below the title.
    charts
        Side by side; none where there is nothing to draw.
    numbers
        Shown below them, of a report that has charts.
    """

    name: str
    title: str
    about: str
    charts: Callable[[Report], Sequence[charts.Chart]]
    numbers: Callable[[Report], Numbers] | None = None

    @property
    def anchor(self) -> str:
        """Where it is on the page."""
        return self.name.lower().replace(" ", "-")


def _history(report: Report) -> Sequence[charts.Chart]:
    history = history_of(report.fit)
    return () if history is None else charts.history_charts(*history)


def _attempts(report: Report) -> Numbers:
    history = history_of(report.fit)
    assert history is not None
    columns = ("Attempt", "Steps on the batch", "Last inertia", "Steps on all data", "Last inertia")
    rows = [
        [str(at), *(text for made in of_one for text in (str(len(made)), digits(made[-1] if made else None, 6)))]
        for at, of_one in enumerate(zip(*history, strict=True))
    ]
    return Numbers("One row an attempt", columns, rows)


#: By file, of `FIGURES`.
LINES = {
    "history.png": LineFigure(
        "Fit",
        "The fit",
        "Each line is one attempt, from its first centroids on. Attempts that promise less are not taken further.",
        _history,
        _attempts,
    ),
}


def write_report(folder: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a report, the page last, so that what it tells of is there; an earlier one's other figures go.

    Only what is ours is ever replaced, and each file appears whole or not at all; the folder is made if it is not
    there.

    Raises
    ------
    KsegError
        If it cannot be written.
    """
    folder = os.fspath(folder).rstrip(os.sep) or folder
    aside = f"{folder}.{uuid.uuid4().hex[:8]}.partial"
    try:
        os.makedirs(aside)
        for name, content in files.items():
            (Path(aside) / name).write_bytes(content)
        if not os.path.lexists(folder):
            os.replace(aside, folder)
            return
        for name in sorted(files, key=lambda name: name == PAGE):
            os.replace(os.path.join(aside, name), os.path.join(folder, name))
        for name in FIGURES:
            if name not in files and os.path.isfile(os.path.join(folder, name)):
                os.unlink(os.path.join(folder, name))
    except OSError as error:
        raise KsegError(f"{folder}: the report cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
