"""The thing a job writes: who may write it, what is there of it already, and when it is whole.

`Output.claim` takes the lock and decides, once, whether the output is new, gone on with or replaced; nobody else asks
the disk for that. An image is done when its marker says so: the attributes of its group, written last, with its exact
sums. A job that goes on labels those without one, and what it tells at its end is a fold over the markers, whoever
wrote them: a job that was stopped, a repair or this one. Beside the output, in ``.OUT.resume``, are the checkpoints of
the fit and what else an unfinished job must know again: they belong to one job, of these settings, inputs and release.

An output that is replaced stays whole until its successor, ``.OUT.next``, is complete and takes its place: on a disk
by two renames; in an object store, which knows none, object by object with the root's document last. A job that is
killed meanwhile leaves one whole output or the other: whoever claims the output next ends what it had begun.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from dask.delayed import delayed

from kseg_core import release, storage
from kseg_core.clustering.outliers import Reference
from kseg_core.config import OutputSettings
from kseg_core.errors import (
    KsegError,
    NothingReadable,
    NoValidPixels,
    OtherKind,
    StoreError,
    UnreadableImage,
    Unsuited,
    UsageError,
)
from kseg_core.inputs.keys import printable_source
from kseg_core.inputs.listing import NAMES, InputFile
from kseg_core.resume.checkpoints import load, save
from kseg_core.resume.lock import hold, unwritable
from kseg_core.storage.sidecars import NEXT, RESUME, aside, remove, sidecar, sweep
from kseg_core.store.manifest import (
    BEGUN,
    KEYS,
    a_few,
    folders_of,
    image_facts,
    image_folder,
    images_of,
    read_attributes,
    remove_kseg_store,
)
from kseg_core.store.markers import finished_image, has_changed, is_complete, unfinished_images, was_complete
from kseg_core.store.model import Model
from kseg_core.store.opening import (
    create_store,
    mend_image_groups,
    sweep_store,
    update_attributes,
    write_model,
)
from kseg_core.store.writing import remove_image

from .computing.context import Context, Failure, merge_all
from .labelling.label import Labelled, reference_of
from .planning.plan import HEADERS_PER_TASK
from .request import Request, require_unchanged
from .result import Changes, JobResult

log = logging.getLogger("kseg")

FINAL = (NothingReadable, NoValidPixels, UsageError, UnreadableImage)  # the same command would end in the same way


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

    images: tuple[str, ...] = ()
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


@dataclass(frozen=True, slots=True)
class Done:
    """What an output has of some inputs.

    Parameters
    ----------
    rest
        Files to be labelled.
    settled, fresh
        The fold over the markers of the finished images: of those from before this job, and of those that it had
        finished when it was stopped.
    changed
        Names of those in ``rest`` of which there are labels, of another content than the inputs have now.
    """

    rest: tuple[InputFile, ...] = ()
    settled: Labelled = field(default_factory=Labelled)
    fresh: Labelled = field(default_factory=Labelled)
    changed: frozenset[str] = frozenset()

    @property
    def keys(self) -> set[str]:
        """Names of the finished images."""
        return set(self.settled.inertia) | set(self.fresh.inertia)

    def merge(self, other: Done) -> Done:
        return Done(
            self.rest + other.rest,
            self.settled.merge(other.settled),
            self.fresh.merge(other.fresh),
            self.changed | other.changed,
        )


@contextmanager
def claim(path: str) -> Iterator[None]:
    """Be the one that writes an output, which is whole where anything ever was.

    Raises
    ------
    OutputHeld
        If another job writes it.
    StoreError
        If nothing can be written there.
    """
    with hold(path):
        successor = sidecar(path, NEXT)
        if storage.exists(successor):
            if _is_complete(successor) and not _is_complete(path):
                _put_in_place(successor, path)
            remove(successor)
        sweep(successor)
        sweep(path)
        yield


class Output:
    """The output of a job.

    Attributes
    ----------
    place
        Where it is to be.
    path
        Where it is written: beside ``place`` while what is there is to be replaced.
    resumes
        Whether there is one to go on with.
    checkpoints
        The folder where the fit of this very job keeps what it has got so far.
    model, unusable
        The model of all images as far as there is one, and the images that its fit could not use.
    done
        What there is of the inputs.
    labelled
        The fold over the markers of the images that were labelled since.
    """

    def __init__(self, request: Request) -> None:
        """What is known without a look at the disk's contents; nothing is touched."""
        self.place = self.path = request.output
        self.resumes = storage.exists(self.path) and not request.config.output.overwrite
        self._resume = sidecar(self.place, RESUME)
        self.checkpoints = os.path.join(self._resume, _identity(request))
        self.model: Model | None = None
        self.unusable: list[Failure] = []
        self.done = Done(tuple(request.listing.files))
        self.labelled = Labelled()
        self._before = Before()
        self._was_complete = request.was_complete
        self._ours = self._empty = False  # whether this job made the store, and whether nothing of use is in it
        self._complete = False

    @classmethod
    @contextmanager
    def claim(cls, request: Request, kind: Literal["store", "model"]) -> Iterator[Output]:
        """Be the one that writes a job's output.

        When it ends nothing is left beside the output: of a job that was stopped what it goes on from is.

        Raises
        ------
        OutputHeld
            If another job writes it.
        StoreError
            If nothing can be written there, or it has changed since the job was prepared.
        """
        with claim(request.output):
            require_unchanged(request, kind)
            output = cls(request)
            replaces = request.config.output.overwrite and storage.exists(output.place)
            if request.config.output.overwrite:
                remove(output._resume)
            output._make_room()
            # What another disk is mounted on has nothing beside it on its own disk: it is replaced after the fit.
            if kind == "store" and replaces and not os.path.ismount(output.place):
                output.path = sidecar(output.place, NEXT)
            try:
                yield output
            except BaseException as error:
                output._withdraw(error)
                raise
            remove(output._resume)

    # ------------------------------------------------------------------------------------------- what there is of it

    def scan(self, request: Request, given: Model | None, context: Context) -> None:
        """Find the job's model and the images that are done; what is half-written is to be done again."""
        if not self.resumes:
            self.model = given
            return
        found = load(self._before_file, (Before,))
        if found is None and self._was_complete:
            made = (read_attributes(self.path) or {}).get(KEYS) or images_of(self.path)
            found = Before(tuple(sorted(made)))
        self._before = found or Before()
        self.peek(request, given, context, mends=True)
        if self._before.images:
            self._before = self._before.after(self.done.rest, self.done.changed)
            save(self._before_file, self._before)
        if request.config.output.checksum:
            facts = [image_facts(image_folder(self.path, key)) or {} for key in self.done.changed]
            if unknown := sum("checksum" not in each for each in facts):
                why = "no checksum was kept of %d of the images that changed: told by size and time, this once"
                log.warning(f"%s: {why}", self.place, unknown)
        listed = {file.key for file in request.listing.files}
        for key in self._before.images:
            gone = key not in listed and not request.config.output.prune
            if gone and not storage.is_dir(image_folder(self.path, key)):
                log.warning("%s: it had %s, which is lost: that is not among the inputs any more", self.place, key)

    def peek(self, request: Request, given: Model | None, context: Context, *, mends: bool = False) -> None:
        """The same; unless it ``mends``, nothing is touched."""
        self.model = given
        if not self.resumes:
            return
        fit = request.config.fit
        alone = fit is not None and fit.scope == "image"
        if not alone and given is None:
            self.model, self.unusable = self._earlier_model()
            if self.model is None:
                return
        unusable = {failure.key for failure in self.unusable}
        files = [file for file in request.listing.files if file.key not in unusable]
        how = Markers(
            storage.absolute(self.path),
            None if self.model is None else reference_of(self.model),
            request.config.output,
            request.config.input.mask,
            shared=not alone,
            mends=mends,
        )
        task, settled = delayed(done_of, pure=False), self._before.settled
        groups = [files[at : at + HEADERS_PER_TASK] for at in range(0, len(files), HEADERS_PER_TASK)]
        parts = context.compute(
            [task(group, how, settled.intersection(file.key for file in group)) for group in groups]
        )
        while len(parts) > 1:  # by pairs: what is merged is copied
            parts = [merge_all(parts[at : at + 2]) for at in range(0, len(parts), 2)]
        self.done = parts[0] if parts else Done()

    def _earlier_model(self) -> tuple[Model | None, list[Failure]]:
        """The model that an earlier, stopped run of this job came to, and the images it could not use."""
        failures = load(self._failures_file, (Failure, UnreadableImage, OtherKind, Unsuited))
        if failures is None:
            if not was_complete(read_attributes(self.path)):
                return None, []
            failures = ()  # what could not be used is found anew
        try:
            return Model.load(self.path), list(failures)
        except StoreError:
            return None, []  # it did not get that far

    # ----------------------------------------------------------------------------------------------------- writing it

    def create(self, request: Request) -> None:
        """An empty store where there is none: what cannot be written is known before the fit."""
        if not storage.exists(self.path):
            create_store(self.path, store_attributes(request))
            self._ours = self._empty = True

    def begin(self, request: Request, model: Model | None, unusable: Sequence[Failure] | None = None) -> None:
        """Images are written from now on.

        Parameters
        ----------
        request
            The job, whose features are settled.
        model
            That of all images.
        unusable
            Of a model that was found just now: the images that its fit could not use.
        """
        if storage.exists(self.path) and not self._empty and (unusable is not None or not self.resumes):
            remove_kseg_store(self.path)  # without the model nothing in it is of use
            create_store(self.path, store_attributes(request))
            self._ours = not self.resumes
        elif self.resumes:
            now = {"status": "running", "inputs_digest": request.inputs_digest}
            update_attributes(self.path, now | request.listing.noted_names)
            mend_image_groups(self.path)
            self._sweep_images({file.key for file in self.done.rest} | self.done.keys)
        if unusable is not None:  # before the model, which is of no use without them
            save(self._failures_file, tuple(failure for failure in unusable if failure.key))
        self._empty = False
        if model is not None and not self._has_model(model):
            write_model(self.path, model)

    def commit(self, labelled: Labelled) -> None:
        """Some more images are done."""
        self.labelled = self.labelled.merge(labelled)

    @property
    def by_this_job(self) -> Labelled:
        """The fold over the images that this job has labelled, before it was stopped and since."""
        return self.labelled.merge(self.done.fresh)

    @property
    def everything(self) -> Labelled:
        """The fold over all images of the inputs."""
        return self.by_this_job.merge(self.done.settled)

    def changes(self, request: Request) -> Changes:
        """What has become of the inputs since the store was last complete."""
        labelled = frozenset(self.by_this_job.inertia)
        whole, there = labelled | self.done.keys, images_of(self.path)
        listed = {file.key for file in request.listing.files}
        return Changes(
            added=len(labelled.difference(self._before.images)),
            changed=len(labelled.intersection(self._before.changed)),
            repaired=len(labelled.intersection(self._before.damaged)),
            removed=len(there - listed),
            outdated=len((there & listed) - whole),
        )

    @property
    def last_drift(self) -> dict[str, Any] | None:
        """What was said of drift when it was last complete."""
        result = (read_attributes(self.path) or {}).get("result") or {}
        drift = result.get("drift")
        return drift if isinstance(drift, dict) else None

    def prune(self, request: Request) -> None:
        """Remove the images that are not of the inputs, and the folders that only these were in.

        Raises
        ------
        KsegError
            If some inputs could not be listed: images of files that are there might go.
        """
        listed = {file.key for file in request.listing.files}
        doomed = sorted(images_of(self.path) - listed)
        if doomed and request.listing.failures:
            first = request.listing.failures[0]
            raise KsegError(f"{self.place}: nothing is removed (--prune), as not all inputs could be listed: {first}")
        for key in doomed:
            remove_image(self.path, key)
        if doomed:
            log.warning("%s: removed as not among the inputs any more: %s", self.place, a_few(doomed))
        names = request.listing.names
        if names is not None and doomed:
            update_attributes(self.path, {NAMES: replace(names, folders=frozenset()).with_keys(listed)})
            left = folders_of(read_attributes(self.path))
            for folder in sorted(names.folders.difference(left), reverse=True):
                storage.remove_tree(image_folder(self.path, folder), ignore_errors=True)

    def publish(self, request: Request, result: JobResult) -> None:
        """Declare the store complete, and put it in its place.

        What it says does not tell how often the job was stopped on its way.
        """
        images = result.images
        stored = replace(result, images=replace(images, labelled=images.labelled + images.reused, reused=0)).to_json()
        facts = {"status": "complete", "inputs_digest": request.inputs_digest, "failures": stored["failures"]}
        # failures are sorted: bundles come in any order; a repair that was stopped ends with this job
        update_attributes(self.path, {**facts, "result": stored, KEYS: sorted(images_of(self.path))}, without=BEGUN)
        self._complete = True
        if self.path != self.place:
            _put_in_place(self.path, self.place)
            remove(self.path)

    def publish_model(self, request: Request, model: Model, result: JobResult) -> None:
        """The same of an output that is a model."""
        facts = {**store_attributes(request), "status": "complete", "result": result.to_json()}
        replace(model, facts=model.facts | facts).save(self.place, overwrite=True)

    # ---------------------------------------------------------------------------------------------------------- inside

    @property
    def _failures_file(self) -> str:
        return os.path.join(self.checkpoints, "failures")

    @property
    def _before_file(self) -> str:
        return os.path.join(self._resume, "before")

    def _make_room(self) -> None:
        """The folder of this job's checkpoints, and no other's."""
        try:
            storage.make_folders(self.checkpoints)
            for entry in storage.names(self._resume):
                path = os.path.join(self._resume, entry)
                if path != self.checkpoints and storage.is_dir(path):
                    remove(path)
            storage.sweep(self.checkpoints)
        except OSError as error:
            raise StoreError(f"{self.place}: the output cannot be written ({error.strerror or error})") from error

    def _has_model(self, model: Model) -> bool:
        try:
            return Model.load(self.path).digest == model.digest
        except StoreError:
            return False

    def _sweep_images(self, settled: set[str]) -> None:
        """Remove what is left of images that were under way when a job was stopped and are not done again.

        ``settled`` are those that are done or will be: what of these is half-written is known when they are begun.
        """
        path = storage.absolute(self.path)
        for key in unfinished_images(path, besides=settled):
            remove_image(path, key)
        sweep_store(path)

    def _withdraw(self, error: BaseException) -> None:
        """Leave what the same command goes on from, and no store in which there is nothing."""
        if self._complete:
            pass  # whoever claims it next publishes it
        elif self.path != self.place:
            remove(self.path)
        elif self._ours and isinstance(error, KsegError) and (self._empty or isinstance(error, NothingReadable)):
            remove_kseg_store(self.path)
        if isinstance(error, FINAL):
            remove(self._resume)
            return
        for empty in (self.checkpoints, self._resume):
            with contextlib.suppress(OSError):
                storage.remove_empty_folder(empty)


@dataclass(frozen=True, slots=True)
class Markers:
    """Which markers of images count.

    Parameters
    ----------
    store
        The store's path, from wherever a worker is.
    reference
        What the images' drift is measured against, if at all.
    output, mask, shared, mends
        As `finished_image` has them.
    """

    store: str
    reference: Reference | None
    output: OutputSettings
    mask: str | None
    shared: bool
    mends: bool


def done_of(files: Sequence[InputFile], how: Markers, settled: frozenset[str]) -> Done:
    """A task: what a store has of some files."""
    rest: list[InputFile] = []
    changed: set[str] = set()
    old, new = Labelled(), Labelled()
    for file in files:
        record = finished_image(how.store, file, how.output, how.mask, shared=how.shared, mends=how.mends)
        if record is None:
            rest.append(file)
            if has_changed(how.store, file, how.mask, checksum=how.output.checksum):
                changed.add(file.key)
        elif file.key in settled:
            old = old.merge(Labelled.of_record(record, how.reference))
        else:
            new = new.merge(Labelled.of_record(record, how.reference))
    return Done(tuple(rest), old, new, frozenset(changed))


def store_attributes(request: Request) -> dict[str, Any]:
    """What an output says of the job that made it."""
    folder = printable_source(os.getcwd())  # what is stored is valid UTF-8
    told = {"config": request.settings, "inputs_digest": request.inputs_digest, "folder": folder}
    return told | request.listing.noted_names


def _identity(request: Request) -> str:
    """What decides all that a job finds."""
    deciding = [release.version(), request.asked, request.inputs_digest]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def _put_in_place(successor: str, path: str) -> None:
    """Put a complete store in the place of an output."""
    try:
        if storage.is_remote(path):
            remove_kseg_store(path)
            storage.copy_tree(successor, path)
            return
        earlier = aside(path)
        if os.path.lexists(path):
            os.rename(path, earlier)
        os.rename(successor, path)
        remove(earlier)
    except OSError as error:
        raise unwritable(path, error) from error


def _is_complete(path: str) -> bool:
    try:
        return is_complete(read_attributes(path))
    except StoreError:
        return False


@contextmanager
def folder_for_files(path: str) -> Iterator[None]:
    """A folder to write files to; one that was made for a job that fails is not left behind empty."""
    new = not os.path.lexists(path)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise KsegError(f"{path}: the output cannot be written ({error.strerror or error})") from error
    if not os.access(path, os.W_OK):
        raise KsegError(f"{path}: the output cannot be written ({os.strerror(errno.EACCES)})")
    try:
        yield
    except BaseException:
        if new and not os.listdir(path):
            os.rmdir(path)
        raise
