"""How often pixels of two clusters touch: whole numbers, which windows count and which add up in any order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels
from ..errors import StoreError
from ..layers.tiles import Region
from ..scoring.pairs import Pairs
from ..shapes.regions import LabelArray
from ..store.opening import StoredImage

WINDOW_PX = 1024  # the side of a window that is counted
COUNTED_BYTES = 150_000_000  # of a task that counts one in which each pixel touches another cluster, twice


class Touching(NamedTuple):
    """What a window, or a store, comes to.

    Parameters
    ----------
    contacts
        As `contacts_of` gives them.
    counts
        int64 (k,): pixels of each cluster.
    """

    contacts: Pairs
    counts: NDArray[np.int64]


def contacts_of(labels: Labels, shape: tuple[int, int], k: int) -> Pairs:
    """Count the pairs of neighbouring pixels, next to and below each other, that are of different clusters.

    Parameters
    ----------
    labels
        uint8 or uint16 (y, x): a window with the row below it and the column at its right, where the image has them.
    shape
        Of the window alone: it counts the pairs of its pixels with those at their right and below them, so that windows
        of any sizes add up to the image.
    k
        Clusters: labels from 0 to k - 1. All others are of pixels that do not count.

    Returns
    -------
    Of each two clusters that touch, the lower one first, how often they do.
    """
    rows, columns = shape
    across = labels[:rows, :-1], labels[:rows, 1:]
    down = labels[:-1, :columns], labels[1:, :columns]
    return Pairs.merged([_differing(one, other, k) for one, other in (across, down)])


def _differing(one: Labels, other: Labels, k: int) -> Pairs:
    touching = (one != other) & (one < k) & (other < k)
    one, other = one[touching], other[touching]
    lower, higher = np.minimum(one, other), np.maximum(one, other).astype(np.int64)
    return Pairs.count(lower, higher, np.ones(lower.size, np.bool_))


def count_window(store: str, part: tuple[str, Region], k: int) -> Touching:
    """A task: contacts and pixels of a window of an image's labels.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    key, (rows, columns) = part
    image = StoredImage(store, key)
    if not image.complete:
        raise StoreError("not complete in the store; the command that made it completes it")
    height, width = image.labels.shape
    beyond = slice(rows.start, min(rows.stop + 1, height)), slice(columns.start, min(columns.stop + 1, width))
    labels = LabelArray.of_clusters(k).read(image, *beyond)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    counts = np.bincount(labels[: shape[0], : shape[1]].reshape(-1), minlength=k)[:k]
    return Touching(contacts_of(labels, shape, k), counts)
