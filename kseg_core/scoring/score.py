"""A score: images come in one after the other, each as tables of pairs, and become figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import KsegError, UsageError
from ..inputs.keys import printable_source
from ..store.legend import Legend
from .agreement import Agreement, Agreements
from .confusion import UNASSIGNED, Confusion, assigned, by_majority, by_name, one_to_one
from .counting import Tally
from .pairs import Pairs
from .references import Reference, in_order
from .settings import MOST_CLASSES, ScoreSettings

PIXELS = ("judged", "unlabelled", "unjudged")


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image.

    Parameters
    ----------
    key, source
        In the store, and where it came from.
    references
        How many it has.
    judged, unlabelled, unjudged
        Pixels, over all references: compared; judged, but not valid in the image; not judged.
    agreement
        Its own, with each reference.
    pairs
        Labels, or what they stand for, and classes by number; empty where the reference has no classes.
    """

    key: str
    source: str
    references: int
    judged: int
    unlabelled: int
    unjudged: int
    agreement: Agreements
    pairs: Pairs


@dataclass
class Score:
    """A score as it is made.

    Parameters
    ----------
    settings
        Of it.
    shared
        What the labels of all images are called; None where each image has labels of its own.
    """

    settings: ScoreSettings
    shared: Legend | None
    images: list[ImageScore] = field(default_factory=list)
    assign: str | None = None  # how clusters of images of their own were assigned
    _codes: dict[str, int] = field(default_factory=dict)  # of each class of the references, as they are met

    def add(
        self, key: str, source: str, legend: Legend | None, references: Sequence[Reference], tallies: Sequence[Tally]
    ) -> None:
        """Add an image: what its labels are called (None: segments), its references and what each comes to.

        Raises
        ------
        KsegError
            If there are more classes than a score has room for.
        UsageError
            If its clusters cannot be assigned as was asked for.
        """
        tables = [_by_legend(tally.pairs, legend) for tally in tallies]
        agreement = Agreements.of_image(Agreement.of(table) for table in tables)
        classes = Pairs()
        if self.settings.has_classes:
            named = [self._named(table, reference) for table, reference in zip(tables, references, strict=True)]
            classes = Pairs.merged(named)
            if self.shared is None:
                classes = self._assigned(classes, legend)
        image = ImageScore(
            key,
            source,
            len(references),
            sum(table.total for table in tables),
            sum(tally.unlabelled for tally in tallies),
            sum(tally.unjudged for tally in tallies),
            agreement,
            classes,
        )
        self.images.append(image)

    def _named(self, table: Pairs, reference: Reference) -> Pairs:
        """The table with classes of all references, by number, as columns."""
        codes = table.column_totals()[0]
        names = [reference.name(code) for code in codes.tolist()]
        numbers = np.array([self._codes.setdefault(name, len(self._codes)) for name in names], np.int64)
        if len(self._codes) > MOST_CLASSES:
            raise KsegError(
                f"{printable_source(reference.path)}: with it there are {len(self._codes)} classes of references, a "
                f"score has room for {MOST_CLASSES}; --regions says that its numbers are regions of one picture, and "
                "no classes"
            )
        return table.with_columns(numbers[np.searchsorted(codes, table.columns)])

    def _assigned(self, table: Pairs, legend: Legend | None) -> Pairs:
        """The table with classes in place of labels that no other image has."""
        how = self.settings.assign or "majority"
        self.assign, assignment = assignment_of(table, legend, self._codes, how)
        return assigned(table, assignment)

    # ------------------------------------------------------------------------------------------------- all of them

    def to_json(self) -> dict[str, Any]:
        """The figures, as JSON values."""
        names = sorted(self._codes, key=in_order)
        order = np.zeros(len(names), np.int64)
        order[[self._codes[name] for name in names]] = np.arange(len(names))
        assignment: dict[int, int] = {}
        pooled = Pairs()
        if self.settings.has_classes and self.shared is not None:
            pooled = Pairs.merged([image.pairs for image in self.images])
            self.assign, assignment = assignment_of(pooled, self.shared, self._codes, self.settings.assign)
        images = [self._of_image(image, assignment) for image in self.images]
        found = Agreement.of(pooled) if len(pooled) else Agreements.of_images(image.agreement for image in self.images)
        classes = None
        if self.settings.has_classes:
            tables = [pooled] if self.shared is not None else [image.pairs for image in self.images]
            predicted = Pairs.merged([assigned(each, assignment) if self.shared else each for each in tables])
            classes = Confusion.of(predicted, names, order).to_json()
        return {
            "assign": self.assign if self.settings.has_classes else None,
            "references": sum(image.references for image in self.images),
            "pixels": {
                name: sum(getattr(image, name) for image in self.images)
                for name in ("judged", "unlabelled", "unjudged")
            },
            "agreement": None if found is None else _agreement(found),
            "classes": classes,
            "assignment": self._assignment(pooled, assignment) if len(pooled) else None,
            "each": images,
        }

    def _of_image(self, image: ImageScore, assignment: Mapping[int, int]) -> dict[str, Any]:
        accuracy = None
        if self.settings.has_classes and image.judged:
            pairs = assigned(image.pairs, assignment) if self.shared is not None else image.pairs
            accuracy = int(pairs.counts[pairs.rows == pairs.columns].sum()) / image.judged
        return {
            "key": image.key,
            "source": printable_source(image.source),
            "references": image.references,
            "judged": image.judged,
            "unlabelled": image.unlabelled,
            "unjudged": image.unjudged,
            "accuracy": accuracy,
            **_agreement(image.agreement),
        }

    def _assignment(self, pooled: Pairs, assignment: Mapping[int, int]) -> list[dict[str, Any]]:
        """Of each label that was judged which class it stands for, and how much of it is of that class."""
        assert self.shared is not None
        names = {code: name for name, code in self._codes.items()}
        rows, totals = pooled.row_totals()
        found = []
        for row, total in zip(rows.tolist(), totals.tolist(), strict=True):
            code = assignment.get(row, UNASSIGNED)
            here = pooled.counts[(pooled.rows == row) & (pooled.columns == code)]
            found.append(
                {
                    "label": row,
                    "name": self.shared.names[row],
                    "class": names.get(code),
                    "judged": total,
                    "correct": int(here.sum()),
                }
            )
        return found


def _by_legend(pairs: Pairs, legend: Legend | None) -> Pairs:
    """The table with classes in place of clusters, where that is what the legend is of."""
    if legend is None or legend.what == "cluster":
        return pairs
    return pairs.with_rows(legend.lookup[pairs.rows].astype(np.int64))


def assignment_of(
    pairs: Pairs, legend: Legend | None, classes: Mapping[str, int], how: str | None
) -> tuple[str, dict[int, int]]:
    """How labels are assigned to classes of the reference, and to which each.

    Raises
    ------
    UsageError
        If they are to be so by name and no name is that of a class.
    """
    of_classes = legend is not None and legend.what == "class"
    names = dict(enumerate(legend.names)) if legend is not None else {}
    if of_classes:  # a cluster without a name is not the class of a reference that happens to have its number
        names = {row: name for row, name in names.items() if not name.isdecimal()}
    if how == "name" or (how is None and of_classes):
        found = by_name(pairs, names, classes)
        if found:
            return "name", found
        if how == "name" and len(pairs):
            mine, theirs = (", ".join(sorted(each, key=in_order)[:10]) for each in (names.values(), classes))
            raise UsageError(
                f"--assign name: no class of the reference ({theirs}) has the name of a label ({mine}); name clusters "
                "with kseg-batch classes, or leave --assign name out"
            )
    if how == "one-to-one":
        return how, one_to_one(pairs)
    return "majority", by_majority(pairs)


def _agreement(found: Agreement | Agreements) -> dict[str, float]:
    return {
        "adjusted_rand": found.adjusted_rand,
        "mutual_information": found.mutual_information,
        "rand": found.rand,
        "covering": found.covering,
        "variation_of_information": found.variation_of_information,
    }
