"""How far new images are from those that a given model was found on: the batch as a whole, and the worst images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kseg_core.clustering.outliers import Drift, outliers
from kseg_core.store.model import Model

from .label import Labelled, reference_of

WORST = 10  # images named; the others' figures follow from their counts and mse, which the store has


def drift_result(
    model: Model, batch: Labelled, drifts: Mapping[str, Drift], sources: Mapping[str, str]
) -> dict[str, Any]:
    """As JSON values.

    Parameters
    ----------
    model
        The given one.
    batch
        What labelling the new images came to.
    drifts
        Of these and all others in the store: what is usual is told by all.
    sources
        Of each image by key.

    Returns
    -------
    ``batch`` {images, mse_ratio, share_distance}, None without new images; ``outliers``: how many of the new ones stand
    out; ``images``: the outliers first and then the furthest by share distance, at most `WORST`, with ``outlier`` true
    or false; ``not_listed``: how many new images are not among these.
    """
    if batch.sums is None:
        return {"batch": None, "outliers": 0, "images": [], "not_listed": 0}
    whole = reference_of(model).drift(batch.sums.counts.tolist(), model.space.inertia(batch.sums, model.points))
    odd = outliers(drifts)
    ranked = sorted(
        batch.drift.items(), key=lambda item: (item[0] not in odd, -(item[1].share_distance or 0.0), item[0])
    )
    return {
        "batch": {"images": len(batch.inertia), **whole._asdict()},
        "outliers": len(odd & batch.drift.keys()),
        "images": [{"source": sources[key], **drift._asdict(), "outlier": key in odd} for key, drift in ranked[:WORST]],
        "not_listed": len(ranked[WORST:]),
    }
