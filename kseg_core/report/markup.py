"""Pieces of HTML: everything that comes from a store is escaped here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from html import escape
from typing import Any

from kseg_core.figures.contrast import text_on

from .content import Color
from .encoding import data_uri, size_of

ROOM_FOR_NUMBER = 0.045  # of a bar's width
ROOM_FOR_SHARE = 0.07
TALL = 40  # rows
TINY_PX, TINY_SHOWN_PX = 96, 160  # pictures smaller than this are shown enlarged, with visible pixels


def plain(text: str) -> str:
    """Text for an element or a quoted attribute, without control characters."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in text), quote=True)


def hex_of(color: Color) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def percent(share: float) -> str:
    """A share as people read it, halves rounded up as the page's script does; what is small is not called nothing."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{Decimal(100 * share).quantize(Decimal('0.1'), ROUND_HALF_UP)} %"


def ink_class(color: Color) -> str:
    """The class of text on a colour."""
    return "on-light" if text_on(color) == "#000000" else "on-dark"


def swatch(color: Color, number: int) -> str:
    """A cluster's colour with its number in it."""
    return f'<span class="sw {ink_class(color)}" style="background:{hex_of(color)}">{number}</span>'


def bar(colors: Sequence[Color], shares: Sequence[float], what: str, *, large: bool = False) -> str:
    """Clusters side by side, as wide as their shares; a screen reader says them."""
    said = ", ".join(f"cluster {j} {hex_of(colors[j])} {percent(shares[j])}" for j in largest(shares, 8))
    parts = []
    for j, (color, share) in enumerate(zip(colors, shares, strict=True)):
        if share <= 0:
            continue
        inside = str(j) if share >= ROOM_FOR_NUMBER else ""
        if large and share >= ROOM_FOR_SHARE:
            inside += f"<small>{percent(share)}</small>"
        style = f"flex:{share:.6f} 0 0;background:{hex_of(color)}"
        tip = f"{j} {hex_of(color)} {percent(share)}"
        parts.append(f'<span class="{ink_class(color)}" style="{style}" title="{tip}">{inside}</span>')
    return f'<div class="bar" role="img" aria-label="{plain(what)}: {said or "no valid pixel"}">{"".join(parts)}</div>'


def largest(shares: Sequence[float], most: int) -> list[int]:
    """The clusters with the largest shares, in the order of their numbers; none without a pixel."""
    some = [j for j in range(len(shares)) if shares[j] > 0]
    return sorted(sorted(some, key=lambda j: (-shares[j], j))[:most])


def key_of(colors: Sequence[Color], shares: Sequence[float], most: int = 8) -> str:
    """The clusters of one picture: number, colour, share."""
    named = largest(shares, most)
    items = [
        f'<li>{swatch(colors[j], j)}<span class="hex">{hex_of(colors[j])}</span> {percent(shares[j])}</li>'
        for j in named
    ]
    others = sum(share > 0 for share in shares) - len(named)
    if others:
        rest = sum(shares) - sum(shares[j] for j in named)
        items.append(f"<li>and {others} more, {percent(max(rest, 0.0))}</li>")
    return f'<ul class="key">{"".join(items)}</ul>' if items else ""


def picture(file: bytes, alt: str, below: str) -> str:
    """A picture with a line below it; ``below`` is HTML."""
    width, height = size_of(file)
    tiny = ' class="wide"' if width >= height else ""
    if max(width, height) < TINY_PX:
        scale = TINY_SHOWN_PX // max(width, height)
        width, height, tiny = width * scale, height * scale, ' class="tiny"'
    image = f'<img{tiny} src="{data_uri(file)}" alt="{plain(alt)}" width="{width}" height="{height}">'
    return f"<figure>{image}<figcaption>{below}</figcaption></figure>"


def section(anchor: str, title: str, about: str, content: str) -> str:
    """A part of the page; ``about`` and ``content`` are HTML."""
    lead = f'<p class="about">{about}</p>' if about else ""
    heading = f'<h2 id="{anchor}-title">{title}</h2>'
    return f'<section id="{anchor}" aria-labelledby="{anchor}-title">{heading}{lead}{content}</section>'


def table(head: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], about: str) -> str:
    """A table of HTML cells; the head has (text, is a number). A long one scrolls in a box of its own."""
    tall = f' tall" tabindex="0" role="region" aria-label="{about}' if len(rows) > TALL else ""
    heads = "".join(f'<th scope="col"{_n(number)}>{text}</th>' for text, number in head)
    lines = []
    for row in rows:
        cells = "".join(f"<td{_n(number)}>{cell}</td>" for cell, (_, number) in zip(row, head, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    return (
        f'<p class="hint">{about}</p><div class="scroll{tall}"><table aria-label="{about}">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _n(number: bool) -> str:
    return ' class="n"' if number else ""


def json_in_script(value: Any) -> str:
    """JSON that no text in it can end the script element, or begin a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
