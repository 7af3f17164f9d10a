"""What the values of a label array are called and painted with: clusters by number, or classes by name.

Whatever draws, counts, or writes categories takes a legend, and so speaks of classes where there are some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels, invalid_label, painted
from ..command_lines import command_line, place
from ..errors import UsageError
from ..layers.classes import class_lookup
from ..products import Palette, What
from .distinct import distinct_colors

if TYPE_CHECKING:
    from .model import Model

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Legend:
    """Names and colours of the values 0, 1, … of an array of labels.

    Parameters
    ----------
    what
        What a value stands for.
    names
        One a value; that of a cluster, or of a class that is a cluster without a name, is its number.
    colors
        uint8 (n, 3), sRGB.
    given
        Whether somebody chose that very colour: another palette leaves it.
    clusters
        Of which clusters each value is.
    """

    what: What
    names: tuple[str, ...]
    colors: U8
    given: tuple[bool, ...]
    clusters: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.colors.shape != (n, 3) or self.colors.dtype != np.uint8 or {len(self.given), len(self.clusters)} != {n}:
            raise ValueError(f"expected names, colours and clusters of {n} values, got {self.colors.shape}")

    @classmethod
    def of_clusters(cls, model: Model) -> Legend:
        """Each cluster by its number, in its mean colour."""
        names = tuple(map(str, range(model.k)))
        return cls("cluster", names, model.colors, (False,) * model.k, tuple((c,) for c in range(model.k)))

    @classmethod
    def of_classes(cls, model: Model) -> Legend:
        """The model's classes, then each cluster without a name as one; those without a colour in the mean colour of
        their clusters' pixels.
        """
        if model.classes is None:
            return cls.of_clusters(model)
        groups = model.classes.groups(model.k)
        colors = np.stack([mean_color(model.colors[list(group)], model.counts[list(group)]) for group in groups])
        given = [each.color is not None for each in model.classes]
        for at, each in enumerate(model.classes):
            if each.color is not None:
                colors[at] = tuple(bytes.fromhex(each.color[1:]))
        given += [False] * (len(groups) - len(given))
        return cls("class", model.classes.names(model.k), colors, tuple(given), groups)

    @classmethod
    def of(cls, model: Model, by: What | None = None) -> Legend:
        """Of classes where the model has some, else of clusters; ``by``: of these whatever there is."""
        return cls.of_clusters(model) if by == "cluster" else cls.of_classes(model)

    def with_palette(self, palette: Palette) -> Legend:
        """The same in other colours; those that somebody chose stay."""
        if palette == "mean" or not len(self):
            return self
        chosen = np.array(self.given)
        colors = self.colors.copy()
        colors[~chosen] = distinct_colors(int((~chosen).sum()), self.colors[chosen].tolist())
        return replace(self, colors=colors)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def k(self) -> int:
        """How many clusters there are."""
        return sum(map(len, self.clusters))

    @property
    def invalid(self) -> int:
        """The value of invalid pixels."""
        return invalid_label(len(self))

    @property
    def lookup(self) -> Labels:
        """The value of each cluster's label: (largest label + 1,) of `label_dtype`, with what labels of k clusters may
        hold; labels that stand for nothing become invalid, as those of invalid pixels do.
        """
        return class_lookup(self.clusters)

    def values_of(self, labels: Labels) -> Labels:
        """The values of an array of clusters' labels, of any shape: the same where clusters are what it is of."""
        return labels if self.what == "cluster" else np.take(self.lookup, labels)

    def values_with(self, clusters: Sequence[int]) -> tuple[int, ...]:
        """The values that are of some of these clusters, ascending."""
        return tuple(value for value, group in enumerate(self.clusters) if not set(group).isdisjoint(clusters))

    def paint(self, labels: Labels) -> U8:
        """An array (y, x) of clusters' labels in the colours of its values, uint8 (y, x, 3); black where invalid.

        Raises
        ------
        ValueError
            If a label is neither a cluster nor the invalid value.
        """
        colors = np.zeros((self.k, 3), np.uint8)
        for color, clusters in zip(self.colors, self.clusters, strict=True):
            colors[list(clusters)] = color
        return painted(labels, colors)

    def totals(self, of_clusters: Sequence[Any]) -> list[int]:
        """Of each value the sum of what its clusters have, as whole numbers of any size."""
        return [sum(int(of_clusters[cluster]) for cluster in group) for group in self.clusters]

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON values: name, clusters, and colour as ``#rrggbb``."""
        rows = zip(self.names, self.clusters, self.colors.tolist(), strict=True)
        return [{"name": name, "clusters": list(group), "color": hex_of(color)} for name, group, color in rows]


def named_legend(model: Model, by: What | None, store: str, flag: str) -> Legend:
    """`Legend.of`, where classes are there if they are required.

    Raises
    ------
    UsageError
        If ``by`` is ``class`` and no cluster has a name; ``flag``: what required them.
    """
    legend = Legend.of(model, by)
    if by == "class" and legend.what == "cluster":
        raise UsageError(f"{flag}: {nameless(store)}")
    return legend


def nameless(store: str) -> str:
    """That no cluster of a store has a name, and how to give some one."""
    return f"no cluster has a name; give some one with: {command_line('classes', place(store), 'NAME=0,1')}"


def chosen_values(model: Model, legend: Legend, chosen: Sequence[str], flag: str) -> tuple[int, ...]:
    """The values of a model's legend that are meant by names of classes, or numbers of clusters, each once.

    A class means all of its clusters where these are what the legend is of.

    Parameters
    ----------
    flag
        With which a cluster that is of a class is taken by its number, as in ``--by cluster``.

    Raises
    ------
    UsageError
        If there is no such, naming those there are; or a number is that of a cluster that is of a class, and the
        legend is of classes.
    """
    classes = Legend.of_classes(model)
    values: list[int] = []
    for name in chosen:
        if name in legend.names:
            values.append(legend.names.index(name))
        elif name in classes.names:
            values += classes.clusters[classes.names.index(name)]
        else:
            raise UsageError(_not_there(name, legend, classes, flag))
    return tuple(dict.fromkeys(values))


def _not_there(name: str, legend: Legend, classes: Legend, flag: str) -> str:
    clusters = f"clusters are 0 to {legend.k - 1}"
    if classes.what == "cluster":
        return f"--cluster {name}: {clusters}"
    pairs = zip(classes.names, classes.clusters, strict=True)
    within = next((own for own, group in pairs if name in map(str, group)), None)
    if within is not None:
        return f"--cluster {name}: that cluster is of class {within}; {flag} takes it by its number"
    return f"--cluster {name}: classes are {', '.join(classes.names)}; {clusters}"


#: Of images without a model, which have no valid pixel.
NO_LEGEND = Legend("cluster", (), np.zeros((0, 3), np.uint8), (), ())


def hex_of(color: Sequence[int]) -> str:
    """A colour (red, green, blue) as ``#rrggbb``."""
    return f"#{bytes(color).hex()}"


def mean_color(colors: U8, counts: NDArray[np.int64]) -> U8:
    """The mean of mean colours (n, 3) of so many pixels each, uint8 (3,), rounded half up; without pixels, of the
    colours alike.
    """
    weights = counts if counts.any() else np.ones_like(counts)
    total = int(weights.sum())
    sums = [
        sum(int(color) * int(weight) for color, weight in zip(channel, weights, strict=True)) for channel in colors.T
    ]
    return np.array([(2 * each + total) // (2 * total) for each in sums], np.uint8)
