"""Earlier models that a job works with: which they are and what they are of, from their documents alone."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from kseg_core import storage
from kseg_core.config import AUTO, FitSettings, RunConfig
from kseg_core.errors import StoreError, UsageError
from kseg_core.store.manifest import read_attributes

STACK = "stack"  # in what a model says of itself: the names of the bands


def model_identity(path: str) -> tuple[str, str]:
    """Digest and features of a model at a path, from its metadata alone."""
    attributes = read_attributes(path)
    if attributes is not None and attributes.get("kind") == "store":
        fit = (attributes.get("config") or {}).get("fit") or {}
        if fit.get("scope") == "image":
            raise StoreError(f"{path}: each image has a model of its own (--scope image); there is none for all")
        attributes = read_attributes(os.path.join(path, "model"))
    if attributes is None or not isinstance(attributes.get("digest"), str):
        what = "no kseg model or store there" if storage.exists(path) else "no such model or store"
        raise UsageError(f"{path}: {what}")
    return str(attributes["digest"]), str(attributes.get("features"))


def model_facts(path: str) -> dict[str, Any]:
    """What a model, or that of a whole store, says of itself."""
    inside = os.path.join(path, "model")
    return read_attributes(inside if storage.is_dir(inside) else path) or {}


def require_same_features(earlier: str, ours: str) -> None:
    """Clusters can be matched with those of an earlier model of the same feature space only."""
    if earlier != ours:
        raise UsageError(f"--match has {earlier} centroids, this fit {ours} ones; add --features {earlier}")


def in_space_of_match(config: RunConfig) -> RunConfig:
    """The configuration with the features of the model to match where they are ``auto``, and its bands."""
    if config.fit is None or config.match is None or config.fit.features != AUTO:
        return config
    _, features = model_identity(config.match)
    facts = model_facts(config.match)
    bands, derive = tuple(facts.get("bands") or ()), tuple(facts.get("derive") or ())
    every = bands == tuple(range(1, len(bands) + 1))
    display = tuple(facts.get("display") or ())
    fit = replace(config.fit, features=features, bands=() if every else bands, derive=derive, display=display)  # type: ignore[arg-type]  # checked there
    return replace(config, fit=fit)


def smoothing_as_model(config: RunConfig) -> RunConfig:
    """The configuration that smooths pixels as those of its model were, where nothing else is asked for.

    Its model is the one that labels, or the one that a fit goes on from.
    """
    path = config.match if config.refit else config.model
    if path is None or config.input.smooth is not None:
        return config
    smooth = model_facts(path).get("smooth")
    return config if smooth is None else replace(config, input=replace(config.input, smooth=smooth))


def bands_of_model(config: RunConfig) -> tuple[str, ...]:
    """What the bands are called of the stacks that an earlier model is of, which labels or is matched: others
    would be numbered otherwise. None where there is no such.
    """
    path = config.model or config.match
    return tuple(map(str, (model_facts(path) if path else {}).get(STACK) or ()))


def smoothed_otherwise(smooth: int | str | None, asked: int | str | None) -> tuple[str, ...]:
    """A line where a model is of pixels that were smoothed in one way, and labels such as are smoothed in another."""
    if (smooth or 0) == (asked or 0):
        return ()
    was = f"--smooth {smooth}" if smooth else "pixels that were not smoothed"
    now = f"smoothed by --smooth {asked}" if asked else "not smoothed"
    return (f"the model was found with {was}, these pixels are {now}: leave out --smooth to have them alike",)


def refit_settings(model: str, **options: Any) -> FitSettings:
    """The settings of a fit that starts from a model's centroids: its features, bands and number of clusters."""
    model_identity(model)
    facts = model_facts(model)
    options = {"display": tuple(facts.get("display") or ())} | options
    try:
        bands = tuple(facts["bands"] or ())
        normalize = str(facts.get("normalize", "none"))
        return FitSettings(
            int(facts["k"]),
            facts["features"],
            attempts=1,
            bands=bands,
            derive=tuple(facts.get("derive") or ()),
            normalize=normalize,  # type: ignore[arg-type]  # checked there
            **options,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{model}: a damaged model ({error})") from error
