"""Is what a store holds right?  Findings, not exceptions: a damaged image must not hide the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import ome
from .arrays import NO_CONFIDENCE
from .chunks import missing_chunks
from .config import OutputSettings
from .errors import StoreError, UnreadableImage
from .labelling import NO_COLORS, invalid_label, label_dtype
from .model import Model
from .nodes import read_document
from .originals import Originals
from .pyramid import mean_of_blocks, mode_of_blocks
from .record import ImageRecord
from .store import StoredImage
from .stored_image import DAMAGE
from .tiles import level_shape, source_window, tile_windows
from .writing import LABELS

if TYPE_CHECKING:
    import zarr

VERIFY_PX = 4096  # side of the windows arrays are compared in
NOT_READ = "its source is not to be read"
TILES_NAMED = 8  # of those that are missing


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
    why
        Why they were not compared, where that is known.
    """

    problems: tuple[str, ...]
    compared: bool = False
    counts: tuple[int, ...] | None = None
    why: str | None = None


def verify_image(
    store: str,
    key: str,
    originals: Originals | None,
    shared: Model | None,
    output: OutputSettings | None = None,
) -> Findings:
    """Verify one image of a store.

    Parameters
    ----------
    store, key
        Which.
    originals
        Where the store's images came from; None: the source is not to be read.
    shared
        The model of all images; None where each has its own.
    output
        The run's settings, which say whether masks were made; None: whatever is there.
    """
    try:
        image = StoredImage(store, key)
        model = shared if shared is not None else image.model
        missing = output is not None and model is not None and output.writes_masks(model.k) and not image.has_masks
        if missing:
            return Findings((f"{key}: its masks are missing",))
        if output is not None and output.confidence and not image.has_confidence:
            return Findings((f"{key}: its confidence is missing",))
        if output is not None and output.copy_image and image.image is None:
            return Findings((f"{key}: its copy of the image is missing",))
        problems = verify_edges(image, None if output is None else output.edges)
        if not image.has_labels:
            if "counts" in image.attributes:
                return Findings((f"{key}: its labels are missing", *problems))
            return Findings(problems if image.has_edges else (f"{key}: its edges are missing",))
        found = _verify(image, originals, model)
        return replace(found, problems=found.problems + problems)
    except (StoreError, OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError) as error:
        return Findings((f"{key}: cannot be read ({error})",))


def verify_edges(image: StoredImage, expected: tuple[float, float] | None) -> tuple[str, ...]:
    """Are the edges there that the run was to make, and are those that are there whole?"""
    edges = image.edges
    if edges is None:
        return () if expected is None else (f"{image.key}: its edges are missing",)
    height, width = image.attributes["shape"]
    if edges.shape != (height, width) or edges.dtype != np.bool_:
        return (f"{image.key}: its edges are {edges.dtype} {edges.shape}, expected bool {(height, width)}",)
    windows = tile_windows(height, width, VERIFY_PX)
    found = sum(int(np.count_nonzero(np.asarray(edges[window]))) for window in windows)
    told = dict(edges.attrs["kseg"])["edge_pixels"]  # type: ignore[arg-type]
    return () if found == told else (f"{image.key}: its edges have {found} pixels, its attributes say {told}",)


def _verify(image: StoredImage, originals: Originals | None, model: Model | None) -> Findings:
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
    confidence = image.confidence
    if confidence is not None and (confidence.shape != shape or confidence.dtype != np.uint8):
        found = f"{confidence.dtype} {confidence.shape}"
        return Findings((f"{image.key}: its confidence is {found}, expected uint8 {shape}",))
    wrong_masks = wrong_confidence = 0
    for rows, columns in tile_windows(height, width, VERIFY_PX):
        window = np.asarray(labels[rows, columns])
        values += np.bincount(window.reshape(-1), minlength=values.size)
        for j in range(0 if masks is None else k):
            wrong_masks += int((np.asarray(masks[j, rows, columns]) != (window == j)).sum())  # type: ignore[index]
        if confidence is not None:
            told = np.asarray(confidence[rows, columns]) != NO_CONFIDENCE
            wrong_confidence += int((told != (window != invalid_label(k))).sum())
    counts = tuple(values[:k].tolist())
    if wrong_masks:
        problems.append(f"{image.key}: {wrong_masks} mask pixels disagree with the labels")
    if wrong_confidence:
        problems.append(f"{image.key}: the confidence of {wrong_confidence} pixels disagrees with their validity")
    if values[k:-1].any():
        problems.append(f"{image.key}: labels that are no cluster")
    if list(counts) != list(facts["counts"]) or int(values[-1]) != facts["invalid"]:
        problems.append(f"{image.key}: the labels' counts are not those in its attributes")
        problems += _missing_tiles(image, int(values[-1]) - facts["invalid"])
    problems += _wrong_levels(image, invalid_label(k))
    problems += _wrong_documents(image, model)
    why, wrong, unsure, other = _compare_with_source(image, originals, model)
    if other:
        problems.append(f"{image.key}: {other} samples of its copy are not those of its source")
    if unsure and not wrong_confidence:
        problems.append(f"{image.key}: the confidence of {unsure} pixels is not that of their source's pixels")
    if wrong:
        problems.append(f"{image.key}: {wrong} labels are not the nearest centroid of their source's pixels")
    return Findings(tuple(problems), why is None, counts, why)


def _wrong_documents(image: StoredImage, model: Model | None) -> list[str]:
    """Is what is said of the image and of its labels what is written with such labels?"""
    index = os.path.join(image.path, "labels")
    problems = []
    try:
        listed = read_document(index)["attributes"] == ome.labels_index(["kmeans"])
    except (*DAMAGE, StoreError):
        listed = False
    if not listed:
        problems.append(f"{image.key}: labels/zarr.json, which lists its labels, is missing or damaged")
    record = ImageRecord.from_attributes(image.key, image.attributes)
    told = read_document(os.path.join(image.path, LABELS))["attributes"]
    colors = NO_COLORS if model is None else model.colors
    if len(record.counts) == len(colors):  # where it is not, the labels have said so
        scale, (unit, _) = image.pixel_scale
        pyramid = ome.multiscales("kmeans", image.level_count, scale, unit)
        counts, invalid = list(record.counts), invalid_label(len(colors))
        expected = ome.label_image(colors, counts, invalid, record.invalid, pyramid)
        if told != {**expected, "kseg": record.origin()}:
            problems.append(f"{image.key}: what is said with its labels is not what is said of the image and its model")
    of_sums = None if record.sums is None or model is None else model.space.inertia(record.sums, model.points)
    if record.attributes() != image.attributes or of_sums not in (None, record.inertia):
        problems.append(f"{image.key}: its attributes do not agree with each other")
    return problems


def _missing_tiles(image: StoredImage, lost: int) -> list[str]:
    """Names the tiles of labels that have no file, where more pixels are invalid than were when they were written."""
    if lost <= 0:
        return []
    labels = image.labels
    names = missing_chunks(os.path.join(image.path, LABELS, "0"), labels.shape, labels.chunks)
    more = "" if len(names) <= TILES_NAMED else f" and {len(names) - TILES_NAMED} more"
    named = f"tiles {', '.join(names[:TILES_NAMED])}{more}"
    return [f"{image.key}: no file for {named} of its labels: {lost} pixels are lost"] if names else []


def _wrong_levels(image: StoredImage, invalid: int) -> list[str]:
    """Are all levels there, and each what it must be, made from the one above it?"""
    of_labels: Callable[[NDArray[Any]], NDArray[Any]] = partial(mode_of_blocks, invalid=invalid)
    told = image.level_count
    pyramids = [("labels", image.levels, of_labels)]
    if image.image is not None:
        pyramids.append(("copy", image.image_levels, mean_of_blocks))
    problems = []
    for what, levels, made in pyramids:
        if len(levels) != told:
            problems.append(f"{image.key}: level {min(told, len(levels))} of its {what} is missing")
        for level in range(1, min(told, len(levels))):
            wrong = _wrong_pixels(levels[level - 1], levels[level], level, made)
            if wrong:
                problems.append(
                    f"{image.key}: {wrong} pixels of level {level} of its {what} are not of the level above"
                )
    return problems


def _wrong_pixels(
    finer: zarr.Array[Any], array: zarr.Array[Any], level: int, made: Callable[[NDArray[Any]], NDArray[Any]]
) -> int:
    """How many pixels of a level are not what they are made of."""
    height, width = finer.shape[-2:]
    if array.shape != (*finer.shape[:-2], *level_shape((height, width), 1)) or array.dtype != finer.dtype:
        raise StoreError(f"level {level} is {array.dtype} {array.shape}, made from {finer.dtype} {finer.shape}")
    wrong = 0
    for rows, columns in tile_windows(*level_shape((height, width), 1), VERIFY_PX // 2):
        down, across = source_window((height, width), 1, rows, columns)
        for plane in np.ndindex(array.shape[:-2]):  # of a copy: one a band
            expected = made(np.asarray(finer[(*plane, down, across)]))
            wrong += _differing(expected, np.asarray(array[(*plane, rows, columns)]))
    return wrong


def _differing(a: NDArray[Any], b: NDArray[Any]) -> int:
    """How many values are not the same; NaN is the same as NaN."""
    return int(np.count_nonzero((a != b) & ((a == a) | (b == b))))


def _compare_with_source(
    image: StoredImage, originals: Originals | None, model: Model | None
) -> tuple[str | None, int, int, int]:
    """Why the source could not be compared with, if so; and how many labels, confidences and copied samples differ."""
    if model is None:
        return "an image without a valid pixel", 0, 0, 0
    if originals is None:
        return NOT_READ, 0, 0, 0
    wrong = unsure = other = 0
    confidence, copy = image.confidence, image.image
    try:
        source = originals.open(image)
        bands = None if model.bands is None else model.bands.bands
        for piece in source.pieces(image.labels.chunks[0]):
            pixels = piece.read_for(bands)
            anew = model.label(pixels.samples, pixels.valid, confidence=confidence is not None)
            wrong += int((anew.labels != np.asarray(image.labels[piece.rows, piece.columns])).sum())
            if confidence is not None and anew.confidence is not None:
                unsure += int((anew.confidence != np.asarray(confidence[piece.rows, piece.columns])).sum())
            for band in range(0 if copy is None else pixels.samples.shape[2]):
                kept = np.asarray(copy[band, piece.rows, piece.columns])  # type: ignore[index]
                other += _differing(pixels.samples[..., band], kept)
    except UnreadableImage as error:
        return error.reason, 0, 0, 0
    except OSError as error:
        return f"its source cannot be read ({error.strerror or error})", 0, 0, 0
    return None, wrong, unsure, other
