"""Charts as plain values: what the report's page draws as SVG and Matplotlib as PNG, each made by one function here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

ROOM = 1.22  # above the highest point, for a mark and its word


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart, written of at its end; ``strong`` where it is the one to look at."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    strong: bool = True


class Mark(NamedTuple):
    """A point to point out."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over a number of steps or clusters."""

    # As they are written
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]  # none of them is empty
    description: str = ""  # what a screen reader says of it
    mark: Mark | None = None  # of a point
    nothing: str = "nothing to draw"  # what is said where there is no line


def chosen_k(swept: Mapping[str, Any]) -> int | None:
    """The k of a sweep's row that was chosen: the first that found so many clusters."""
    return next((row["k"] for row in swept["sweep"] or [] if row["k_found"] == swept["k"]), None)


def elbow_chart(swept: Mapping[str, Any], *, per_pixel: bool = False) -> Chart:
    """How the inertia of a sweep falls with k, what was chosen being marked.

    Of ``k`` (chosen), ``knee`` and ``sweep``, a list of rows by rising k, as the JSON of a sweep has them;
    ``per_pixel``: the mean squared error in place of the inertia, where every row has it.
    """
    rows, knee, chosen = swept["sweep"], swept["knee"], chosen_k(swept)
    value, what = "inertia", "inertia"
    if per_pixel and all(row.get("mse") is not None for row in rows):
        value, what = "mse", "mean squared error"
    said = f"{what.capitalize()} for k from {rows[0]['k']} to {rows[-1]['k']}"
    if chosen is not None:
        said += f"; k = {chosen} is chosen"
    words = f"chosen: k = {chosen}" if knee is None else f"knee: k = {knee}"
    return _by_k(swept, value, words, "no knee in this curve" if knee is None else "", what, said)


def silhouette_chart(swept: Mapping[str, Any]) -> Chart:
    """The simplified silhouette of every k that has one."""
    return _by_k(swept, "silhouette", "largest" if swept["knee"] is None else "", "", "simplified\nsilhouette", "")


def _by_k(swept: Mapping[str, Any], value: str, words: str, title: str, label: str, description: str) -> Chart:
    points = {row["k"]: row[value] for row in swept["sweep"] if row[value] is not None}
    chosen = chosen_k(swept)
    mark = Mark(chosen, points[chosen], words) if chosen is not None and chosen in points else None
    lines = (Line("", tuple(points), tuple(points.values())),) if points else ()
    return Chart(title, "number of clusters k", label, lines, description, mark)


def history_charts(batch: Sequence[Sequence[float]], steps: Sequence[Sequence[float]]) -> tuple[Chart, Chart]:
    """The fit of every attempt: on the first mini-batch, and in exact steps on all data.

    For each attempt the inertia before every step, in squared feature units; empty where it made none.
    """
    return _history("On the first mini-batch", batch), _history("On all data, exact steps", steps)


def _history(title: str, attempts: Sequence[Sequence[float]]) -> Chart:
    made = {a: inertia for a, inertia in enumerate(attempts) if inertia}
    least = min((value for inertia in made.values() for value in inertia), default=0.0)
    best = min(made, key=lambda a: made[a][-1], default=-1)
    lines = tuple(
        Line(str(a), range(len(inertia)), [100 * (v / least - 1) if least else 0.0 for v in inertia], a == best)
        for a, inertia in made.items()
    )
    said = f"{title}: inertia by step of {len(lines)} attempts"
    return Chart(title, "step", "inertia, % above the lowest", lines, said, nothing="no steps")


# ------------------------------------------------------------------------------------------------ as they are placed


class Plane(NamedTuple):
    """A chart's picture, 640 by 320: where its values lie in it."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def of(cls, chart: Chart) -> Self:
        """The picture of a chart with at least one line, from zero up."""
        xs = [x for line in chart.lines for x in line.xs]
        ys = [y for line in chart.lines for y in line.ys]
        left, low, high = min(xs), min(*ys, 0.0), max(ys)
        return cls(left, max(xs) if max(xs) > left else left + 1, low, high if high > low else low + 1)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Of a point: to the right and down."""
        across = (x - self.left) / (self.right - self.left)
        up = (y - self.low) / (self.high - self.low)
        return round(66 + across * (640 - 66 - 40), 1), round(320 - 46 - up * (320 - 34 - 46), 1)

    @property
    def rows(self) -> list[tuple[float, str]]:
        """Lines of the grid: how far down, and what number is there."""
        return [(self.place(self.left, y)[1], number(y)) for y in ticks(self.low, self.high)]

    @property
    def columns(self) -> list[tuple[float, str]]:
        """Ticks of the x axis, which counts: how far to the right, and what number is there."""
        whole = [x for x in ticks(self.left, self.right, 10) if x == round(x)]
        return [(self.place(x, self.low)[0], f"{x:g}") for x in whole]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


def number(value: float) -> str:
    """A number of at most four digits, with a letter for thousands."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g} {letter}"
    return f"{value:.4g}"


# --------------------------------------------------------------------------------------------------------- colours


def luminance(color: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    red, green, blue = (c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def text_on(color: Sequence[int]) -> str:
    """Black or white, whichever has the higher contrast with a colour; it is at least 4.5."""
    light = luminance(color)
    return "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"


def hex_of(color: Sequence[int]) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)
