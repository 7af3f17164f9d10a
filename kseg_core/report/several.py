"""The models of a sweep, to paint one picture with several k."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from kseg_core import storage
from kseg_core.errors import KsegError, StoreError
from kseg_core.store.model import Model

from .content import sweep_from

SWEEP_FILE = "sweep.json"


def read_sweep(folder: str) -> dict[str, Any]:
    """What the ``sweep`` command wrote to a folder.

    Raises
    ------
    KsegError
        If there is nothing that can be read.
    """
    path = os.path.join(folder, SWEEP_FILE)
    try:
        found: dict[str, Any] = json.loads(storage.read(path))
    except OSError as error:
        raise KsegError(
            f"{path}: cannot be read ({error.strerror or error}); make it with: kseg-batch sweep"
        ) from error
    except ValueError as error:
        raise KsegError(f"{path}: not what the sweep command writes ({error})") from error
    known = isinstance(found, dict) and {"k", "knee", "sweep", "each"} <= found.keys()
    if not known:
        raise KsegError(f"{path}: not what the sweep command writes")
    try:
        sweep_from(found)
    except ValueError as error:
        raise KsegError(f"{path}: {error}") from error
    return found


def models_of(found: dict[str, Any], store: Model | None) -> dict[int, Model]:
    """The model of every k that a sweep has centroids of.

    Parameters
    ----------
    found
        As `read_sweep` gives it.
    store
        The store's model: the feature space of bands is taken from it.
    """
    features = str(found.get("features") or (store.features if store is not None else "rgb"))
    bands = None if store is None else store.bands
    if (features == "bands") != (bands is not None):
        return {}  # the pixels that are read are not those that it is of
    models: dict[int, Model] = {}
    for row in found["sweep"] or []:
        try:
            centroids = np.asarray(row["centroids"], np.float64)
            colors = np.asarray(row["colors"], np.uint8)
            counts = np.zeros(len(centroids), np.int64)
            models[int(row["k"])] = Model(features, centroids, colors, counts, float(row["inertia"]), {}, bands)
        except (KeyError, TypeError, ValueError, StoreError):
            continue  # a row without centroids of this space cannot be painted; its numbers are shown all the same
    return models
