"""A job that goes on where it was stopped: what it found so far is kept beside its output until it is done.

Kept are what the passes over the images brought home (one file a task, see `kseg_core.resume.keeping`; a table of
colours takes some two bytes a colour, at most twelve), and which images the fit could not use. The model, finished
images and finished pieces are in the store itself. What is kept belongs to one job, of these settings, inputs and
release: that of any other is swept away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from dask.delayed import delayed

from kseg_core import release, storage
from kseg_core.clustering.drift import Drift, Reference
from kseg_core.config import OutputSettings
from kseg_core.errors import NothingReadable, NoValidPixels, OtherKind, StoreError, UnreadableImage, UsageError
from kseg_core.inputs.listing import InputFile
from kseg_core.resume.finished import finished_image, has_changed, unfinished_images
from kseg_core.resume.keeping import keep, kept
from kseg_core.storage.beside import RESUME, beside, remove, sweep
from kseg_core.store.manifest import INCOMPLETE, KEYS, images_of, read_attributes
from kseg_core.store.model import Model
from kseg_core.store.opening import load_model, sweep_store
from kseg_core.store.writing import remove_image

from ..computing.context import Failure, merge_all
from ..computing.executor import Executor
from ..labelling.label import Labelled
from ..planning.plan import HEADERS_PER_TASK
from ..request import Request

KEPT_TYPES = (Failure, UnreadableImage, OtherKind)


class Before(NamedTuple):
    """What was in a store when it was last complete.

    Attributes
    ----------
    images
        Names of its images.
    changed
        Those of them whose inputs have changed since.
    damaged
        Those of them that are not there any more, or not whole, though their inputs are what they were.
    """

    images: tuple[str, ...]
    changed: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def settled(self) -> frozenset[str]:
        """Names of the images that are what they were."""
        return frozenset(self.images).difference(self.changed, self.damaged)

    def after(self, rest: Iterable[InputFile], changed: AbstractSet[str]) -> Before:
        """The same, knowing which inputs must be labelled, and which of them have changed.

        What was known stays: of an image that is being labelled anew nobody can tell any more why.
        """
        anew = self.settled.intersection(file.key for file in rest)
        return Before(
            self.images,
            tuple(sorted((anew & changed).union(self.changed))),
            tuple(sorted((anew - changed).union(self.damaged))),
        )


NOTHING = Before(())


@dataclass(frozen=True, slots=True)
class Kept:
    """What an unfinished job has found, on the output's own disk.

    Parameters
    ----------
    folder
        All of it.
    job
        The folder in it that is of this very job.
    """

    folder: str
    job: str

    @classmethod
    def of(cls, request: Request) -> Kept:
        """What there is of a job; nothing is touched."""
        folder = beside(request.output, RESUME)
        return cls(folder, os.path.join(folder, job_identity(request)))

    # ---------------------------------------------------------------------------------------- the fit's failures

    def keep_failures(self, failures: Sequence[Failure]) -> None:
        """Keep which images the fit could not use: to be done before its model is written."""
        keep(os.path.join(self.job, "failures"), tuple(failures))

    def found_model(self, store: str) -> tuple[Model, list[Failure]] | None:
        """The model that an earlier, stopped run of this job came to, and the images it could not use."""
        failures = kept(os.path.join(self.job, "failures"), KEPT_TYPES)
        if failures is None:
            if (read_attributes(store) or {}).get("status") not in ("complete", INCOMPLETE):
                return None
            failures = ()  # what could not be used is found anew
        try:
            return load_model(store), list(failures)
        except StoreError:
            return None  # it did not get that far

    # ------------------------------------------------------------------------------- what was there before this job

    def before(self, store: str, request: Request) -> Before:
        """What was in the store when it was last complete: what is new or changed is told against that.

        It is kept until the job is done, as a job that goes on must mean the same by "new".
        """
        found = kept(self._before, (Before,))
        if found is None:
            made = (read_attributes(store) or {}).get(KEYS) or images_of(store)
            return Before(tuple(sorted(made)) if request.was_complete else ())
        assert isinstance(found, Before)
        return found

    def keep_before(self, before: Before) -> None:
        """Keep it."""
        keep(self._before, before)

    @property
    def _before(self) -> str:
        return os.path.join(self.folder, "before")


def job_identity(request: Request) -> str:
    """What decides all that a job finds."""
    told = [release.version(), request.asked, request.inputs_digest]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def what_is_kept(request: Request) -> Iterator[Kept]:
    """Where this job keeps what it finds; nothing is left of it once the job is done or has failed for good.

    Raises
    ------
    StoreError
        If nothing can be written there.
    """
    sweep(request.output)
    found = Kept.of(request)
    folder = found.folder
    if request.config.output.overwrite:
        remove(folder)
    try:
        storage.make_folders(found.job)
        for entry in storage.names(folder):
            path = os.path.join(folder, entry)
            if path != found.job and storage.is_dir(path):
                remove(path)
        storage.sweep(found.job)
    except OSError as error:
        raise StoreError(f"{request.output}: the output cannot be written ({error.strerror or error})") from error
    try:
        yield found
    except (NothingReadable, NoValidPixels, UsageError, UnreadableImage):
        remove(folder)  # the same command would end in the same way
        raise
    except BaseException:
        for empty in (found.job, folder):
            with contextlib.suppress(OSError):
                storage.remove_empty_folder(empty)
        raise
    remove(folder)


# ------------------------------------------------------------------------------------------------ finished images


@dataclass(frozen=True, slots=True)
class Found:
    """What a store has of some inputs.

    Parameters
    ----------
    rest
        Files to be labelled.
    settled, fresh
        What the finished images come to: those from before this job, and those that it had finished when it was
        stopped.
    changed
        Names of those in ``rest`` of which there are labels, of another content than the inputs have now.
    before
        What was there before this job.
    """

    rest: tuple[InputFile, ...]
    settled: Labelled
    fresh: Labelled
    changed: frozenset[str] = frozenset()
    before: Before = NOTHING

    @property
    def keys(self) -> set[str]:
        """Names of the finished images."""
        return set(self.settled.inertia) | set(self.fresh.inertia)

    def merge(self, other: Found) -> Found:
        return Found(
            self.rest + other.rest,
            self.settled.merge(other.settled),
            self.fresh.merge(other.fresh),
            self.changed | other.changed,
            self.before,
        )


def look_for_finished(
    files: Sequence[InputFile],
    store: str,
    reference: Reference | None,
    settled: frozenset[str],
    executor: Executor,
    *,
    output: OutputSettings,
    mask: str | None,
    shared: bool,
    mends: bool = True,
) -> Found:
    """What the store has of the inputs. ``reference``: what their drift is measured against, if at all.

    ``mends``: as `finished_image` has it.
    """
    groups = [files[at : at + HEADERS_PER_TASK] for at in range(0, len(files), HEADERS_PER_TASK)]
    task = delayed(finished_of, pure=False)
    store = storage.absolute(store)
    lazy = [
        task(group, store, reference, settled.intersection(file.key for file in group), output, mask, shared, mends)
        for group in groups
    ]
    parts: list[Found] = executor.compute(lazy) or [Found((), Labelled(), Labelled())]
    while len(parts) > 1:  # by pairs: what is merged is copied
        parts = [merge_all(parts[at : at + 2]) for at in range(0, len(parts), 2)]
    return parts[0]


def finished_of(
    files: Sequence[InputFile],
    store: str,
    reference: Reference | None,
    settled: frozenset[str],
    output: OutputSettings,
    mask: str | None,
    shared: bool,
    mends: bool,
) -> Found:
    """A task: what the store has of some files."""
    rest: list[InputFile] = []
    changed: set[str] = set()
    old, new = Labelled(), Labelled()
    for file in files:
        image = finished_image(store, file, output, mask, shared=shared, mends=mends)
        if image is None:
            rest.append(file)
            if has_changed(store, file, mask, checksum=output.checksum):
                changed.add(file.key)
            continue
        drift: dict[str, Drift] = {}
        if reference is not None:
            drift[file.key] = reference.drift(image.counts, image.inertia)
        part = Labelled(
            pixels=image.pixels,
            valid=sum(image.counts),
            sums=image.sums,
            inertia={file.key: image.inertia},
            drift=drift,
            notes={file.key: image.notes} if image.notes else {},
        )
        if file.key in settled:
            old = old.merge(part)
        else:
            new = new.merge(part)
    return Found(tuple(rest), old, new, frozenset(changed))


def sweep_images(store: str, settled: set[str]) -> None:
    """Remove what is left of images that were under way when a job was stopped and are not done again.

    ``settled`` are those that are complete or will be done: what of these is half-written is told when they are begun.
    """
    for key in unfinished_images(store, besides=settled):
        remove_image(store, key)
    sweep_store(store)
