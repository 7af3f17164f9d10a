"""How far two partitions of the same pixels agree, whatever their parts are called: from pairs of labels.

Numbers of pairs of pixels are beyond 64 bits from four gigapixels on, so they are Python's whole numbers, and what is
made of them is rounded once. Sums of logarithms are added up exactly. Definitions are those of scikit-learn and, of
segmentations by people, of the benchmark of BSDS500 (logarithms to base 2).

References
----------
Hubert & Arabie 1985 (adjusted Rand index); Unnikrishnan, Pantofaru & Hebert 2007 (probabilistic Rand index);
Meilă 2007 (variation of information); Arbeláez, Maire, Fowlkes & Malik 2011 (covering, and all of them for images).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .pairs import Pairs

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_AT_ONCE = 1 << 16  # counts that are Python's at a time: two megabytes
_NOTHING = float(np.finfo(np.float64).eps)  # information up to here is none, as scikit-learn has it


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one partition with one reference.

    Parameters
    ----------
    pixels
        That both have.
    rand
        Rand index: the share of pairs of pixels on which both say the same.
    adjusted_rand
        The same, 0 where it is as by chance.
    mutual_information
        Normalized by the mean of both entropies, 0 to 1.
    variation_of_information
        In bits; 0 where both are the same.
    covered
        Pixels of the reference's regions, each times the best overlap (IoU) with any part.
    """

    pixels: int
    rand: float
    adjusted_rand: float
    mutual_information: float
    variation_of_information: float
    covered: float

    @property
    def covering(self) -> float:
        """Of the reference by the parts, 0 to 1."""
        return self.covered / self.pixels if self.pixels else 1.0

    @classmethod
    def of(cls, pairs: Pairs) -> Agreement:
        """Of a table of labels (rows) and a reference (columns)."""
        rows, row_totals = pairs.row_totals()
        columns, column_totals = pairs.column_totals()
        rand, adjusted = _rand(pairs, row_totals, column_totals)
        of_rows = row_totals[np.searchsorted(rows, pairs.rows)]
        of_columns = column_totals[np.searchsorted(columns, pairs.columns)]
        information = _mutual_information(pairs, of_rows, of_columns)
        entropies = _entropy(row_totals), _entropy(column_totals)
        return cls(
            pairs.total,
            rand,
            adjusted,
            _normalized(information, *entropies, trivial=len(rows) == len(columns) and len(rows) < 2),
            max(0.0, (entropies[0] + entropies[1] - 2 * information) / math.log(2)),
            _covered(pairs, of_rows, of_columns),
        )


def sum_of_squares(counts: I64) -> int:
    """Of whole numbers, exactly."""
    parts = (counts[at : at + _AT_ONCE].tolist() for at in range(0, len(counts), _AT_ONCE))
    return sum(count * count for part in parts for count in part)


def _rand(pairs: Pairs, row_totals: I64, column_totals: I64) -> tuple[float, float]:
    """Rand index and adjusted Rand index, from ordered pairs of different pixels."""
    n = pairs.total
    joint, rows, columns = (sum_of_squares(each) for each in (pairs.counts, row_totals, column_totals))
    both, row_only, column_only = joint - n, rows - joint, columns - joint
    neither = n * n - n - both - row_only - column_only
    rand = (both + neither) / (n * n - n) if n > 1 else 1.0
    if row_only == column_only == 0:
        return rand, 1.0
    chance = (both + column_only) * (column_only + neither) + (both + row_only) * (row_only + neither)
    return rand, 2 * (both * neither - column_only * row_only) / chance


def _entropy(totals: I64) -> float:
    """In nats."""
    n = int(totals.sum())
    return max(0.0, -_sum(totals / n * np.log(totals / n))) if n else 0.0


def _mutual_information(pairs: Pairs, of_rows: I64, of_columns: I64) -> float:
    """In nats."""
    n = pairs.total
    if not n:
        return 0.0
    ratio: F64 = (pairs.counts / of_rows) * (n / of_columns)
    return max(0.0, _sum(pairs.counts / n * np.log(ratio)))


def _normalized(information: float, rows: float, columns: float, *, trivial: bool) -> float:
    if trivial:  # one part on both sides, or none
        return 1.0
    return information / ((rows + columns) / 2) if information > _NOTHING else 0.0


def _covered(pairs: Pairs, of_rows: I64, of_columns: I64) -> float:
    """Pixels of each region of the reference times its best overlap."""
    if not len(pairs):
        return 0.0
    order = np.argsort(pairs.columns, kind="stable")
    counts, rows, columns = pairs.counts[order], of_rows[order], of_columns[order]
    regions = pairs.columns[order]
    first = np.flatnonzero(np.concatenate([[True], regions[1:] != regions[:-1]]))
    best: F64 = np.maximum.reduceat(counts / (rows + columns - counts), first)
    return _sum(best * columns[first])


def _sum(values: F64) -> float:
    """The sum, rounded once."""
    return math.fsum(values.tolist())


# -------------------------------------------------------------------------------------------------------- of several


@dataclass(frozen=True, slots=True)
class Agreements:
    """Of an image with all of its references, or of images: Rand and variation of information are means over the
    references of each image and then over images, covering is pooled over all regions, as in BSDS500.

    Parameters
    ----------
    images
        How many.
    covering, rand, variation_of_information
        See `Agreement`; with several references the mean of ``rand`` is the probabilistic Rand index.
    adjusted_rand, mutual_information
        Means, likewise.
    pixels, covered
        Over all references.
    """

    images: int
    pixels: int
    covered: float
    rand: float
    variation_of_information: float
    adjusted_rand: float
    mutual_information: float

    @property
    def covering(self) -> float:
        """Pooled."""
        return self.covered / self.pixels if self.pixels else 1.0

    @classmethod
    def of_image(cls, each: Iterable[Agreement]) -> Agreements:
        """Of one image with several references, at least one."""
        return cls._mean(1, list(each))

    @classmethod
    def of_images(cls, images: Iterable[Agreements]) -> Agreements | None:
        """Of several images; None of none."""
        listed = list(images)
        return cls._mean(len(listed), listed) if listed else None

    @classmethod
    def _mean(cls, images: int, each: list[Agreement] | list[Agreements]) -> Agreements:
        def mean(name: str) -> float:
            return math.fsum(getattr(one, name) for one in each) / len(each)

        return cls(
            images,
            sum(one.pixels for one in each),
            math.fsum(one.covered for one in each),
            mean("rand"),
            mean("variation_of_information"),
            mean("adjusted_rand"),
            mean("mutual_information"),
        )
