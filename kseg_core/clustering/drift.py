"""How far images are from those a model was found on: their mean squared error, and what share each cluster has.

Both are known from the exact sums of the labelling; no pixel is read for them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

OUTLIER_SPREADS = 5.0  # robust standard deviations above the median; of normal values one in three million is
MAD_TO_SPREAD = 1.4826  # of normal values: standard deviation over median absolute deviation
LEAST_SPREAD = 0.02  # of share distances, and as a share of the median mse ratio: equal images have no spread at all
LEAST_IMAGES = 4  # fewer tell nothing of a spread


class Drift(NamedTuple):
    """How far some pixels are from those of a model.

    Attributes
    ----------
    mse_ratio
        Their mean squared error over the model's; None where either has none or the model's is 0.
    share_distance
        Half the sum of the absolute differences between the clusters' shares: 0 (the same) to 1 (nothing in common).
        None without a valid pixel.
    """

    mse_ratio: float | None
    share_distance: float | None


@dataclass(frozen=True, slots=True)
class Reference:
    """What of a model drift is measured against.

    Parameters
    ----------
    counts
        Pixels of each cluster.
    mse
        Mean squared error; None without pixels.
    """

    counts: tuple[int, ...]
    mse: float | None

    def drift(self, counts: Sequence[int], inertia: float) -> Drift:
        """Of pixels with these counts and this inertia."""
        pixels, own = sum(counts), sum(self.counts)
        if not pixels:
            return Drift(None, None)
        ratio = inertia / pixels / self.mse if self.mse else None
        if not own:
            return Drift(ratio, None)
        # whole numbers, and one division: the same on every machine
        apart = sum(abs(n * own - m * pixels) for n, m in zip(counts, self.counts, strict=True))
        return Drift(ratio, apart / (2 * pixels * own))


def outliers(drifts: Mapping[str, Drift]) -> set[str]:
    """Names of the images that stand out among all by their error or their shares, upwards only."""
    return {
        name
        for values, least in (
            ({name: d.share_distance for name, d in drifts.items()}, lambda _: LEAST_SPREAD),
            ({name: d.mse_ratio for name, d in drifts.items()}, lambda middle: LEAST_SPREAD * middle),
        )
        for name in _above({name: value for name, value in values.items() if value is not None}, least)
    }


def _above(values: Mapping[str, float], least: Callable[[float], float]) -> list[str]:
    if len(values) < LEAST_IMAGES:
        return []
    middle = statistics.median(values.values())
    spread = MAD_TO_SPREAD * statistics.median(abs(value - middle) for value in values.values())
    limit = middle + OUTLIER_SPREADS * max(spread, least(middle))
    return [name for name, value in values.items() if value > limit]
