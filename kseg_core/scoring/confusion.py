"""Clusters as reference classes, and how well each class is met: from pairs of labels.

Counts are whole numbers, what is made of them is rounded once. Definitions are scikit-learn's; where it has 0 for what
is not defined (the precision of a class that nothing was given), there is None here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .pairs import Pairs

I64 = NDArray[np.int64]
Assign = Literal["majority", "one-to-one", "name"]

UNASSIGNED = -1  # the column of what is no class of the reference
MOST_MATRIX = 1 << 24  # entries of a table that is assigned one to one: 128 megabytes


def by_majority(pairs: Pairs) -> dict[int, int]:
    """For every row the column that it has most pixels of, at a tie the lowest."""
    order = np.lexsort((pairs.columns, -pairs.counts, pairs.rows))
    rows = pairs.rows[order]
    first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]])) if len(rows) else order
    return dict(zip(rows[first].tolist(), pairs.columns[order][first].tolist(), strict=True))


def one_to_one(pairs: Pairs) -> dict[int, int]:
    """For rows a column of their own each, so that most pixels agree; rows that are left over have none.

    Raises
    ------
    UsageError
        If the table is too large for that.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = pairs.row_totals()[0], pairs.column_totals()[0]
    if len(rows) * len(columns) > MOST_MATRIX:
        raise UsageError(
            f"--assign one-to-one is for at most {MOST_MATRIX} pairs of clusters and classes; there are {len(rows)} "
            f"times {len(columns)}: --assign majority takes any number"
        )
    matrix = np.zeros((len(rows), len(columns)))
    matrix[np.searchsorted(rows, pairs.rows), np.searchsorted(columns, pairs.columns)] = pairs.counts
    taken, given = linear_sum_assignment(matrix, maximize=True)
    met = matrix[taken, given] > 0  # a pair without a pixel means nothing
    return dict(zip(rows[taken[met]].tolist(), columns[given[met]].tolist(), strict=True))


def by_name(pairs: Pairs, names: Mapping[int, str], classes: Mapping[str, int]) -> dict[int, int]:
    """For rows that have a name the column of the same name, where there is one; else of the same but for capitals."""
    alike = {name.casefold(): column for name, column in sorted(classes.items(), reverse=True)}
    columns = {row: classes.get(name, alike.get(name.casefold())) for row, name in names.items()}
    return {row: found for row in pairs.row_totals()[0].tolist() if (found := columns.get(row)) is not None}


def assigned(pairs: Pairs, assignment: Mapping[int, int]) -> Pairs:
    """The table with columns in place of rows, `UNASSIGNED` where a row has none."""
    rows = pairs.row_totals()[0]
    lookup = np.array([assignment.get(row, UNASSIGNED) for row in rows.tolist()], np.int64)
    return pairs.with_rows(lookup[np.searchsorted(rows, pairs.rows)])


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class of the reference.

    Parameters
    ----------
    name
        Of the class.
    reference, predicted, correct
        Pixels that are of it by the reference, by the labels, and by both.
    """

    name: str
    reference: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float | None:
        return _ratio(self.correct, self.predicted)

    @property
    def recall(self) -> float | None:
        return _ratio(self.correct, self.reference)

    @property
    def f1(self) -> float | None:
        return _ratio(2 * self.correct, self.reference + self.predicted)

    @property
    def iou(self) -> float | None:
        return _ratio(self.correct, self.reference + self.predicted - self.correct)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        counts = {"name": self.name, "reference": self.reference, "predicted": self.predicted, "correct": self.correct}
        return {**counts, "precision": self.precision, "recall": self.recall, "f1": self.f1, "iou": self.iou}


@dataclass(frozen=True, slots=True)
class Confusion:
    """Reference classes against what the labels say.

    Parameters
    ----------
    names
        Of the reference's classes.
    counts
        int64 (n, n + 1): pixels by the class of the reference, and by the class that their labels stand for; last
        those whose labels stand for none.
    """

    names: tuple[str, ...]
    counts: I64

    @classmethod
    def of(cls, predicted: Pairs, names: Sequence[str], order: I64) -> Confusion:
        """Of a table whose rows are columns (`assigned`); ``order``: of each column its place among the names."""
        counts = np.zeros((len(names), len(names) + 1), np.int64)
        places = np.append(order, len(names))  # behind them: unassigned, which is -1
        np.add.at(counts, (places[predicted.columns], places[predicted.rows]), predicted.counts)
        return cls(tuple(names), counts)

    @property
    def total(self) -> int:
        """Pixels."""
        return int(self.counts.sum())

    @property
    def unassigned(self) -> int:
        """Pixels whose labels stand for no class of the reference."""
        return int(self.counts[:, -1].sum())

    @property
    def accuracy(self) -> float | None:
        """The share of pixels that are of their class."""
        return _ratio(sum(each.correct for each in self.classes), self.total)

    @property
    def kappa(self) -> float | None:
        """Cohen's: the same, 0 where it is as by chance."""
        n = self.total
        chance = sum(each.reference * each.predicted for each in self.classes)
        return _ratio(n * sum(each.correct for each in self.classes) - chance, n * n - chance)

    @property
    def classes(self) -> tuple[ClassScore, ...]:
        """Each class of the reference."""
        reference, predicted = self.counts.sum(axis=1).tolist(), self.counts.sum(axis=0).tolist()
        correct = np.diagonal(self.counts).tolist()
        return tuple(map(ClassScore, self.names, reference, predicted, correct))

    @property
    def mean_f1(self) -> float | None:
        """Over classes alike."""
        return _mean([each.f1 for each in self.classes])

    @property
    def mean_iou(self) -> float | None:
        """Over classes alike."""
        return _mean([each.iou for each in self.classes])

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "accuracy": self.accuracy,
            "kappa": self.kappa,
            "mean_f1": self.mean_f1,
            "mean_iou": self.mean_iou,
            "unassigned": self.unassigned,
            "each": [each.to_json() for each in self.classes],
            "confusion": self.counts.tolist(),
        }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
