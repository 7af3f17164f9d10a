"""A store's images as files: tasks make files, and each file has one writer, which reads what it needs by windows."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.export.files import ExportFile, Made, Target, export_files
from kseg_core.export.settings import ExportSettings
from kseg_core.inputs.keys import printable_source
from kseg_core.memory import VIEW_BYTES, viewing_bytes
from kseg_core.products import FORMATS, KINDS, PNG_PX
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, open_store
from kseg_core.store.originals import Originals

from .computing.context import Context, Failure
from .computing.executor import Progress
from .export_plan import ExportRequest, PlannedImage, leave_existing, plan_export
from .output import folder_for_files
from .regions import OUTLINED
from .viewing.tasks import Work, count_of_bands, has_derived_bands, limit_tasks, needs_of_originals, on_images


def of_pixels(settings: ExportSettings) -> frozenset[str]:
    """The kinds for which the image's own pixels are read; of segments at another level for their colours."""
    stored = {"segments"} if settings.level is None else set[str]()
    return frozenset(kind.name for kind in KINDS.values() if kind.of_pixels) - stored


@dataclass(frozen=True, slots=True)
class Failed:
    """An image of which not everything could be made."""

    key: str
    what: tuple[str, ...]
    error: UnreadableImage


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export."""

    folder: str  # where the files are
    images: int  # how many were asked for
    files: tuple[ExportFile, ...]  # made, in the order of images
    kept: int  # how many were there already and were left alone
    failures: tuple[Failed, ...]  # in the order of images

    @property
    def failed(self) -> int:
        """Images of which not everything could be made."""
        return len({failure.key for failure in self.failures})

    @property
    def status(self) -> str:
        """``ok``, ``partial``, or ``failed`` where nothing was made."""
        return "ok" if not self.failures else "partial" if self.files or self.kept else "failed"

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "status": self.status,
            "output": self.folder,
            "images": {"total": self.images, "done": self.images - self.failed, "failed": self.failed},
            "files": [
                {
                    "image": file.key,
                    "source": printable_source(file.source),
                    "what": file.what,
                    "clusters": None if file.clusters is None else list(file.clusters),
                    "classes": None if file.classes is None else list(file.classes),
                    "path": os.path.join(self.folder, file.name),
                }
                for file in self.files
            ],
            "kept": self.kept,
            "failures": [
                {
                    "image": failure.key,
                    "what": list(failure.what),
                    "source": failure.error.source,
                    "reason": failure.error.reason,
                }
                for failure in self.failures
            ],
        }


def export(request: ExportRequest, execution: ExecutionSettings, progress: Progress | None = None) -> Exported:
    """Make the files.

    Raises
    ------
    UsageError
        If no image is meant, a class or cluster is not there, or the folder is none or lies in the store.
    StoreError
        If there is no store, or it has no edges where they are asked for.
    KsegError
        If files are there already, cannot be written, or need rasterio and it is not installed.
    """
    store = open_store(request.store)
    shared = Model.load(request.store) if store.has_model else None
    planned = plan_export(store, shared, request)
    planned, kept = leave_existing(planned, request)
    target = Target(os.path.abspath(request.folder), uuid.uuid4().hex[:8])
    with folder_for_files(request.folder):
        try:
            with Context.open(execution, progress) as context:
                files, failures = make_files(store, planned, target, request.settings, shared, context)
        except BaseException:
            target.clean()
            raise
    return Exported(request.folder, len(planned), tuple(files), kept, tuple(failures))


def make_files(
    store: Store,
    planned: Sequence[PlannedImage],
    target: Target,
    settings: ExportSettings,
    shared: Model | None,
    context: Context,
) -> tuple[list[ExportFile], list[Failed]]:
    """Make all files; what was made, and what could not be."""
    context.progress.stage("exporting", len(planned), sum(image.pixels * len(image.files) for image in planned))
    failures = [Failed(image.key, settings.what, image.failure) for image in planned if image.failure is not None]
    planned, refused = what_fits(store, planned, shared, of_pixels(settings), context)
    failures += refused
    made: set[ExportFile] = set()
    work = [each for image in planned for each in pictures_of(image)]
    details = (target, settings, Originals.of(store.attributes), context.share(shared))
    make = partial(export_files, storage.absolute(store.path))
    for each, result in zip(work, on_images(context, make, work, *details, name="export"), strict=True):
        came = Made(0, result.error) if isinstance(result, Failure) else result
        made.update(each.what[: came.files])
        if came.failure is not None:
            failures.append(Failed(each.key, (each.what[0].what,), came.failure))
    for image in planned:
        for file in image.files:
            if FORMATS[file.written_as].content == "outlines":
                error = make_outlines(store.path, file, target, settings, context)
                if error is None:
                    made.add(file)
                else:
                    failures.append(Failed(image.key, (file.what,), error))
                context.progress.advance(int(file is image.files[-1]), image.pixels)
    in_order = [file for image in planned for file in image.files if file in made]
    return in_order, joined_failures(planned, failures)


def pictures_of(image: PlannedImage) -> Iterator[Work]:
    """What tasks make: all files of one kind, so that the source is decoded once; of a large image one file."""
    pictures = [file for file in image.files if FORMATS[file.written_as].content == "picture"]
    together = groupby(pictures, key=lambda file: file.what if image.pixels <= PNG_PX else file.name)
    for group in (tuple(files) for _, files in together):
        yield Work(image.key, group, image.pixels * len(group), group[-1] is image.files[-1], group[0].source)


def what_fits(
    store: Store,
    planned: Sequence[PlannedImage],
    shared: Model | None,
    kinds: frozenset[str],
    context: Context,
) -> tuple[list[PlannedImage], list[Failed]]:
    """The plan less the files of those kinds that memory is too small for, as they show an original that must be
    decoded whole.
    """
    keys = [image.key for image in planned if any(file.what in kinds for file in image.files)]
    need = partial(viewing_bytes, bands=count_of_bands(shared), derived=has_derived_bands(shared))
    more = max((KINDS[file.what].more_bytes for image in planned for file in image.files), default=0)
    needs = needs_of_originals(store.path, keys, Originals.of(store.attributes), need, context)
    needs = {key: need_of + more for key, need_of in needs.items()}
    refused = limit_tasks(context.executor, needs, tasks_each=max(1, len(kinds)), task_bytes=VIEW_BYTES + more)
    left, failures = [], []
    for image in planned:
        if image.key not in refused:
            left.append(image)
            continue
        left_out = tuple(dict.fromkeys(file.what for file in image.files if file.what in kinds))
        failures.append(Failed(image.key, left_out, UnreadableImage(store[image.key].source, refused[image.key])))
        left.append(replace(image, files=tuple(file for file in image.files if file.what not in kinds)))
    return left, failures


def make_outlines(
    store: str, file: ExportFile, target: Target, settings: ExportSettings, context: Context
) -> UnreadableImage | None:
    """The outlines of one image; why they could not be made."""
    try:
        with (
            target.whole(file.name) as path,
            target.scratch(file.name) as scratch,
            OUTLINED[file.what](store, file.key, f"{path}.pieces", file.clusters, settings, context) as outlines,
        ):
            FORMATS[file.written_as].write(path, outlines, None, scratch)
    except UnreadableImage as error:
        return error
    except StoreError as error:
        return UnreadableImage(file.key, str(error))
    return None


def joined_failures(planned: Sequence[PlannedImage], failures: Sequence[Failed]) -> list[Failed]:
    """One failure for each image and reason, in the order of images."""
    joined: dict[tuple[str, str, str], list[str]] = {}
    for failure in failures:
        kinds = joined.setdefault((failure.key, failure.error.source, failure.error.reason), [])
        kinds += [what for what in failure.what if what not in kinds]
    place = {image.key: at for at, image in enumerate(planned)}
    return [
        Failed(key, tuple(kinds), UnreadableImage(source, reason))
        for (key, source, reason), kinds in sorted(joined.items(), key=lambda item: place[item[0][0]])
    ]
