"""What the values of a label array are called and painted with: clusters by number, or classes by name.

Whatever draws, counts, or writes categories takes a legend, and so speaks of classes where there are some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels, invalid_label
from ..layers.classes import class_lookup
from ..products import Palette
from .distinct import distinct_colors

if TYPE_CHECKING:
    from .model import Model

U8 = NDArray[np.uint8]
What = Literal["cluster", "class"]


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

    def totals(self, of_clusters: Sequence[Any]) -> list[int]:
        """Of each value the sum of what its clusters have, as whole numbers of any size."""
        return [sum(int(of_clusters[cluster]) for cluster in group) for group in self.clusters]

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON values: name, clusters, and colour as ``#rrggbb``."""
        rows = zip(self.names, self.clusters, self.colors.tolist(), strict=True)
        return [{"name": name, "clusters": list(group), "color": hex_of(color)} for name, group, color in rows]


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
