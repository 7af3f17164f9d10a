"""A store's images as files: tasks make files, and each file has one writer, which reads what it needs by windows."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.export.files import ExportFile, Made, Target, export_files
from kseg_core.export.settings import OF_PIXELS, PNG_PX, ExportSettings
from kseg_core.memory import viewing_bytes
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, load_model, open_store
from kseg_core.store.originals import Originals

from .computing.context import Context, Task, crashed
from .computing.executor import Progress
from .export_plan import ExportRequest, PlannedImage, leave_existing, plan_export
from .output import folder_for_files
from .viewing.export_result import Exported, Failed
from .viewing.polygons import write_polygons
from .viewing.tasks import limit_tasks, needs_of_originals


def export(request: ExportRequest, execution: ExecutionSettings, progress: Progress | None = None) -> Exported:
    """Make the files.

    Raises
    ------
    UsageError
        If no image is meant, a cluster is not there, or the folder is none or lies in the store.
    StoreError
        If there is no store, or it has no edges where they are asked for.
    KsegError
        If files are there already, cannot be written, or need rasterio and it is not installed.
    """
    store = open_store(request.store)
    shared = load_model(request.store) if store.has_model else None
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
    planned, refused = what_fits(store, planned, shared, context)
    failures += refused
    task = delayed(export_files, pure=False)
    lazy_model, originals = context.share(shared), Originals.of(store.attributes)
    groups: list[tuple[ExportFile, ...]] = []
    tasks: list[Task] = []
    for image in planned:
        pictures = [file for file in image.files if file.what != "polygons"]
        for group in in_tasks(pictures, image.pixels):
            last = int(group[-1] is image.files[-1])
            groups.append(group)
            make = partial(task, storage.absolute(store.path), group, target, settings, originals, lazy_model)
            done = partial(context.progress.advance, last, image.pixels * len(group))
            tasks.append(Task(make(), done, partial(make_alone, make, store[image.key].source, context)))
    results: list[Made] = list(context.each(tasks))
    made = {file for group, result in zip(groups, results, strict=True) for file in group[: result.files]}
    failures += [
        Failed(group[0].key, (group[0].what,), result.failure)
        for group, result in zip(groups, results, strict=True)
        if result.failure is not None
    ]
    for image in planned:
        for file in image.files:
            if file.what == "polygons":
                failure = make_polygons(store.path, file, target, settings, context)
                if failure is None:
                    made.add(file)
                else:
                    failures.append(Failed(image.key, ("polygons",), failure))
                context.progress.advance(int(file is image.files[-1]), image.pixels)
    in_order = [file for image in planned for file in image.files if file in made]
    return in_order, joined_failures(planned, failures)


def make_alone(make: Callable[[], Delayed], source: str, context: Context) -> Made:
    """Make files that killed their workers once more, nothing else beside them."""
    made, deaths = context.alone(make())
    return made or Made(0, crashed(source, deaths))


def what_fits(
    store: Store, planned: Sequence[PlannedImage], shared: Model | None, context: Context
) -> tuple[list[PlannedImage], list[Failed]]:
    """The plan less the files that memory is too small for, as they show an original that must be decoded whole."""
    keys = [image.key for image in planned if any(file.what in OF_PIXELS for file in image.files)]
    need = partial(viewing_bytes, bands=0 if shared is None or shared.bands is None else len(shared.bands.bands))
    needs = needs_of_originals(store.path, keys, Originals.of(store.attributes), need, context)
    refused = limit_tasks(context.executor, needs, tasks_each=len(OF_PIXELS))
    left, failures = [], []
    for image in planned:
        if image.key not in refused:
            left.append(image)
            continue
        kinds = tuple(dict.fromkeys(file.what for file in image.files if file.what in OF_PIXELS))
        failures.append(Failed(image.key, kinds, UnreadableImage(store[image.key].source, refused[image.key])))
        left.append(replace(image, files=tuple(file for file in image.files if file.what not in OF_PIXELS)))
    return left, failures


def in_tasks(files: Sequence[ExportFile], pixels: int) -> Iterator[tuple[ExportFile, ...]]:
    """What one task makes: all files of one kind, so that the source is decoded once; of a large image one file."""
    if pixels > PNG_PX:
        yield from ((file,) for file in files)
    else:
        yield from (tuple(group) for _, group in groupby(files, key=lambda file: file.what))


def make_polygons(
    store: str, file: ExportFile, target: Target, settings: ExportSettings, context: Context
) -> UnreadableImage | None:
    """The outlines of one image; why they could not be made."""
    try:
        with target.whole(file.name) as path:
            write_polygons(store, file.key, path, file.clusters, settings.min_area_px, context)
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
