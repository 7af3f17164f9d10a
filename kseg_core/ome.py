"""OME-Zarr 0.5 metadata of label images: plain dictionaries, no I/O."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = "0.5"


def labels_index(names: list[str]) -> dict[str, Any]:
    """Attributes of a ``labels`` group."""
    return {"ome": {"version": VERSION, "labels": names}}


def label_image(colors: NDArray[np.uint8], counts: list[int], invalid_label: int, invalid: int) -> dict[str, Any]:
    """Attributes of one label image of a single level.

    ``colors`` and ``properties`` list the same values, the invalid one included (transparent).

    Parameters
    ----------
    colors
        uint8 (k, 3).
    counts
        Pixels of each cluster in this image.
    invalid_label, invalid
        The reserved value and how many pixels have it.
    """
    rgba = [[*row, 255] for row in colors.tolist()]
    values = [*range(len(rgba)), invalid_label]
    return {
        "ome": {
            "version": VERSION,
            "multiscales": [
                {
                    "name": "kmeans",
                    "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
                    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}],
                }
            ],
            "image-label": {
                "version": VERSION,
                "colors": [{"label-value": v, "rgba": c} for v, c in zip(values, [*rgba, [0, 0, 0, 0]], strict=True)],
                "properties": [{"label-value": v, "area": n} for v, n in zip(values, [*counts, invalid], strict=True)],
                "source": {"image": "../../"},
            },
        }
    }
