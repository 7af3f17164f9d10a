"""Is what a store holds right?  Findings, not exceptions: a damaged image must not hide the next."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import InputSettings, OutputSettings
from .errors import StoreError, UnreadableImage
from .inputs import InputFile
from .labelling import invalid_label, label_dtype
from .model import Model
from .sources import ImageSource
from .store import StoredImage
from .tiles import tile_windows

VERIFY_PX = 4096  # side of the windows arrays are compared in


@dataclass(frozen=True, slots=True)
class Findings:
    """What verifying one image came to.

    Parameters
    ----------
    problems
        One line each, naming the image.
    compared
        Whether the source's pixels were labelled anew and compared.
    counts
        Pixels of each cluster as the labels say, or None where they cannot be read.
    """

    problems: tuple[str, ...]
    compared: bool = False
    counts: tuple[int, ...] | None = None


def verify_image(
    store: str,
    key: str,
    folder: str,
    shared: Model | None,
    output: OutputSettings | None = None,
    nodata: str | None = "auto",
) -> Findings:
    """Verify one image of a store.

    Parameters
    ----------
    store, key
        Which.
    folder
        Folder that relative sources are relative to.
    shared
        The model of all images; None where each has its own.
    output
        The run's settings, which say whether masks were made; None: whatever is there.
    nodata
        The run's setting; None: sources are not compared with (a run with ``--mask``).
    """
    try:
        image = StoredImage(store, key)
        model = shared if shared is not None else image.model
        missing = output is not None and model is not None and output.writes_masks(model.k) and not image.has_masks
        if missing:
            return Findings((f"{key}: its masks are missing",))
        return _verify(image, folder, model, nodata)
    except (StoreError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        return Findings((f"{key}: cannot be read ({error})",))


def _verify(image: StoredImage, folder: str, model: Model | None, nodata: str | None) -> Findings:
    facts = image.attributes
    if facts.get("status") != "complete":
        return Findings((f"{image.key}: not complete",))
    k = 0 if model is None else model.k
    labels = image.labels
    height, width = facts["shape"]
    shape = (height, width)
    if labels.shape != shape or labels.dtype != label_dtype(k):
        return Findings((f"{image.key}: labels are {labels.dtype} {labels.shape}, expected {label_dtype(k)} {shape}",))
    problems: list[str] = []
    values = np.zeros(invalid_label(k) + 1, np.int64)
    masks = image.masks
    if masks is not None and masks.shape != (k, *shape):
        return Findings((f"{image.key}: masks are {masks.shape}, expected {(k, *shape)}",))
    wrong_masks = 0
    for rows, columns in tile_windows(height, width, VERIFY_PX):
        window = np.asarray(labels[rows, columns])
        values += np.bincount(window.reshape(-1), minlength=values.size)
        for j in range(0 if masks is None else k):
            wrong_masks += int((np.asarray(masks[j, rows, columns]) != (window == j)).sum())  # type: ignore[index]
    counts = tuple(values[:k].tolist())
    if wrong_masks:
        problems.append(f"{image.key}: {wrong_masks} mask pixels disagree with the labels")
    if values[k:-1].any():
        problems.append(f"{image.key}: labels that are no cluster")
    if list(counts) != list(facts["counts"]) or int(values[-1]) != facts["invalid"]:
        problems.append(f"{image.key}: the labels' counts are not those in its attributes")
    compared, wrong = (False, 0) if nodata is None else _compare_with_source(image, folder, model, nodata)
    if wrong:
        problems.append(f"{image.key}: {wrong} labels are not the nearest centroid of their source's pixels")
    return Findings(tuple(problems), compared, counts)


def _compare_with_source(image: StoredImage, folder: str, model: Model | None, nodata: str) -> tuple[bool, int]:
    """Whether the source could be compared with, and how many labels differ."""
    facts: dict[str, Any] = image.attributes
    path = os.path.join(folder, str(facts.get("source")))
    wrong = 0
    try:
        status = os.stat(path)
        if model is None or (status.st_size, status.st_mtime_ns) != (facts["size"], facts["modified"]):
            return False, 0
        file = InputFile(path, str(facts.get("source")), image.key, status.st_size, status.st_mtime_ns)
        source = ImageSource.open(file, InputSettings(nodata))
        bands = None if model.bands is None else model.bands.bands
        for piece in source.pieces(VERIFY_PX):
            pixels = piece.read_for(bands)
            anew = model.label(pixels.samples, pixels.valid).labels
            wrong += int((anew != np.asarray(image.labels[piece.rows, piece.columns])).sum())
    except (OSError, UnreadableImage):
        return False, 0
    return True, wrong
