"""OME metadata: of images and label images of a store (OME-Zarr 0.5), as plain dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classes import INVALID

VERSION = "0.5"
_RGB = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))


def labels_index(names: list[str]) -> dict[str, Any]:
    """Attributes of a ``labels`` group."""
    return {"ome": {"version": VERSION, "labels": names}}


def multiscales(
    name: str, levels: int, scale: tuple[float, float], unit: str | None = None, *, channels: bool = False
) -> list[dict[str, Any]]:
    """The levels of a pyramid and the size of their pixels.

    Coordinates are those of pixel centres, the first pixel's at 0: a level's first pixel is the middle of the
    ``2**level`` it stands for.

    Parameters
    ----------
    name
        What the image is called.
    levels
        How many; their arrays are named 0, 1, ...
    scale, unit
        (y, x) side of a pixel of level 0, and its unit.
    channels
        Whether the first axis is that of channels.
    """
    space = {"type": "space"} if unit is None else {"type": "space", "unit": unit}
    axes = [{"name": axis, **space} for axis in ("y", "x")]
    first = [{"name": "c", "type": "channel"}] if channels else []
    datasets = []
    for level in range(levels):
        factor = 1 << level
        sizes = [1.0] * channels + [side * factor for side in scale]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": sizes}]
        if level:
            shift = [0.0] * channels + [side * (factor - 1) / 2 for side in scale]
            steps.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    return [{"name": name, "axes": [*first, *axes], "datasets": datasets}]


def image(name: str, levels: int, scale: tuple[float, float], unit: str | None, channels: str) -> dict[str, Any]:
    """Attributes of an image with channels.

    Parameters
    ----------
    name, levels, scale, unit
        As `multiscales` has them.
    channels
        ``rgb`` for 8-bit red, green and blue, which are to be shown as such; anything else is left to the viewer.
    """
    described: dict[str, Any] = {"version": VERSION}
    described["multiscales"] = multiscales(name, levels, scale, unit, channels=True)
    if channels == "rgb":
        window = {"min": 0, "max": 255, "start": 0, "end": 255}
        described["omero"] = {
            "channels": [{"label": label, "color": color, "active": True, "window": window} for label, color in _RGB]
        }
    return {"ome": described}


def label_image(
    colors: NDArray[np.uint8],
    counts: list[int],
    invalid_label: int,
    invalid: int,
    pyramid: list[dict[str, Any]] | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Attributes of one label image.

    ``colors`` and ``properties`` list the same values, the invalid one included (transparent).

    Parameters
    ----------
    colors
        uint8 (k, 3).
    counts
        Pixels of each cluster in this image.
    invalid_label, invalid
        The reserved value and how many pixels have it.
    pyramid
        Its `multiscales`; None: a single level of pixels of size 1.
    names
        Of the clusters, or of the classes; None: they have none.
    """
    rgba = [[*row, 255] for row in colors.tolist()]
    values = [*range(len(rgba)), invalid_label]
    named: list[dict[str, Any]] = [{} for _ in values] if names is None else [{"name": n} for n in (*names, INVALID)]
    return {
        "ome": {
            "version": VERSION,
            "multiscales": multiscales("kmeans", 1, (1.0, 1.0)) if pyramid is None else pyramid,
            "image-label": {
                "version": VERSION,
                "colors": [{"label-value": v, "rgba": c} for v, c in zip(values, [*rgba, [0, 0, 0, 0]], strict=True)],
                "properties": [
                    {"label-value": v, **name, "area": n}
                    for v, name, n in zip(values, named, [*counts, invalid], strict=True)
                ],
                "source": {"image": "../../"},
            },
        }
    }
