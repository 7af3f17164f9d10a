"""Line charts as SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 66, 40, 34, 46


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Parameters
    ----------
    name
        Written at its end; empty for none.
    xs, ys
        Its points.
    strong
        Whether it is the one to look at.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A point to point out."""

    x: float
    y: float
    text: str


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


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    description: str,
    mark: Mark | None = None,
    *,
    whole_x: bool = True,
) -> str:
    """A chart of some lines; ``description`` is what a screen reader says of it."""
    xs = [x for line in lines for x in line.xs] + ([mark.x] if mark else [])
    ys = [y for line in lines for y in line.ys] + ([mark.y] if mark else [])
    if not xs:
        return f'<p class="none">{escape(description)}: nothing to draw.</p>'
    left, right = min(xs), max(xs)
    low, high = min(*ys, 0.0), max(ys)
    right, high = (right if right > left else left + 1), (high if high > low else low + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        up = (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">']
    for y in ticks(low, high):
        _, at = place(left, y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{number(y)}</text>')
    for x in ticks(left, right, 10):
        if whole_x and x != round(x):
            continue
        at, _ = place(x, low)
        parts.append(f'<text class="tick" x="{at}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text class="axis" x="4" y="16" text-anchor="start">{escape(y_label)}</text>')
    for line in sorted(lines, key=lambda line: line.strong):
        points = [place(x, y) for x, y in zip(line.xs, line.ys, strict=True)]
        if not points:
            continue
        kind = "strong" if line.strong else "weak"
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline class="line {kind}" points="{path}"/>')
        parts += [f'<circle class="dot {kind}" cx="{x}" cy="{y}" r="3"/>' for x, y in points if line.strong]
        x, y = points[-1]
        if line.name:
            parts.append(f'<text class="name {kind}" x="{x + 6}" y="{y + 4}">{escape(line.name)}</text>')
    if mark is not None:
        x, y = place(mark.x, mark.y)
        parts.append(f'<circle class="mark" cx="{x}" cy="{y}" r="9"/>')
        parts.append(f'<text class="marked" x="{x + 14}" y="{y - 10}">{escape(mark.text)}</text>')
    return "".join(parts) + "</svg>"
