"""How far each image is from the average, and which of thousands are shown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .facts import ImageFacts

FEW = 6  # images: of fewer, quartiles say nothing
MOST_DOUBLINGS = 8.0  # an image without any error is no farther from the others than one with 1/256 of theirs


@dataclass(frozen=True, slots=True)
class Ranked:
    """An image among the others.

    Parameters
    ----------
    facts
        What the store says of it.
    distance
        Half the sum of absolute differences between its clusters' shares and the mean shares of all images: the part of
        its pixels, 0 to 1, that would have to change cluster. None without a valid pixel, or without common clusters.
    ratio
        Its mean squared error as a multiple of the batch's; None where either is missing, or the batch's is 0.
    """

    facts: ImageFacts
    distance: float | None
    ratio: float | None

    @property
    def farness(self) -> float:
        """What the order is by: the distance, and half the number of times the error is doubled or halved."""
        doublings = 0.0
        if self.ratio is not None:
            doublings = MOST_DOUBLINGS if self.ratio == 0 else min(abs(math.log2(self.ratio)), MOST_DOUBLINGS)
        return (self.distance or 0.0) + doublings / 2


def mean_shares(images: Sequence[ImageFacts], k: int) -> list[float]:
    """The mean of the images' shares, each image counting alike; those without a valid pixel are passed over."""
    counted = [image.shares for image in images if image.valid]
    return [math.fsum(shares[j] for shares in counted) / (len(counted) or 1) for j in range(k)]


def rank(images: Sequence[ImageFacts], k: int | None) -> list[Ranked]:
    """All images, the farthest from the average first; equally far ones by key.

    Parameters
    ----------
    images
        All of the store.
    k
        Clusters that all images share; None where each has its own.
    """
    valid = sum(image.valid for image in images)
    mse = math.fsum(image.inertia for image in images) / valid if valid else 0.0
    average = mean_shares(images, k) if k is not None else []
    ranked = []
    for image in images:
        distance = None
        if k is not None and image.valid:
            distance = math.fsum(abs(s - a) for s, a in zip(image.shares, average, strict=True)) / 2
        ranked.append(Ranked(image, distance, image.mse / mse if image.mse is not None and mse > 0 else None))
    return sorted(ranked, key=lambda image: (-image.farness, image.facts.key))


def outlier_fence(ranked: Sequence[Ranked]) -> float:
    """How far an outlier is: beyond the third quartile by 1.5 times the quartiles' distance; infinite for few images.

    References
    ----------
    Tukey, J. W. (1977). Exploratory Data Analysis.
    """
    far = [image.farness for image in ranked if image.facts.valid]
    if len(far) < FEW:
        return math.inf
    first, _, third = statistics.quantiles(far, n=4, method="inclusive")
    return third + 1.5 * (third - first)


def choose(ranked: Sequence[Ranked], limit: int) -> list[Ranked]:
    """At most ``limit`` images to show, in their order: half of them outliers, the rest evenly from all others."""
    if len(ranked) <= limit:
        return list(ranked)
    first = list(ranked[: -(-limit // 2)])
    rest, room = ranked[len(first) :], limit - len(first)
    return first + [rest[(2 * i + 1) * len(rest) // (2 * room)] for i in range(room)]


def most_typical(ranked: Sequence[Ranked], count: int) -> list[Ranked]:
    """Those nearest the average, the nearest first."""
    return [image for image in reversed(ranked) if image.facts.valid][:count]
