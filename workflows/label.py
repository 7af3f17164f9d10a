"""Labelling: each bundle's task reads its images, labels them and writes them; no two tasks write one object."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dask.base import tokenize
from dask.delayed import delayed

from kseg_core.config import FitSettings, OutputSettings
from kseg_core.errors import KsegError, UnreadableImage
from kseg_core.features import feature_space
from kseg_core.kmeans import SerialRunner, finish, solve
from kseg_core.labelling import NO_COLORS, no_labels
from kseg_core.model import Model
from kseg_core.sources import ImageSource
from kseg_core.store import ImageRecord, write_image
from kseg_core.summary import BatchRule, Window, summarise
from kseg_core.sums import ClusterSums
from kseg_core.table import FeatureTable

from .executor import Executor
from .plan import Bundle, Failure
from .progress import Progress


@dataclass(frozen=True, slots=True)
class Labelled:
    """What labelling some images came to.

    Parameters
    ----------
    images
        How many were written.
    pixels, valid
        Of those.
    sums
        Over all of them; None where each has its own model, or there are none.
    inertia
        Of each image, by key: floats, added up in the order of keys at the end.
    failures
        Images that could not be read.
    """

    images: int = 0
    pixels: int = 0
    valid: int = 0
    sums: ClusterSums | None = None
    inertia: dict[str, float] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    def merge(self, other: Labelled) -> Labelled:
        sums = other.sums if self.sums is None else self.sums if other.sums is None else self.sums.merge(other.sums)
        return Labelled(
            self.images + other.images,
            self.pixels + other.pixels,
            self.valid + other.valid,
            sums,
            self.inertia | other.inertia,
            self.failures + other.failures,
        )


ModelFor = Callable[[ImageSource, Window], Model | None]  # how each image gets a model of its own


def label_bundle(bundle: Bundle, how: Model | ModelFor, store: str, output: OutputSettings, strict: bool) -> Labelled:
    """A task: label and write a bundle's images, one at a time."""
    done = Labelled()
    for source in bundle:
        try:
            window = source.read()
        except UnreadableImage as error:
            if strict:
                raise
            done = done.merge(Labelled(failures=(Failure(source.file.key, error),)))
            continue
        if isinstance(how, Model):
            part = label_image(source, window, how, store, output, shared=True)
        elif (model := how(source, window)) is not None:
            part = label_image(source, window, model, store, output, shared=False)
        else:
            part = leave_blank(source, store, output)
        done = done.merge(part)
    return done


def label_image(
    source: ImageSource, window: Window, model: Model, store: str, output: OutputSettings, *, shared: bool
) -> Labelled:
    """Label and write one image."""
    labelled = model.label(window.rgb, window.valid)
    sums = labelled.sums
    inertia = sums.inertia(model.points, model.space.grid)
    record = image_record(source, tuple(sums.counts.tolist()), inertia)
    write_image(store, record, labelled.labels, model.colors, output, own_model=None if shared else model)
    return Labelled(1, source.pixels, sums.pixels, sums if shared else None, {record.key: inertia})


def leave_blank(source: ImageSource, store: str, output: OutputSettings) -> Labelled:
    """Write an image without a valid pixel, which has no model of its own."""
    record = image_record(source, (), 0.0)
    write_image(store, record, no_labels(source.shape), NO_COLORS, output)
    return Labelled(1, source.pixels, 0, None, {record.key: 0.0})


def image_record(source: ImageSource, counts: tuple[int, ...], inertia: float) -> ImageRecord:
    """What the store says of an image."""
    return ImageRecord(
        key=source.file.key,
        source=source.file.source,
        size=source.file.size,
        modified=source.file.modified_ns,
        shape=source.shape,
        counts=counts,
        invalid=source.pixels - sum(counts),
        inertia=inertia,
    )


def own_model(settings: FitSettings, source: ImageSource, window: Window) -> Model | None:
    """A model of this image alone (``--scope image``); None where it has no valid pixel."""
    space = feature_space(settings.features)
    rule = BatchRule.for_pixels(source.pixels, settings.batch_pixels, settings.seed)
    summary = summarise([window], rule)
    if summary.everything.codes.size == 0:
        return None
    data = FeatureTable.build(summary.everything, space)
    centroids, history = solve(data, FeatureTable.build(summary.batch, space), settings, SerialRunner())
    return Model.from_solution(finish(data, centroids), settings, history)


def label_bundles(
    bundles: Sequence[Bundle],
    model: Model | FitSettings,
    store: str,
    output: OutputSettings,
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
) -> Labelled:
    """Label every image with one model, or each with its own.

    Parameters
    ----------
    model
        The model, or how to find one for each image.

    Raises
    ------
    KsegError
        If the output cannot be written.
    """
    progress.stage("labelling", sum(map(len, bundles)), sum(s.pixels for b in bundles for s in b))
    how = executor.share(model if isinstance(model, Model) else partial(own_model, model))
    task = delayed(label_bundle, pure=False)
    place = os.path.abspath(store)  # a worker may have another current folder
    lazy = [
        task(bundle, how, place, output, strict, dask_key_name=f"label-{tokenize(bundle, place)}") for bundle in bundles
    ]

    def tell(index: int) -> None:
        progress.advance(len(bundles[index]), sum(source.pixels for source in bundles[index]))

    try:
        parts = executor.compute(lazy, lazy, tell)
    except OSError as error:
        raise KsegError(f"{store}: the output cannot be written ({error.strerror or error})") from error
    done = Labelled()
    for part in parts:
        done = done.merge(part)
    return done
