"""Labelling a whole plan: bundles of whole images, then large images piece by piece."""

from __future__ import annotations

from functools import partial

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.config import FitSettings, OutputSettings
from kseg_core.errors import KsegError, NoValidPixels, TooManyColors
from kseg_core.store.model import Model

from ..computing.executor import SAME_COMMAND, Executor
from ..computing.faults import one_by_one
from ..computing.progress import Progress, Silent
from ..computing.tasks import task_of, token_of, turn
from ..computing.waves import Watched, compute_in_waves
from ..fitting.fit import fit_plan
from ..planning.budget import Budget, image_of_too_many_colors
from ..planning.plan import Bundle, Failure, Plan, killer, pixels_of
from .label import Labelled, label_bundle, own_model
from .label_large import label_large, leave_large_blank


def label_plan(
    plan: Plan,
    model: Model | FitSettings,
    store: str,
    output: OutputSettings,
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
    budget: Budget | None = None,
    given: bool = False,
) -> Labelled:
    """Label every image with one model, or each with its own.

    Parameters
    ----------
    model
        The model, or how to find one for each image.
    budget
        How many distinct colours there is room for where one is found; images that have more are failures.
    given
        Whether the model was found elsewhere: then values beyond all others are looked for, as a fit does.

    Raises
    ------
    KsegError
        If the output cannot be written.
    """
    store = storage.absolute(store)  # a worker may have another current folder
    progress.stage("labelling", len(plan.sources), plan.pixels)
    how = executor.share(model if isinstance(model, Model) else partial(own_model, model, budget))
    keys = [f"label-{turn(at)}-{token_of(bundle, store)}" for at, bundle in enumerate(plan.bundles)]
    tasks = [
        Watched(
            task_of(label_bundle, bundle, how, store, output, strict, given, key=key),
            partial(progress.advance, len(bundle), pixels_of(bundle)),
            partial(label_one_by_one, bundle, how, store, output, executor, strict=strict, given=given),
        )
        for key, bundle in zip(keys, plan.bundles, strict=True)
    ]
    done = Labelled()
    try:
        for part in compute_in_waves(tasks, executor):
            done = done.merge(part)
        if isinstance(model, Model):
            large = label_large(plan.large, model, store, output, executor, progress, strict=strict, given=given)
            return done.merge(large)
        for pieces in plan.large:
            alone = Plan((), (pieces,), plan.kept)
            part = label_alone(alone, model, store, output, executor, progress, strict=strict, budget=budget)
            done = done.merge(part)
    except OSError as error:
        what = f"{store}: the output cannot be written ({error.strerror or error})"
        raise KsegError(f"{what}; {SAME_COMMAND}") from error
    return done


def label_one_by_one(
    bundle: Bundle, how: Delayed, store: str, output: OutputSettings, executor: Executor, *, strict: bool, given: bool
) -> Labelled:
    """Label the images of a bundle that killed its workers, less those that do so again."""
    task = delayed(label_bundle, pure=False)
    done = Labelled()
    for piece, part, deaths in one_by_one(
        bundle, lambda piece: task((piece,), how, store, output, strict, given), executor
    ):
        done = done.merge(part or Labelled(failures=(killer(piece.source.file, deaths, strict=strict),)))
    return done


def label_alone(
    plan: Plan,
    settings: FitSettings,
    store: str,
    output: OutputSettings,
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
    budget: Budget | None = None,
) -> Labelled:
    """Label one large image, all that is in the plan, with a model of its own."""
    (pieces,) = plan.large
    room = None if budget is None else budget.for_one_table()
    try:
        model, failures = fit_plan(plan, settings, executor, Silent(), strict=strict, budget=room)
    except NoValidPixels:
        return leave_large_blank(pieces, store, output, executor)
    except TooManyColors as error:
        assert room is not None  # without one there is no limit
        refused = image_of_too_many_colors(pieces[0].source, room)
        if strict:
            raise refused from error
        return Labelled(failures=(Failure(pieces[0].source.file.key, refused),))
    if model is None:
        return Labelled(failures=tuple(failures))
    return label_large([pieces], model, store, output, executor, progress, strict=strict, own_model=True)
