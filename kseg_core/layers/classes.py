"""The layers of named classes: which class each pixel is of, and a mask for each class. They are looked up by labels.

What the classes are the model says, not the settings of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..classes import NO_CLASSES, Classes
from ..clustering.labelling import Labels, invalid_label, label_dtype
from .layer import ArraySpec, Layer, LayerInput, Layout
from .pyramid import mode_of_blocks


def class_lookup(groups: Sequence[Sequence[int]]) -> Labels:
    """The class of every value that a label may have.

    Parameters
    ----------
    groups
        Of each class the clusters it is of; each of k clusters is in one.

    Returns
    -------
    (largest label + 1,) of `label_dtype` of so many classes, its largest value where a label is no cluster.
    """
    invalid = invalid_label(len(groups))
    table = np.full(invalid_label(sum(map(len, groups))) + 1, invalid, label_dtype(len(groups)))
    for value, clusters in enumerate(groups):
        table[list(clusters)] = value
    return table


@dataclass(frozen=True)
class ClassLayer(Layer):
    """Which class each pixel is of: 0 to n - 1, the dtype's largest value where invalid.

    Parameters
    ----------
    classes
        Those with names.
    k
        Number of clusters.
    """

    classes: Classes = NO_CLASSES
    k: int = 0

    name = "classes"
    group: ClassVar[str | None] = "labels/classes"
    called = "its classes are"
    source: ClassVar[Literal["pixels", "labels"]] = "labels"
    command = "classes"
    of_model = True
    are_labels = True
    working_px = 8

    def named(self, classes: Classes | None, k: int) -> ClassLayer:
        return type(self)(classes or NO_CLASSES, k)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Of each class the clusters it is of."""
        return self.classes.groups(self.k)

    @cached_property
    def lookup(self) -> Labels:
        return class_lookup(self.groups)

    def to_json(self) -> dict[str, Any]:
        return {"classes": self.classes.to_json(), "k": self.k}

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        n = len(self.groups)
        shape, chunks = layout.level_shape(level), layout.chunks(level)
        return ArraySpec(shape, chunks, label_dtype(n).name, invalid_label(n), ("y", "x"))

    def values(self, window: LayerInput, layout: Layout) -> Labels:  # noqa: ARG002 - of labels alone
        assert window.labels is not None
        return np.take(self.lookup, window.labels)

    def halved(self, plane: NDArray[Any], layout: Layout) -> NDArray[Any]:  # noqa: ARG002 - of labels alone
        return mode_of_blocks(plane, invalid_label(len(self.groups)))


class ClassMaskLayer(ClassLayer):
    """A mask for each class."""

    name, group = "class_masks", None
    called = "its masks of classes are"
    are_labels = False

    def spec(self, layout: Layout, level: int = 0) -> ArraySpec:
        shape, chunks = (len(self.groups), *layout.level_shape(level)), (1, *layout.chunks(level))
        return ArraySpec(shape, chunks, "bool", False, ("class", "y", "x"), "bits")

    def planes(self, window: LayerInput, layout: Layout) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        classes = self.values(window, layout)
        mask = np.empty(classes.shape, np.bool_)
        for value in range(len(self.groups)):
            yield (value,), np.equal(classes, value, out=mask)
