"""How well a store's labels agree with references: windows are counted on workers, and their tables added up here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, StoreError, UnreadableImage, UsageError
from kseg_core.inputs.keys import printable_source
from kseg_core.layers import LAYERS
from kseg_core.memory import PROCESS_BYTES, VIEW_BYTES
from kseg_core.scoring.counting import COUNTED_BYTES, Tally, Unit, count_unit, cut_anew, units_of
from kseg_core.scoring.files import write_score
from kseg_core.scoring.matching import ReferencePlace
from kseg_core.scoring.pairs import PAIR_BYTES, Sum, TooManyPairs
from kseg_core.scoring.references import Reference, look_at
from kseg_core.scoring.score import Score
from kseg_core.scoring.settings import ScoreSettings, require_place
from kseg_core.store.cuts import Cut
from kseg_core.store.legend import Legend
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage, open_store
from kseg_core.store.originals import Originals

from .computing.context import Context, Failure
from .computing.executor import Progress
from .export_plan import chosen_images
from .viewing.tasks import Work, limit_tasks, on_images

AHEAD = 8  # tasks a worker whose tables are held before they are added up
TOGETHER_PX = 1 << 22  # pixels of small images that are one task
LOOKED_AT = 16  # images whose references are looked at in one task
LEAST_PAIRS = 1 << 20  # that there is always room for


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One score.

    Parameters
    ----------
    store
        The store.
    reference
        A file for all images, or a folder of such.
    settings
        What is scored, and how.
    images
        Keys, sources, or patterns of either; none: all images.
    to
        A folder for the files of the score; None: none are written.
    """

    store: str
    reference: str
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    images: tuple[str, ...] = ()
    to: str | None = None


class Looked(NamedTuple):
    """An image with its references."""

    image: StoredImage
    references: tuple[Reference, ...]


def score(request: ScoreRequest, execution: ExecutionSettings, progress: Progress | None = None) -> dict[str, Any]:
    """Score a store.

    Returns
    -------
    What ``--json`` prints: ``docs/json.md`` says what it is.

    Raises
    ------
    UsageError
        If something is not there that was asked for, or clusters cannot be assigned so.
    KsegError
        If there is no store, nothing of it can be scored, or the files cannot be written.
    """
    store, settings = open_store(request.store), request.settings
    if request.to is not None:
        require_place(request.to, store.path, overwrite=settings.overwrite)
    images, damaged = chosen_images(store, request.images)
    what, legend = _what(store, images, settings)
    failures = [
        Failure(key, UnreadableImage(key, f"{error}; kseg-batch check --repair makes it anew"))
        for key, error in damaged.items()
    ]
    with Context.open(execution, progress) as context:
        most = _most_pairs(context)
        place = _place(request, store, images)
        looked, unread = _look(place, request.settings, store, images, context)
        looked, refused = _those_that_fit(looked, context)
        found, elsewhere = Score(settings, legend), 0
        for each, tallies in _count(looked, settings, most, context):
            if (why := _not_added(found, each, tallies, what, legend)) is None:
                continue
            if isinstance(tallies, Failure) or place.place.is_folder:
                failures.append(why)
            else:  # one file of all images need not be of each
                elsewhere += 1
    failures = sorted([*failures, *unread, *refused], key=lambda failure: failure.key)
    if not found.images:
        raise KsegError(f"nothing of {store.path} could be scored: {_first_of(failures)}")
    result = {
        "status": "partial" if failures else "ok",
        "store": printable_source(request.store),
        "reference": printable_source(request.reference),
        "what": what,
        "level": settings.level,
        "images": {
            "total": len(images) + len(damaged),
            "scored": len(found.images),
            "unjudged": elsewhere,
            "failed": len(failures),
        },
        **found.to_json(),
        "failures": [
            {"image": each.key, "source": each.error.source, "reason": each.error.reason} for each in failures
        ],
    }
    names = [] if request.to is None else write_score(request.to, result)
    output = None if request.to is None else printable_source(request.to)
    return {**result, "output": output, "files": [printable_source(f"{request.to}/{name}") for name in names]}


def _first_of(failures: Sequence[Failure]) -> str:
    more = f" (and {len(failures) - 1} more images)" if len(failures) > 1 else ""
    return f"{failures[0].error}{more}" if failures else "the reference judges no pixel of its images"


def _what(store: Store, images: Sequence[StoredImage], settings: ScoreSettings) -> tuple[str, Legend | None]:
    """What is scored, and what the labels that all images share are called.

    Raises
    ------
    StoreError
        If there is nothing of the kind.
    """
    if settings.of_segments:
        if not any(image.has_layer(LAYERS["segments"]) for image in images):
            raise StoreError(f"no segments in {store.path}; make them with: kseg-batch segments {store.path}")
        return settings.what, None
    if not any(image.has_labels for image in images):
        raise StoreError(f"no labels in {store.path}: label its images with kseg-batch run")
    model = Model.load(store.path) if store.has_model else None
    named = model is not None and model.classes is not None
    what = ("classes" if named else "labels") if settings.what == "auto" else settings.what
    if what == "classes" and model is not None and not named:
        raise UsageError(f"--what classes: clusters of {store.path} have no names; give them with kseg-batch classes")
    return what, None if model is None else _legend(model, what)


def _legend(model: Model, what: str) -> Legend:
    return Legend.of_clusters(model) if what == "labels" else Legend.of(model)


# ---------------------------------------------------------------------------------------------------- the references


class Placed(NamedTuple):
    """Where the references are, and by image the path that they go by."""

    place: ReferencePlace
    below: dict[str, str]


def _place(request: ScoreRequest, store: Store, images: Sequence[StoredImage]) -> Placed:
    originals = Originals.of(store.attributes)
    below = {image.key: originals.below(image) for image in images}
    return Placed(ReferencePlace(request.reference, below.values()), below)


def _look(
    placed: Placed, settings: ScoreSettings, store: Store, images: Sequence[StoredImage], context: Context
) -> tuple[list[Looked], list[Failure]]:
    """Find and open the references of images."""
    place, below = placed
    paths, failures = dict[str, tuple[str, ...]](), list[Failure]()
    for image in images:
        try:
            if not image.complete:
                raise UnreadableImage(image.source, "not complete in the store; the command that made it completes it")
            paths[image.key] = tuple(map(storage.absolute, place.of(below[image.key], image.source)))
        except UnreadableImage as error:
            failures.append(Failure(image.key, error))
    there = [image for image in images if image.key in paths]
    look = partial(_looked_at, storage.absolute(store.path))
    work = (Work(image.key, (image.key, paths[image.key])) for image in there)
    found = on_images(context.silent(), look, work, settings, name="references", together=LOOKED_AT)
    looked = []
    for image, references in zip(there, found, strict=True):
        if isinstance(references, Failure):
            failures.append(references)
        else:
            looked.append(Looked(image, references))
    return looked, failures


def _looked_at(store: str, work: tuple[str, tuple[str, ...]], settings: ScoreSettings) -> tuple[Reference, ...]:
    """A task: the references of an image."""
    key, paths = work
    return look_at(StoredImage(store, key), paths, settings)


def _those_that_fit(looked: Sequence[Looked], context: Context) -> tuple[list[Looked], list[Failure]]:
    """The images whose references memory suffices for, and the others."""
    whole = {each.image.key: max(one.whole_bytes for one in each.references) for each in looked}
    needs = {key: COUNTED_BYTES + size for key, size in whole.items() if size}
    refused = limit_tasks(context.executor, needs)
    sources = {each.image.key: each.image.source for each in looked}
    failures = [Failure(key, UnreadableImage(sources[key], f"its reference {why}")) for key, why in refused.items()]
    return [each for each in looked if each.image.key not in refused], failures


# ------------------------------------------------------------------------------------------------------- the counting


def _most_pairs(context: Context) -> int:
    """How many pairs of an image there is room for beside the tasks."""
    limit_tasks(context.executor)
    executor = context.executor
    room = executor.memory_bytes - PROCESS_BYTES - executor.threads * VIEW_BYTES
    return max(LEAST_PAIRS, room // 2 // PAIR_BYTES)


class _Counting:
    """An image whose windows are coming in."""

    def __init__(self, image: Looked, most: int) -> None:
        self.image = image
        self.failure: Failure | None = None
        self._sums = [Sum(most // len(image.references)) for _ in image.references]
        self._others = [(0, 0) for _ in image.references]

    def add(self, tallies: list[Tally] | Failure) -> None:
        """What a task came to."""
        if isinstance(tallies, Failure):
            self.failure = self.failure or tallies
        if self.failure is not None or isinstance(tallies, Failure):
            self._sums = []
            return
        try:
            for at, tally in enumerate(tallies):
                self._sums[at].add(tally.pairs)
                unlabelled, unjudged = self._others[at]
                self._others[at] = (unlabelled + tally.unlabelled, unjudged + tally.unjudged)
        except TooManyPairs as error:
            self.failure = self._too_many(error)

    def result(self) -> list[Tally] | Failure:
        """Of each reference what the image came to."""
        if self.failure is not None:
            return self.failure
        try:
            return [Tally(each.pairs, *others) for each, others in zip(self._sums, self._others, strict=True)]
        except TooManyPairs as error:
            return self._too_many(error)

    def _too_many(self, error: TooManyPairs) -> Failure:
        image = self.image.image
        reason = f"{error.count} pairs of labels and reference labels: more than memory has room for; give more with "
        return Failure(
            image.key, UnreadableImage(image.source, f"{reason}--memory, or score coarser segments (--level)")
        )


def _count(
    looked: Sequence[Looked], settings: ScoreSettings, most: int, context: Context
) -> Iterator[tuple[Looked, list[Tally] | Failure]]:
    """What images come to, one after the other."""
    context.progress.stage("scoring", len(looked), sum(_pixels(each.image) for each in looked))
    if settings.level is not None:
        for each in looked:
            yield from _count_cut(each, settings, most, context)
        return
    yield from _count_all(looked, None, settings, most, context)


def _count_cut(
    each: Looked, settings: ScoreSettings, most: int, context: Context
) -> Iterator[tuple[Looked, list[Tally] | Failure]]:
    """An image whose segments are cut anew first."""
    assert settings.level is not None
    cut = partial(cut_anew, storage.absolute(each.image.store))
    (found,) = on_images(context.silent(), cut, [Work(each.image.key, each.image.key)], settings.level, name="cut")
    if isinstance(found, Failure):
        context.progress.advance(1, _pixels(each.image))
        yield each, found
    else:
        yield from _count_all([each], found, settings, most, context)


def _count_all(
    looked: Sequence[Looked], cut: Cut | None, settings: ScoreSettings, most: int, context: Context
) -> Iterator[tuple[Looked, list[Tally] | Failure]]:
    """Images, task by task, a few of which are ahead."""
    shared = context.share(cut)
    work = (
        (_Counting(each, most) if at == 0 else None, unit) for each in looked for at, unit in enumerate(_units(each))
    )
    counting: _Counting | None = None
    while some := list(islice(work, AHEAD * context.executor.workers)):
        together = max(
            1, min(len(some) // context.executor.workers, TOGETHER_PX // max(unit.pixels for _, unit in some))
        )
        found = on_images(
            context, count_unit_of, [unit for _, unit in some], shared, settings, name="score", together=together
        )
        for (begins, _), tallies in zip(some, found, strict=True):
            if begins is not None:
                if counting is not None:
                    yield counting.image, counting.result()
                counting = begins
            assert counting is not None
            counting.add(tallies)
    if counting is not None:
        yield counting.image, counting.result()


def count_unit_of(unit: Unit, cut: Cut | None, settings: ScoreSettings) -> list[Tally]:
    """A task: `count_unit`."""
    return count_unit(unit, cut, settings)


def _units(each: Looked) -> Iterable[Work]:
    """The tasks of an image."""
    units = list(units_of(each.image, each.references))
    for unit in units:
        pixels = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in unit.windows)
        yield Work(each.image.key, unit, pixels, unit is units[-1])


def _pixels(image: StoredImage) -> int:
    height, width = image.attributes["shape"]
    return int(height * width)


def _not_added(
    found: Score, each: Looked, tallies: list[Tally] | Failure, what: str, shared: Legend | None
) -> Failure | None:
    """Add an image to a score; why it could not be."""
    image = each.image
    if isinstance(tallies, Failure):
        return tallies
    if not any(tally.pairs.total for tally in tallies):
        reason = "no pixel of it is judged: its reference is 0 or nodata, or lies elsewhere"
        if any(tally.unlabelled for tally in tallies):
            reason = "no pixel that its reference judges is valid in it"
        return Failure(image.key, UnreadableImage(image.source, reason))
    own = shared
    if own is None and what != "segments" and (model := image.model) is not None:
        own = _legend(model, what)
    found.add(image.key, image.source, own, each.references, tallies)
    return None
