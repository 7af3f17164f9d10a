"""From a store's facts and some pictures to the plain values of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kseg_core.sizes import only_so_many
from kseg_core.store.model import Model

from .assembling import Pictures
from .content import Cloud, ClusterRow, ShownImage
from .facts import ImageFacts
from .ranking import Ranked
from .sampling import PixelSample

MASK_IMAGES = 4
MASK_CLUSTERS = 12


def cluster_rows(
    images: Sequence[ImageFacts], colors: Sequence[tuple[int, int, int]], sample: PixelSample | None
) -> tuple[ClusterRow, ...]:
    """The clusters that all images share, over all images."""
    total = sum(image.valid for image in images) or 1
    rows = []
    for j, color in enumerate(colors):
        counts = [image.counts[j] for image in images]
        known = [image.counts[j] * image.pixel_area for image in images if image.pixel_area is not None]
        seen = 0 if sample is None else int(sample.counts[j])
        rows.append(
            ClusterRow(
                color,
                sum(counts),
                sum(counts) / total,
                sum(count > 0 for count in counts),
                math.fsum(known) if known else None,
                math.sqrt(float(sample.squares[j]) / seen) if sample is not None and seen else None,
            )
        )
    return tuple(rows)


def shown_image(image: Ranked, pictures: Pictures) -> ShownImage:
    """An image and its pictures."""
    return ShownImage(image, pictures.segmented, pictures.original, pictures.edges, pictures.lost, masks=pictures.masks)


def cloud_of(images: Sequence[tuple[Ranked, Pictures]], model: Model | None) -> Cloud | None:
    """The sampled pixels of all images as points; None without one.

    Parameters
    ----------
    model
        That all images share; with None each point has the colour of its own image's cluster.
    """
    seen = [(image, pictures.sample) for image, pictures in images if pictures.sample is not None]
    points = [sample.colors for _, sample in seen]
    if not sum(map(len, points)):
        return None
    if model is not None:
        labels, colors = [sample.labels for _, sample in seen], model.colors
    else:
        starts = np.cumsum([0, *(len(image.facts.colors) for image, _ in seen)])
        labels = [sample.labels + start for (_, sample), start in zip(seen, starts, strict=False)]
        colors = np.concatenate([np.array(image.facts.colors, np.uint8).reshape(-1, 3) for image, _ in seen])
    axes = ("red", "green", "blue")
    if model is not None and model.bands is not None:
        shown = model.bands.bands[: len(model.bands.stretch)]
        first, second, third = shown if len(shown) == 3 else shown * 3
        axes = (f"band {first}", f"band {second}", f"band {third}")
    return Cloud(np.concatenate(points), np.concatenate(labels), colors, axes, model is not None)


def history_of(facts: Mapping[str, Any]) -> tuple[list[list[float]], list[list[float]]] | None:
    """Inertia before every step of each attempt, on the first batch and on all data; None where a model has none."""
    attempts = facts.get("history")
    if not isinstance(attempts, list) or not attempts:
        return None
    batch = [[float(v) for v in attempt.get("batch") or ()] for attempt in attempts]
    steps = [[float(v) for v in attempt.get("steps") or ()] for attempt in attempts]
    return (batch, steps) if any(batch) or any(steps) else None


def head(
    attributes: Mapping[str, Any], images: Sequence[ImageFacts], model: Model | None, folder: str
) -> tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """What was done in one line, as facts for the head of the page, and for its foot.

    Parameters
    ----------
    attributes
        The store's own.
    images
        All of its images.
    model
        That they share, if they do.
    folder
        Where all of them come from; empty where they come from several places.
    """
    config = attributes.get("config") or {}
    fit = config.get("fit") or {}
    features = model.features if model is not None else str(fit.get("features", "rgb"))
    valid = sum(image.valid for image in images)
    total = valid + sum(image.invalid for image in images)
    mse = math.fsum(image.inertia for image in images) / valid if valid else None
    count = "1 image" if len(images) == 1 else f"{len(images):,} images"
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
    software = ", ".join(f"{name} {version}" for name, version in sorted((attributes.get("software") or {}).items()))
    about = [("Images from", folder)] if folder else []
    about += [("Store", f"format {attributes.get('format')}, begun {attributes.get('created', 'at an unknown time')}")]
    about += [("Made with", software)] if software else []
    if model is not None:
        about.append(("Model", f"digest {model.digest}"))
        if model.bands is not None:
            about.append(("Bands", ", ".join(map(str, model.bands.bands))))
    lead = f"{count}, {_pixels(total)}, {clusters}, {features}"
    return lead, tuple(facts), tuple(about)


def _pixels(count: int) -> str:
    for size, name in ((10**9, "gigapixels"), (10**6, "megapixels")):
        if count >= size:
            return f"{count / size:.1f} {name}"
    return f"{count:,} pixels" if count != 1 else "1 pixel"


def notes(
    attributes: Mapping[str, Any], model: Model | None, shown: Sequence[ShownImage], damaged: int
) -> tuple[str, ...]:
    """What a reader must know."""
    lines = []
    if attributes.get("status") != "complete":
        lines.append("The run that made this store has not finished; only what it has done is told here.")
    if model is not None and (few := only_so_many(model.k, model.k_requested)):
        lines.append(f"{few[0].upper()}{few[1:]}.")
    if damaged:
        lines.append(f"{damaged} of the store's images cannot be read; they are missing here.")
    lost = [image for image in shown if image.original is None and image.lost]
    if lost:
        whose = "The original of one picture" if len(lost) == 1 else f"The originals of {len(lost):,} pictures"
        reasons = sorted({image.lost for image in lost})
        lines.append(f"{whose} cannot be shown, only the segmentation ({'; '.join(reasons[:3])}).")
    return tuple(lines)
