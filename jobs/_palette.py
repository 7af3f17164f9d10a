"""The clusters' colours on the terminal: blocks where it shows colours, plain text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable

BAR_WIDTH = 20  # characters of a cluster that is the whole image
COLORS_A_ROW = 4  # in 80 columns, one less where each has a block
MOST_COLORS = 12  # of an image among others
_EIGHTHS = " ▏▎▍▌▋▊▉"


def palette_rows(colors: list[list[int]], counts: list[int]) -> list[str]:
    """Each cluster's number, colour and share of the pixels; with a block and a bar where stdout shows colours."""
    total = sum(counts) or 1
    block = blocks_of_terminal()
    rows = []
    for cluster, ((red, green, blue), count) in enumerate(zip(colors, counts, strict=True)):
        share = count / total
        code = f"#{red:02x}{green:02x}{blue:02x}"
        if block is None:
            rows.append(f"  {cluster:>3}  {code}  {share:6.1%}")
        else:
            rows.append(f"  {cluster:>3}  {block(red, green, blue)}  {code}  {share:6.1%}  {_bar(share)}".rstrip())
    return rows


def palette_columns(colors: list[list[int]], counts: list[int]) -> list[str]:
    """The same in few lines of at most 80 columns: colours and shares beside each other."""
    total = sum(counts) or 1
    block = blocks_of_terminal()
    cells = []
    for (red, green, blue), count in list(zip(colors, counts, strict=True))[:MOST_COLORS]:
        drawn = "" if block is None else f"{block(red, green, blue)} "
        cells.append(f"{drawn}#{red:02x}{green:02x}{blue:02x} {count / total:6.1%}")
    a_row = COLORS_A_ROW if block is None else COLORS_A_ROW - 1
    rows = ["  ".join(cells[at : at + a_row]) for at in range(0, len(cells), a_row)]
    more = len(colors) - len(cells)
    return [f"    {row}" for row in [*rows, *([f"… and {more} more colours"] if more > 0 else [])]]


def blocks_of_terminal() -> Callable[[int, int, int], str] | None:
    """What draws a block of a colour (red, green, blue); None where stdout is no terminal or shows no colours.

    ``NO_COLOR`` and ``TERM=dumb`` are respected; a terminal of few colours shows the nearest it has.
    """
    if not sys.stdout.isatty():
        return None
    from rich.color import Color, ColorSystem
    from rich.console import Console

    console = Console()
    systems = {
        "standard": ColorSystem.STANDARD,
        "256": ColorSystem.EIGHT_BIT,
        "truecolor": ColorSystem.TRUECOLOR,
        "windows": ColorSystem.WINDOWS,
    }
    if console.no_color or console.color_system is None:
        return None
    system = systems[console.color_system]

    def block(red: int, green: int, blue: int) -> str:
        codes = Color.from_rgb(red, green, blue).downgrade(system).get_ansi_codes(foreground=False)
        return f"\x1b[{';'.join(codes)}m    \x1b[0m"

    return block


def _bar(share: float) -> str:
    """A bar to the eighth of a character; none where stdout cannot write it."""
    if not str(sys.stdout.encoding).lower().startswith("utf"):
        return ""
    whole, part = divmod(round(share * BAR_WIDTH * 8), 8)
    return "█" * whole + _EIGHTHS[part].strip()
