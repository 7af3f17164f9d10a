"""Images that are clustered together are of one kind; those of others are left out, each named with what labels it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from kseg_core.config import AUTO, EDGES_OF_BANDS
from kseg_core.errors import OtherKind, UsageError
from kseg_core.images.kinds import PICTURE, Kind, kind_of, kind_of_bands, most_frequent
from kseg_core.reading.sources import ImageSource
from kseg_core.store.model import Model

from ..computing.context import Failure
from ..request import Chosen, Request


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

    Raises
    ------
    UsageError
        If other settings do not go with the features, or no image is of the kind asked for.
    """
    fit = request.config.fit
    if fit is None:
        return OneKind(request, sources)  # the model says what is read of any image
    is_auto = fit.features == AUTO or request.chosen is not None
    if not (is_auto or fit.kind is not None or fit.features == "bands"):
        return OneKind(request, sources)  # every image is brought to 8 bits
    by_itself = is_auto or fit.kind == PICTURE.name
    kinds = [kind_of(s.info) if by_itself else kind_of_bands(s.info, fit.bands) for s in sources]
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
    return Kind(model.bands.dtype, len(model.bands.bands) if one.bands else 0)


def _asked_for(request: Request, sources: Sequence[ImageSource], kinds: Sequence[Kind], name: str) -> OneKind:
    """The images of the kind asked for; the others are none of this job's business.

    Raises
    ------
    UsageError
        If there is none.
    """
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
