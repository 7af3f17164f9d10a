"""What is in a store, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kseg_core.errors import StoreError
from kseg_core.expressions import Derived
from kseg_core.layers import LAYERS
from kseg_core.store.cuts import count_of_segments, level_of
from kseg_core.store.legend import Legend
from kseg_core.store.manifest import read_attributes
from kseg_core.store.markers import is_complete
from kseg_core.store.model import Model
from kseg_core.store.opening import StoredImage, open_store
from kseg_core.store.originals import Originals

from .classes import rows_of


def describe(path: str) -> dict[str, Any]:
    """A store or model: format, status, model, images with their array paths, and ``failures``: the images that cannot
    be read, each with its reason.

    Raises
    ------
    StoreError
        If there is none, or what it says of itself or its model are damaged.
    """
    attributes = read_attributes(path)
    if attributes is None:
        raise StoreError(f"{path}: no kseg store there")
    if attributes.get("kind") == "model":
        model = Model.load(path)
        told = {"format": attributes["format"], "status": "complete", "model": describe_model(model)}
        return {**told, "classes": _classes_of(model, model.counts.tolist()), "images": [], "failures": []}
    store = open_store(path)
    try:
        shared = Model.load(path) if store.has_model else None
    except StoreError:
        if store.complete:
            raise
        shared = None  # its run had not got that far
    images, failures = [], []
    originals = Originals.of(attributes)
    for key in store:
        try:
            image = store[key]
            images.append(describe_image(image) | {"input": originals.state(image) if image.complete else None})
        except StoreError as error:
            failures.append({"key": key, "reason": str(error)})
    described = None if shared is None else describe_model(shared) | _of_the_store(attributes, images)
    return {
        "format": attributes["format"],
        "status": attributes.get("status"),
        "model": described,
        "classes": [] if shared is None or described is None else _classes_of(shared, described["counts"]),
        **_labels_of(attributes.get("config") or {}),
        "images": images,
        "failures": failures,
    }


def _classes_of(model: Model, counts: Sequence[int] | None) -> list[dict[str, Any]]:
    """Each class, and each cluster without a name, with its share; nothing where no cluster has a name."""
    if model.classes is None or counts is None:
        return []
    return rows_of(Legend.of_classes(model), counts)


def _labels_of(config: dict[str, Any]) -> dict[str, Any]:
    """What was asked for where labels are not those of the nearest centroids of pixels as they are; else nothing."""
    return _there(config.get("input") or {}, "smooth") | _there(config.get("output") or {}, "min_region", "keep_raw")


def _there(facts: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names if facts.get(name)}


def _of_the_store(attributes: dict[str, Any], images: list[dict[str, Any]]) -> dict[str, Any]:
    """What a model does not tell of a store's own labels: how many pixels each cluster has where small regions went to
    their neighbours; and of a store that was labelled with a given model also their error.

    The model's own figures are of the pixels that it was found on, each with its nearest centroid.
    """
    config = attributes.get("config") or {}
    names: tuple[str, ...] = ("counts", "inertia", "mse")
    if config.get("model") is None:
        if "min_region" not in _labels_of(config):
            return {}
        names = ("counts",)
    result = attributes.get("result")
    if is_complete(attributes) and isinstance(result, dict):
        return {name: result.get(name) for name in names}  # as its run told, from exact sums
    labelled = [image for image in images if image["counts"]]
    if not labelled:
        return dict.fromkeys(names)
    counts = [sum(column) for column in zip(*(image["counts"] for image in labelled), strict=True)]
    inertia = math.fsum((image["mse"] or 0.0) * sum(image["counts"]) for image in labelled)
    found = {"counts": counts, "inertia": inertia, "mse": inertia / sum(counts) if sum(counts) else None}
    return {name: found[name] for name in names}


def describe_palettes(path: str, most: int) -> tuple[list[dict[str, Any]], int]:
    """The first images of a store in which each has a palette of its own, at most so many of those that can be read,
    and how many there are.
    """
    store = open_store(path)
    found: list[dict[str, Any]] = []
    for key in store:
        if len(found) == most:
            break
        with suppress(StoreError):
            found.append(describe_image(store[key]))
    return found, len(store)


def describe_model(model: Model) -> dict[str, Any]:
    """A model's centroids and how they were found; the inertia of every step stays in the store."""
    return {
        "features": model.features,
        "features_why": model.features_why,
        "normalize": model.normalize,
        "components": list(model.space.components),
        **_bands_of(model),
        "k": model.k,
        "k_requested": model.k_requested,
        "k_why": model.k_why,
        "centroids": model.centroids.tolist(),
        "colors": model.colors.tolist(),
        "counts": model.counts.tolist(),
        "inertia": model.inertia,
        "mse": model.mse,
        "digest": model.digest,
        "seed": model.facts.get("seed"),
        "attempts": model.facts.get("attempts"),
        **_there(model.facts, "smooth", "stack"),
        "notes": list(model.notes),
    }


def _bands_of(model: Model) -> dict[str, list[str]]:
    """What its bands are, where files or expressions say more than a number."""
    if model.bands is None:
        return {}
    said = [str(band) if isinstance(band, Derived) else "" for band in model.bands.bands]
    told = [text or name for text, name in zip(said, model.band_names, strict=True)]
    plain = [f"band {band}" for band in model.bands.bands]
    return {} if told == plain else {"bands": told}


def describe_image(image: StoredImage) -> dict[str, Any]:
    """One image, with its arrays' paths inside the store."""
    facts, model = image.attributes, image.model
    base = f"images/{image.key}"
    return {
        "key": image.key,
        "source": facts.get("source"),
        "shape": facts.get("shape"),
        **{
            layer.name: f"{base}/{layer.path()}" if image.has_layer(layer) else None
            for layer in LAYERS.values()
            if layer.name != "copy"
        },
        **_segments_of(image),
        "counts": facts.get("counts"),
        "colors": None if model is None else model.colors.tolist(),
        "invalid": facts.get("invalid"),
        "mse": facts.get("mse"),
        **_there(facts, "smooth", "min_region"),
        "notes": list(facts.get("notes", ())),
    }


def _segments_of(image: StoredImage) -> dict[str, Any]:
    """How many segments an image has, and at which level they are cut; nothing where it has none."""
    if not image.has_layer(LAYERS["segments"]):
        return {}
    return {"segment_count": count_of_segments(image), "segment_level": level_of(image)}
