"""What a report tells, as plain values: made from what the store says and what was seen of its images."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.errors import KsegError, StoreError
from kseg_core.inputs.passed_over import SWEEP_RECORD
from kseg_core.sizes import counted, only_so_many
from kseg_core.store.markers import is_complete
from kseg_core.store.model import Model

from ..store.legend import Legend
from .facts import ImageFacts, Ranked
from .samples import PixelSample
from .segment_tables import SegmentTables, stored_segments
from .views import Pictures

Color = tuple[int, int, int]
Pairs = tuple[tuple[str, str], ...]

MASK_IMAGES = 4


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster over all images."""

    color: Color  # what it is painted with
    # How many, and what part of the valid ones
    pixels: int
    share: float
    images: int  # how many images have any
    area: float | None  # square metres, over the images whose pixels have a known size; None without one
    # Root of the mean squared distance of pixels to their centroid, in feature units; None where no pixel of it was
    # sampled
    spread: float | None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One named class, or a cluster without a name, over all images."""

    name: str
    color: Color
    clusters: tuple[int, ...]
    # How many, and what part of the valid ones
    pixels: int
    share: float
    area: float | None  # as `ClusterRow` has it


@dataclass(frozen=True, slots=True)
class Card:
    """An image with its pictures."""

    ranked: Ranked
    pictures: Pictures


@dataclass(frozen=True, slots=True)
class Painted:
    """One picture, named, painted with several k: (k, PNG), by rising k; and its original as WebP, if there is one."""

    name: str
    original: bytes | None
    pictures: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Cloud:
    """Pixels as points."""

    points: NDArray[np.uint8]  # uint8 (n, 3)
    labels: NDArray[np.int64]  # int64 (n,): rows of ``colors``
    colors: NDArray[np.uint8]  # uint8 (m, 3)
    axes: tuple[str, str, str]  # their names
    numbered: bool  # whether rows of ``colors`` are the clusters of the model that all images share


@dataclass(frozen=True, slots=True)
class Report:
    """All of a report."""

    # The store's name, and what was done in one line
    name: str
    lead: str
    # (what, value) for the head of the page, and for its foot
    facts: Pairs
    about: Pairs
    warnings: tuple[str, ...]  # one line each
    failures: Pairs  # (source, reason) of inputs that could not be read
    clusters: tuple[ClusterRow, ...]  # those all images share; empty where each has its own
    images: tuple[Ranked, ...]  # all, the farthest from the average first
    cards: tuple[Card, ...]  # those with pictures, in the same order
    fit: Mapping[str, Any] = field(default_factory=dict)  # how the model that all images share was found
    sweep: Mapping[str, Any] | None = None  # the record of a sweep, as `require_record` takes it; None: there was none
    score: Mapping[str, Any] | None = None  # the record of a score, as `scoring.files.read_score` gives it
    painted: Painted | None = None
    cloud: Cloud | None = None
    sampled: int = 0  # pixels that the spread was worked out from
    segments: SegmentTables | None = None  # None where there are none
    classes: tuple[ClassRow, ...] = ()  # empty where no cluster has a name
    is_labelled: bool = True  # else it is of a store of segments alone


# ------------------------------------------------------------------------------------------ of the store and the model


def head(
    attributes: Mapping[str, Any], images: Sequence[ImageFacts], model: Model | None, folder: str
) -> tuple[str, Pairs, Pairs]:
    """What was done in one line, as facts for the head of the page, and for its foot.

    Of the store's attributes, all of its images, the model that they share, if they do, and the ``folder`` that all of
    them come from (empty where they come from several places).
    """
    config = attributes.get("config") or {}
    fit = config.get("fit") or {}
    features = model.features if model is not None else str(fit.get("features", "rgb"))
    valid = sum(image.valid for image in images)
    total = valid + sum(image.invalid for image in images)
    mse = math.fsum(image.inertia for image in images) / valid if valid else None
    clusters = "a palette for each image"
    if model is not None:
        clusters = "1 cluster" if model.k == 1 else f"{model.k:,} clusters"
    facts = [("Images", f"{len(images):,}"), ("Pixels", f"{total:,}")]
    facts += [("Invalid pixels", f"{total - valid:,}")] if total > valid else []
    facts += [("k", f"{model.k:,}" if model is not None else f"{fit.get('k', '–')} in each"), ("Features", features)]
    facts += [("Mean sq. error", "–" if mse is None else f"{mse:,.4g}")]
    known = model.facts if model is not None else fit
    if model is not None and model.k_why:
        facts.append(("Why this k", model.k_why))
    facts += [(name.capitalize(), f"{known[name]}") for name in ("attempts", "seed") if known.get(name) is not None]
    facts += stored_segments(images)
    about = _about(attributes, folder)
    if model is not None:
        about.append(("Model", f"digest {model.digest}"))
        if model.bands is not None:
            about.append(("Bands", ", ".join(map(str, model.bands.bands))))
    lead = f"{_images(images)}, {_pixels(total)}, {clusters}, {features}"
    return lead, tuple(facts), tuple(about)


def head_of_segments(
    attributes: Mapping[str, Any], images: Sequence[ImageFacts], folder: str
) -> tuple[str, Pairs, Pairs]:
    """The same of a store of segments alone."""
    valid = sum(image.valid for image in images)
    total = valid + sum(image.invalid for image in images)
    facts = [("Images", f"{len(images):,}"), ("Pixels", f"{total:,}")]
    facts += [("Invalid pixels", f"{total - valid:,}")] if total > valid else []
    count = sum(image.segments.count for image in images if image.segments is not None)
    lead = f"{_images(images)}, {_pixels(total)}, {counted(count, 'segment')}"
    return lead, (*facts, *stored_segments(images)), tuple(_about(attributes, folder))


def _about(attributes: Mapping[str, Any], folder: str) -> list[tuple[str, str]]:
    """What is said of the store at the page's foot."""
    software = ", ".join(f"{name} {version}" for name, version in sorted((attributes.get("software") or {}).items()))
    about = [("Images from", folder)] if folder else []
    about += [("Store", f"format {attributes.get('format')}, begun {attributes.get('created', 'at an unknown time')}")]
    return about + ([("Made with", software)] if software else [])


def _images(images: Sequence[ImageFacts]) -> str:
    return "1 image" if len(images) == 1 else f"{len(images):,} images"


def _pixels(count: int) -> str:
    for size, name in ((10**9, "gigapixels"), (10**6, "megapixels")):
        if count >= size:
            return f"{count / size:.1f} {name}"
    return f"{count:,} pixels" if count != 1 else "1 pixel"


def notes(attributes: Mapping[str, Any], model: Model | None, cards: Sequence[Card], damaged: int) -> tuple[str, ...]:
    """What a reader must know."""
    lines = []
    if not is_complete(attributes):
        lines.append("The run that made this store has not finished; only what it has done is told here.")
    if model is not None and (few := only_so_many(model.k, model.k_requested)):
        lines.append(f"{few[0].upper()}{few[1:]}.")
    if damaged:
        lines.append(f"{damaged} of the store's images cannot be read; they are missing here.")
    lost = [image.pictures.lost for image in cards if image.pictures.original is None and image.pictures.lost]
    if lost:
        whose = "The original of one picture" if len(lost) == 1 else f"The originals of {len(lost):,} pictures"
        lines.append(f"{whose} cannot be shown, only the segmentation ({'; '.join(sorted(set(lost))[:3])}).")
    return tuple(lines)


def cluster_rows(
    images: Sequence[ImageFacts], colors: Sequence[Color], sample: PixelSample | None
) -> tuple[ClusterRow, ...]:
    """The clusters that all images share, over all images."""
    total = sum(image.valid for image in images) or 1
    rows = []
    for j, color in enumerate(colors):
        counts = [image.counts[j] for image in images]
        areas = [image.counts[j] * image.pixel_area for image in images if image.pixel_area is not None]
        spread = None
        if sample is not None and sample.counts[j]:
            spread = math.sqrt(float(sample.squares[j]) / int(sample.counts[j]))
        pixels, of_images = sum(counts), sum(count > 0 for count in counts)
        rows.append(ClusterRow(color, pixels, pixels / total, of_images, math.fsum(areas) if areas else None, spread))
    return tuple(rows)


def class_rows(legend: Legend, clusters: Sequence[ClusterRow]) -> tuple[ClassRow, ...]:
    """The classes that clusters are of, from the rows of these; none where clusters have no names."""
    if legend.what == "cluster":
        return ()
    rows = []
    for name, color, group in zip(legend.names, legend.colors.tolist(), legend.clusters, strict=True):
        of = [clusters[cluster] for cluster in group]
        areas = [row.area for row in of if row.area is not None]
        red, green, blue = color
        pixels = sum(row.pixels for row in of)
        total = sum(row.pixels for row in clusters) or 1
        area = math.fsum(areas) if areas else None
        rows.append(ClassRow(name, (red, green, blue), group, pixels, pixels / total, area))
    return tuple(rows)


def cloud_of(cards: Sequence[Card], model: Model | None) -> Cloud | None:
    """The sampled pixels of all images as points; None without one.

    Parameters
    ----------
    model
        That all images share; with None each point has the colour of its own image's cluster.
    """
    seen = [(image.ranked.facts, image.pictures.sample) for image in cards if image.pictures.sample is not None]
    points = [sample.colors for _, sample in seen]
    if not sum(map(len, points)):
        return None
    if model is not None:
        labels, colors = [sample.labels for _, sample in seen], model.colors
    else:
        starts = np.cumsum([0, *(len(facts.colors) for facts, _ in seen)])
        labels = [sample.labels + start for (_, sample), start in zip(seen, starts, strict=False)]
        colors = np.concatenate([np.array(facts.colors, np.uint8).reshape(-1, 3) for facts, _ in seen])
    axes = ("red", "green", "blue")
    if model is not None and model.bands is not None:
        bands = tuple(model.band_names[at] for at in model.bands.shown)
        first, second, third = bands if len(bands) == 3 else bands * 3
        axes = (first, second, third)
    return Cloud(np.concatenate(points), np.concatenate(labels), colors, axes, model is not None)


def history_of(facts: Mapping[str, Any]) -> tuple[list[list[float]], list[list[float]]] | None:
    """Inertia before every step of each attempt, on the first batch and on all data; None where a model has none."""
    attempts = facts.get("history")
    if not isinstance(attempts, list) or not attempts:
        return None
    batch = [[float(v) for v in attempt.get("batch") or ()] for attempt in attempts]
    steps = [[float(v) for v in attempt.get("steps") or ()] for attempt in attempts]
    return (batch, steps) if any(batch) or any(steps) else None


# -------------------------------------------------------------------------------------------------------- of a sweep


def read_sweep(folder: str) -> dict[str, Any]:
    """The record that the ``sweep`` command wrote to a folder (`kseg_core.sweep.files`).

    Raises
    ------
    KsegError
        If there is nothing that can be read.
    """
    path = os.path.join(folder, SWEEP_RECORD)
    try:
        record = json.loads(storage.read(path))
    except OSError as error:
        raise KsegError(
            f"{path}: cannot be read ({error.strerror or error}); make it with: kseg-batch sweep"
        ) from error
    except ValueError as error:
        raise KsegError(f"{path}: not what the sweep command writes ({error})") from error
    if not (isinstance(record, dict) and {"k", "knee", "sweep", "each"} <= record.keys()):
        raise KsegError(f"{path}: not what the sweep command writes")
    try:
        return require_record(record)
    except ValueError as error:
        raise KsegError(f"{path}: {error}") from error


def require_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a sweep, its rows by rising k (None where each image was swept alone).

    Raises
    ------
    ValueError
        If its rows are not those of a sweep.
    """
    optional = ("mse", "silhouette", "calinski_harabasz")
    try:
        rows = [
            {
                **row,
                "k": int(row["k"]),
                "k_found": row["k_found"],
                "inertia": float(row["inertia"]),
                **{name: None if row.get(name) is None else float(row[name]) for name in optional},
            }
            for row in record["sweep"] or ()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a sweep's record ({error!r})") from error
    return {**record, "sweep": sorted(rows, key=lambda row: int(row["k"])) or None}


def sweep_in(facts: Mapping[str, Any], k: int) -> dict[str, Any] | None:
    """The record of the sweep that chose a model's ``k`` clusters (``--k auto``); None where there was none."""
    rows = facts.get("sweep")
    if not isinstance(rows, list) or not rows:
        return None
    return require_record({"k": k, "knee": facts.get("knee"), "why": facts.get("k_why"), "sweep": rows, "each": None})


def models_of(record: Mapping[str, Any], store: Model | None) -> dict[int, Model]:
    """The model of every k that a sweep has centroids of; of bands, in the feature space of the store's model."""
    features = str(record.get("features") or (store.features if store is not None else "rgb"))
    bands = None if store is None else store.bands
    if (features == "bands") != (bands is not None):
        return {}  # the pixels that are read are not those that it is of
    models: dict[int, Model] = {}
    for row in record["sweep"] or []:
        try:
            centroids = np.asarray(row["centroids"], np.float64)
            colors = np.asarray(row["colors"], np.uint8)
            counts = np.zeros(len(centroids), np.int64)
            models[int(row["k"])] = Model(features, centroids, colors, counts, float(row["inertia"]), {}, bands)
        except (KeyError, TypeError, ValueError, StoreError):
            continue  # a row without centroids of this space cannot be painted; its numbers are shown all the same
    return models


def ks_to_paint(ks: Sequence[int], most: int = 4) -> list[int]:
    """Which k one picture is painted with: 3, 5, 7 where they are there, else some from the least to the greatest."""
    usual = [k for k in (3, 5, 7) if k in ks]
    if len(usual) == 3:
        return usual
    rising = sorted(set(ks) - {1}) or sorted(set(ks))
    if len(rising) <= most:
        return rising
    return [rising[i * (len(rising) - 1) // (most - 1)] for i in range(most)]
