"""What is in the signature of a class: pixels, area, and mean, standard deviation, least and greatest value of each
band, in the data's own units; exact, as all of it comes from sums of whole numbers (`GroupSums`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clustering.groups import GroupSums
from ..clustering.labelling import Labels
from ..store.legend import Legend, hex_of
from .regions import PixelArea

#: The table's columns and the Python type of what is in them (None where it is not known).
COLUMNS: dict[str, type] = {
    "image": str,
    "class": str,
    "color": str,
    "pixels": int,
    "area_m2": float,
    "area_um2": float,
    "band": str,
    "mean": float,
    "std": float,
    "min": float,
    "max": float,
}


def sums_of_classes(labels: Labels, samples: NDArray[Any], legend: Legend) -> GroupSums:
    """Statistics of a legend's values in a window.

    Parameters
    ----------
    labels
        (y, x): values of the legend.
    samples
        (y, x, d), of fewer than 2^24 pixels.

    Raises
    ------
    ValueError
        If a value that counts is no number.
    """
    groups = labels.astype(np.int32) + 1
    groups[labels >= len(legend)] = 0
    return GroupSums.of(samples, groups, len(legend))


def signature_rows(
    image: str | None, legend: Legend, sums: GroupSums, bands: Sequence[str], area: PixelArea
) -> Iterator[tuple[Any, ...]]:
    """One row a class and band, as `COLUMNS` has them; one a class where there are no bands. ``image``: None of all."""
    means, deviations = sums.means_and_deviations()
    for value, (name, color) in enumerate(zip(legend.names, legend.colors.tolist(), strict=True)):
        pixels = int(sums.counts[value])
        areas = (None if unit is None else pixels * unit for unit in (area.square_metres, area.square_micrometres))
        head = (image, name, hex_of(color), pixels, *areas)
        for at, band in enumerate(bands):
            figures = (each[value, at] for each in (means, deviations, sums.low, sums.high))
            yield (*head, band, *(float(figure) if pixels else None for figure in figures))
        if not bands:
            yield (*head, None, None, None, None, None)
