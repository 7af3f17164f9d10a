"""Labelling a whole plan: bundles of whole images, then large images piece by piece."""

from __future__ import annotations

import os
from functools import partial

from dask.base import tokenize
from dask.delayed import delayed

from kseg_core.config import FitSettings, OutputSettings
from kseg_core.errors import KsegError, NoValidPixels
from kseg_core.model import Model
from kseg_core.sources import Piece

from .executor import Executor
from .fit import fit_plan
from .label import Labelled, label_bundle, own_model
from .label_large import label_large, leave_large_blank
from .plan import Plan, pixels_of
from .progress import Progress, Silent
from .waves import Watched, compute_in_waves


def label_plan(
    plan: Plan,
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
    store = os.path.abspath(store)  # a worker may have another current folder
    progress.stage("labelling", len(plan.sources), plan.pixels)
    how = executor.share(model if isinstance(model, Model) else partial(own_model, model))
    task = delayed(label_bundle, pure=False)
    tasks = [
        Watched(
            task(bundle, how, store, output, strict, dask_key_name=f"label-{tokenize(bundle, store)}"),
            partial(progress.advance, len(bundle), pixels_of(bundle)),
        )
        for bundle in plan.bundles
    ]
    done = Labelled()
    try:
        for part in compute_in_waves(tasks, executor):
            done = done.merge(part)
        if isinstance(model, Model):
            return done.merge(label_large(plan.large, model, store, output, executor, progress, strict=strict))
        for pieces in plan.large:
            done = done.merge(label_alone(pieces, model, store, output, executor, progress, strict=strict))
    except OSError as error:
        raise KsegError(f"{store}: the output cannot be written ({error.strerror or error})") from error
    return done


def label_alone(
    pieces: tuple[Piece, ...],
    settings: FitSettings,
    store: str,
    output: OutputSettings,
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
) -> Labelled:
    """Label one large image with a model of its own."""
    try:
        model, failures = fit_plan(Plan((), (pieces,)), settings, executor, Silent(), strict=strict)
    except NoValidPixels:
        return leave_large_blank(pieces, store, output, executor)
    if model is None:
        return Labelled(failures=tuple(failures))
    return label_large([pieces], model, store, output, executor, progress, strict=strict, own_model=True)
