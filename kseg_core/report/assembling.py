"""From what tasks saw of an image to its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kseg_core.clustering.labelling import invalid_label
from kseg_core.errors import StoreError
from kseg_core.layers.tiles import level_shape
from kseg_core.store.model import Model

from .cells import LEVELS_IN_WINDOW, Patch, finish_mean, mode_cells, put_together
from .encoding import gray_file, mask_file, original_file, segmented_file
from .looking import Look, Subject
from .markup import largest
from .sampling import PixelSample

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pictures:
    """An image's pictures as files, and its sample of pixels; small enough to be sent.

    Parameters
    ----------
    segmented, original, edges
        As `kseg_core.report.content.ShownImage` has them.
    lost
        Why there is no original; empty where there is.
    masks
        (cluster, PNG).
    painted
        A PNG for each further model.
    sample
        Some of its pixels; None where there are none.
    """

    segmented: bytes
    original: bytes | None
    edges: bytes | None
    lost: str
    masks: tuple[tuple[int, bytes], ...]
    painted: tuple[bytes, ...]
    sample: PixelSample | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the tasks saw of an image: parts of its labels, of its pixels (or why there are none), of its edges."""

    labels: Sequence[Patch]
    looks: Sequence[Look | str]
    edges: Sequence[Patch]


def assemble(subject: Subject, seen: Seen, colors: U8, others: Sequence[Model], masks: Sequence[int] | int) -> Pictures:
    """The pictures of one image.

    Parameters
    ----------
    subject, seen
        The image.
    colors
        uint8 (k, 3) of its clusters.
    others
        The models it was labelled with as well.
    masks
        The clusters to make masks of; or of how many, the largest of the image.

    Raises
    ------
    StoreError
        If there are labels that are no cluster.
    """
    failed = [look for look in seen.looks if isinstance(look, str)]
    looks = [] if failed else [look for look in seen.looks if isinstance(look, Look)]
    labels = _small_labels(subject, seen.labels)
    if isinstance(masks, int):
        counts = np.bincount(labels[labels != invalid_label(subject.k)].ravel(), minlength=subject.k)
        masks = largest(counts.tolist(), masks)
    rest = subject.level - subject.in_window
    original, painted = None, []
    if looks:
        shape = level_shape(subject.shape, subject.in_window)
        original = original_file(finish_mean(put_together((look.small for look in looks), shape, 0), rest))
        for at, other in enumerate(others):
            invalid = invalid_label(other.k)
            whole = put_together((look.painted[at] for look in looks), shape, invalid)
            painted.append(segmented_file(mode_cells(whole, invalid, rest), other.colors))
    edges = None
    if seen.edges:
        whole = put_together(seen.edges, level_shape(subject.shape, subject.in_window), 0)
        edges = gray_file(finish_mean(whole[..., None], rest)[..., 0])
    return Pictures(
        segmented_file(labels, colors),
        original,
        edges,
        failed[0] if failed else subject.lost,
        tuple((j, mask_file(labels == j)) for j in masks),
        tuple(painted),
        joined([look.sample for look in looks if look.sample is not None]),
    )


def _small_labels(subject: Subject, patches: Sequence[Patch]) -> NDArray[np.unsignedinteger]:
    """The small label picture: windows halved as often as one can, the whole as often as is left."""
    halvings = subject.level - subject.stored_level
    in_window = min(halvings, LEVELS_IN_WINDOW)
    invalid = invalid_label(subject.k)
    whole = put_together(patches, level_shape(subject.shape, subject.stored_level + in_window), invalid)
    small = mode_cells(whole, invalid, halvings - in_window)
    if ((small >= subject.k) & (small != invalid)).any():
        raise StoreError("labels that are no cluster")
    return small


def joined(samples: Sequence[PixelSample]) -> PixelSample | None:
    """The samples of several windows, or of several images of one model, as one; None of none."""
    if not samples:
        return None
    squares = np.array([[sample.squares[j] for sample in samples] for j in range(len(samples[0].squares))])
    return PixelSample(
        np.concatenate([sample.colors for sample in samples]),
        np.concatenate([sample.labels for sample in samples]),
        np.sum([sample.counts for sample in samples], axis=0),
        np.array([math.fsum(row) for row in squares.tolist()]),
    )
