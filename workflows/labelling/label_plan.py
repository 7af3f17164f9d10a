"""Labelling a whole plan: bundles of whole images, then large images piece by piece."""

from __future__ import annotations

from functools import partial

from kseg_core import storage
from kseg_core.config import FitSettings, OutputSettings
from kseg_core.errors import KsegError, NoValidPixels, TooManyColors
from kseg_core.store.model import Model

from ..computing.context import Context
from ..computing.executor import SAME_COMMAND
from ..fitting.fit import fit_plan
from ..planning.budget import Budget, image_of_too_many_colors
from ..planning.plan import Plan
from .label import Labelled, label_whole, own_model
from .label_large import label_large, leave_large_blank


def label_plan(
    plan: Plan,
    model: Model | FitSettings,
    store: str,
    output: OutputSettings,
    context: Context,
    *,
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
    context.progress.stage("labelling", len(plan.sources), plan.pixels)
    how = context.share(model if isinstance(model, Model) else partial(own_model, model, budget))
    done = Labelled()
    try:
        for made in context.map(label_whole, plan.bundles, how, store, output, given, name="label"):
            done = done.merge(Labelled.of(made))
        if isinstance(model, Model):
            return done.merge(label_large(plan.large, model, store, output, context, given=given))
        for pieces in plan.large:
            done = done.merge(
                label_alone(Plan((), (pieces,), plan.checkpoints), model, store, output, context, budget=budget)
            )
    except OSError as error:
        what = f"{store}: the output cannot be written ({error.strerror or error})"
        raise KsegError(f"{what}; {SAME_COMMAND}") from error
    return done


def label_alone(
    plan: Plan,
    settings: FitSettings,
    store: str,
    output: OutputSettings,
    context: Context,
    *,
    budget: Budget | None = None,
) -> Labelled:
    """Label one large image, all that is in the plan, with a model of its own."""
    (pieces,) = plan.large
    room = None if budget is None else budget.for_one_table()
    try:
        model, failures = fit_plan(plan, settings, context.silent(), budget=room)
    except NoValidPixels:
        return leave_large_blank(pieces, store, output, context)
    except TooManyColors:
        assert room is not None  # without one there is no limit
        source = pieces[0].source
        return Labelled(failures=(context.failed(source.file.key, image_of_too_many_colors(source, room)),))
    if model is None:
        return Labelled(failures=tuple(failures))
    return label_large([pieces], model, store, output, context, own_model=True)
