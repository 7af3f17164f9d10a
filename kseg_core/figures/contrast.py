"""Which text can be read on which colour."""

from __future__ import annotations


def luminance(color: tuple[int, int, int]) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def text_on(color: tuple[int, int, int]) -> str:
    """Black or white, whichever has the higher contrast with a colour; it is at least 4.5."""
    light = luminance(color)
    return "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"
