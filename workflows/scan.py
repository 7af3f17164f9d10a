"""The scan of a job's inputs, headers only: which of them can be read, of which kind they are, and what they come to.

Images that are clustered together are of one kind; those of others are left out, each named with what labels it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from kseg_core.config import AUTO, EDGES_OF_BANDS
from kseg_core.errors import NothingReadable, OtherKind, TooLarge, Unsuited, UsageError
from kseg_core.images.kinds import PICTURE, Kind, kind_of, kind_of_bands, most_frequent
from kseg_core.layers import asked_layers
from kseg_core.reading.sources import ImageSource
from kseg_core.store.model import Model

from .computing.context import Context, Failure
from .earlier import smoothed_otherwise
from .labelling.label import bands_of
from .output import Output
from .planning.budget import Budget, Work, make_budget
from .planning.notes import notes_of, notes_of_all, say
from .planning.plan import Plan, make_plan, nodata_of_no_use, notes_of_stacks, remarked, scan_headers
from .request import Chosen, Request
from .result import errors_of

FAILURES_SHOWN = 3  # in the one line of an error


class Scan(NamedTuple):
    """What the headers of a job's inputs come to.

    Attributes
    ----------
    request
        The job, with the features that suit them, less the files of other kinds where one was asked for.
    plan, failures
        The images that can be read, and those that cannot, or not together with these.
    budget
        The memory's, where it was asked for and there is something to do.
    """

    request: Request
    plan: Plan
    failures: list[Failure]
    budget: Budget | None = None


def survey(request: Request, context: Context, model: Model | None = None) -> Scan:
    """The plan for the readable images of one kind, and the other files. ``model``: of this job, where it has one.

    Raises
    ------
    KsegError
        If not one is readable.
    UnreadableImage
        If one is not, or is of another kind, with ``--strict``.
    """
    failures = [context.failed("", error) for error in request.listing.failures]
    sources, unreadable = scan_headers(request.listing.files, request.config.input, context, request.config.output)
    failures += unreadable
    if not sources:
        raise nothing_readable(failures)
    alike = of_one_kind(request, sources, model)
    if context.strict and alike.failures:
        raise alike.failures[0].error
    request = alike.request.without(alike.passed_over)
    fit = request.config.fit
    bands = bands_of(model) if fit is None else fit.chosen if fit.features == "bands" else None
    images = remarked(alike.sources, bands, asked_for=fit is not None)
    of_all = (*request.listing.remarks, *notes_of_stacks(images), *nodata_of_no_use(images, request.config.input))
    if request.config.model is not None and model is not None:
        of_all += smoothed_otherwise(model.smooth, request.config.input.smooth)
    say((*notes_of_all(of_all), *notes_of(images)))
    plan = make_plan(images, request.config.output.tile, context.executor.workers)
    return Scan(request, replace(plan, notes=of_all), [*failures, *alike.failures])


def scan_rest(request: Request, output: Output, context: Context, *, writes: bool = True) -> Scan:
    """The scan of what is not done, within the memory there is."""
    rest = output.done.rest
    if not rest:
        return Scan(request, Plan(()), [context.failed("", error) for error in request.listing.failures])
    try:
        found = survey(replace(request, listing=replace(request.listing, files=rest)), context, output.model)
        left = {file.key for file in found.request.listing.files}
        request = replace(found.request, listing=request.listing).without({file.key for file in rest} - left)
        plan = replace(found.plan, checkpoints=output.checkpoints)
        return fit_to_memory(Scan(request, plan, found.failures), context, output.model, writes=writes)
    except NothingReadable as error:
        if not output.done.keys:
            raise
        return Scan(request, Plan(()), [Failure("", failure) for failure in error.failures])


def work_of(request: Request, plan: Plan, model: Model | None, *, writes: bool = True) -> Work:
    """What is to be done to each pixel."""
    output = request.config.output if writes else None
    layers = () if output is None else asked_layers(output)
    how = request.config.fit or model
    assert how is not None  # RunConfig has either
    return Work.of(how, output, layers, max((source.info.bands for source in plan.sources), default=1))


def fit_to_memory(scan: Scan, context: Context, model: Model | None = None, *, writes: bool = True) -> Scan:
    """The scan less the images that memory is too small for, with the memory's budget."""
    work = work_of(scan.request, scan.plan, model, writes=writes)
    budget, plan, unfit = make_budget(scan.plan, work, context.executor)
    failures = scan.failures + [context.failed(failure.key, failure.error) for failure in unfit]
    if not plan.sources:
        raise nothing_readable(failures)
    return Scan(scan.request, plan, failures, budget)


def nothing_readable(failures: Sequence[Failure]) -> NothingReadable:
    """The error of a job that has nothing to work on."""
    errors = errors_of(failures)
    what = "the only input" if len(errors) == 1 else f"all {len(errors)} inputs"
    shown = "; ".join(str(error) for error in errors[:FAILURES_SHOWN])
    more = f"; … and {len(errors) - FAILURES_SHOWN} more (--json lists all)" if len(errors) > FAILURES_SHOWN else ""
    large = sum(isinstance(error, TooLarge) for error in errors)
    odd = sum(isinstance(error, OtherKind) for error in errors)
    options = sorted({error.option for error in errors if isinstance(error, Unsuited)})
    unsuited = sum(isinstance(error, Unsuited) for error in errors)
    ways = [*(["in the memory there is"] if large else []), *(f"with {option}" for option in options)]
    why = ", or not ".join(["could not be read", *ways])
    if large == len(errors):
        why = "does not fit into the memory" if large == 1 else "do not fit into the memory"
    if odd == len(errors):
        why = "is of another kind" if odd == 1 else "are of other kinds"
    if unsuited == len(errors):
        why = f"can be read, but not with {' and '.join(options)}"
    return NothingReadable(f"{what} {why}: {shown}{more}", errors)


# ------------------------------------------------------------------------------------------------------ of one kind


class OneKind(NamedTuple):
    """A job whose images are of one kind.

    Attributes
    ----------
    request
        With its features.
    sources
        The images of that kind.
    failures
        Those of others.
    passed_over
        Names of those of others where one kind was asked for.
    """

    request: Request
    sources: Sequence[ImageSource]
    failures: Sequence[Failure] = ()
    passed_over: frozenset[str] = frozenset()


def of_one_kind(request: Request, sources: Sequence[ImageSource], model: Model | None) -> OneKind:
    """Choose features that suit most of the images where they are ``auto``, and tell which images they do not suit.

    Parameters
    ----------
    request
        The job.
    sources
        Its images: all, or those that are left of it.
    model
        The one that they will be labelled with, where an earlier run of the job found it.
    """
    fit = request.config.fit
    if fit is None:
        return OneKind(request, sources)  # the model says what is read of any image
    is_auto = fit.features == AUTO or request.chosen is not None
    if not (is_auto or fit.kind is not None or fit.features == "bands"):
        return OneKind(request, sources)  # every image is brought to 8 bits
    by_itself = is_auto or fit.kind == PICTURE.name
    kinds = [kind_of(s.info) if by_itself else kind_of_bands(s.info, fit.chosen) for s in sources]
    if fit.kind is not None:
        return _asked_for(request, sources, kinds, fit.kind)
    expected = _of_model(model, kinds) or _most(request, sources, kinds)
    odd = [(source, kind) for source, kind in zip(sources, kinds, strict=True) if kind != expected]
    if fit.features == AUTO:
        _require_going_with(request, expected)
        left_out = sum(kind.features != expected.features for _, kind in odd)
        request = request.choosing(expected.features, Chosen(expected.why, left_out))
    failures = [_failure(source, kind, expected, len(sources) - len(odd), len(sources)) for source, kind in odd]
    bad = {failure.key for failure in failures}
    return OneKind(request, [source for source in sources if source.file.key not in bad], failures)


def _most(request: Request, sources: Sequence[ImageSource], kinds: Sequence[Kind]) -> Kind:
    """The kind of most images, of those whose features are settled."""
    pairs = sorted(zip(sources, kinds, strict=True), key=lambda pair: pair[0].file.key)
    assert request.config.fit is not None
    features = request.config.fit.features
    suited = [kind for _, kind in pairs if request.chosen is None or kind.features == features]
    return most_frequent(suited or [kind for _, kind in pairs])


def _of_model(model: Model | None, kinds: Sequence[Kind]) -> Kind | None:
    """The kind of the images that a model was found on."""
    if model is None:
        return None
    if model.bands is None:
        return PICTURE
    one = next((kind for kind in kinds if kind.dtype), PICTURE)  # which says whether their number counts
    return Kind(model.bands.stored_dtype, len(model.bands.bands) if one.bands else 0)


def _asked_for(request: Request, sources: Sequence[ImageSource], kinds: Sequence[Kind], name: str) -> OneKind:
    """The images of the kind asked for; the others are none of this job's business."""
    others = frozenset(s.file.key for s, kind in zip(sources, kinds, strict=True) if kind.name != name)
    if len(others) == len(sources):
        there = ", ".join(f"{kind.name} ({count})" for kind, count in Counter(kinds).most_common())
        raise UsageError(f"no image is of --kind {name}; there are {there}")
    return OneKind(request, [source for source in sources if source.file.key not in others], (), others)


def _failure(source: ImageSource, kind: Kind, expected: Kind, alike: int, total: int) -> Failure:
    most = f"as {alike} of {total} images are" if total > alike else "as the others are"
    reason = f"{kind.text}, not {expected.text} {most}: left out; --kind {kind.name} labels it"
    return Failure(source.file.key, OtherKind(source.file.source, reason, kind.name))


def _require_going_with(request: Request, kind: Kind) -> None:
    """Refuse what is of colours alone where most images are of bands, and say what to do."""
    fit, output = request.config.fit, request.config.output
    assert fit is not None
    if kind.features != "bands":
        return
    found = f"most images are of bands ({kind.text})"
    if fit.scope == "image":
        raise UsageError(
            f"{found}, which get one model for all: leave out --scope image, or give --features rgb to bring them to "
            "8-bit colours"
        )
    if output.edges is not None:
        raise UsageError(f"{found}; {EDGES_OF_BANDS}; or give --features rgb to bring them to 8-bit colours")
