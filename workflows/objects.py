"""Regions as objects: a table with a row for each region of every image (``inspect --objects``).

Windows are measured on the workers, and joined here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from dask.delayed import delayed

from kseg_core import storage
from kseg_core.clustering.labelling import Labels
from kseg_core.command_lines import command_line, place
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.export.tables import require_table, write_table
from kseg_core.images.pixel_size import PixelSize, given_pixel_size
from kseg_core.layers import LAYERS
from kseg_core.layers.tiles import Region
from kseg_core.memory import VIEW_BYTES, viewing_bytes
from kseg_core.object_settings import ObjectSettings
from kseg_core.shapes.object_bands import ImageBands
from kseg_core.shapes.object_pieces import ObjectPieces
from kseg_core.shapes.object_table import COLUMNS, ImageObjects, band_columns
from kseg_core.shapes.objects import WindowObjects, objects_of_window
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage, open_store
from kseg_core.store.originals import Originals

from .computing.context import Context, Failure, Task
from .computing.executor import Progress
from .export_plan import chosen_images
from .viewing.tasks import Work, has_derived_bands, limit_tasks, on_images

WINDOW_PX = 1024  # side of a window whose regions are measured: with the values of some bands tens of megabytes
AHEAD = 2  # windows a worker that are measured before the figures of the first of them are laid aside


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """Whose regions are measured.

    Parameters
    ----------
    store
        The store.
    table
        ``*.csv`` or ``*.parquet``.
    settings
        Which regions.
    images
        Keys, sources, or patterns of either; none: all images.
    overwrite
        Whether a table that is there is replaced.
    pixel_size
        The side of a pixel of images without a place on the ground, as in ``0.12mm``; None: as the store says.
    """

    store: str
    table: str
    settings: ObjectSettings = field(default_factory=ObjectSettings)
    images: tuple[str, ...] = ()
    overwrite: bool = False
    pixel_size: str | None = None

    @property
    def size(self) -> PixelSize | None:
        """Of a pixel of images without a place on the ground, where it is given."""
        return None if self.pixel_size is None else given_pixel_size(self.pixel_size)


@dataclass(frozen=True, slots=True)
class ObjectTable:
    """What came of it: rows written, and why there are no values of the bands of some images, by key."""

    rows: int
    without_bands: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        without = [{"key": key, "reason": reason} for key, reason in self.without_bands.items()]
        return {"object_count": self.rows, "without_bands": without}


@dataclass(frozen=True, slots=True)
class Planned:
    """An image, its regions, where the values of its bands are (None: nowhere), and its windows."""

    objects: ImageObjects
    bands: ImageBands | None
    windows: tuple[Region, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its bands."""
        return () if self.bands is None else self.bands.names

    @property
    def tasks(self) -> list[tuple[Region, ...]]:
        """Its windows, task by task: all in one where the file can only be decoded whole."""
        if self.bands is not None and self.bands.is_read_whole:
            return [self.windows]
        return [(window,) for window in self.windows]


def write_object_table(
    request: ObjectRequest, execution: ExecutionSettings, progress: Progress | None = None
) -> ObjectTable:
    """Write a table of regions; it appears whole or not at all.

    Raises
    ------
    UsageError
        If no image is meant, there is no such class, or an area has a unit and the size of a pixel is not known.
    KsegError
        If the table cannot be written, there is no store, or its labels or an image cannot be read.
    """
    with measuring("regions", request, execution, progress) as (context, store, planned, without):
        names = list(band_columns(list(dict.fromkeys(name for image in planned for name in image.names))))
        folder = os.path.dirname(os.path.abspath(request.table))
        rows = (
            row
            for image, figures in _measured(store, planned, folder, context)
            for row in image.objects.rows(figures, image.names, names)
        )
        columns = COLUMNS | dict.fromkeys(names, float)
        return ObjectTable(write_table(request.table, columns, rows), without)


@contextmanager
def measuring(
    what: str, request: ObjectRequest, execution: ExecutionSettings, progress: Progress | None
) -> Iterator[tuple[Context, Store, list[Planned], dict[str, str]]]:
    """The store of a request, and its images as `plan_objects` has them, to be measured in a context.

    Raises
    ------
    UsageError, KsegError
        As `write_object_table`.
    """
    require_table(request.table, overwrite=request.overwrite)
    store = open_store(request.store)
    if not store.complete:
        raise StoreError(f"{request.store}: the run that made it has not finished; the same command completes it")
    images = images_with(store, request.settings, request.images)
    with Context.open(execution, progress) as context:
        pixels = sum(int(np.prod(image.attributes["shape"])) for image in images)
        context.progress.stage(f"measuring {what}", len(images), pixels)
        yield context, store, *plan_objects(store, images, request, context)


def images_with(store: Store, settings: ObjectSettings, wanted: Sequence[str]) -> list[StoredImage]:
    """The images that are meant and have what is asked for.

    Raises
    ------
    UsageError, StoreError
        If there is none, or one is damaged.
    """
    images, damaged = chosen_images(store, wanted)
    if damaged:
        raise next(iter(damaged.values()))
    if settings.of == "segments":
        found = [image for image in images if image.has_layer(LAYERS["segments"])]
        if not found:
            raise StoreError(
                f"no segments in {store.path}; make them with: {command_line('segments', place(store.path))}"
            )
        return found
    found = [image for image in images if image.has_labels]
    if not found:
        raise StoreError(f"no labels in {store.path}; regions of segments are had with --of segments")
    return found


def plan_objects(
    store: Store, images: Sequence[StoredImage], request: ObjectRequest, context: Context
) -> tuple[list[Planned], dict[str, str]]:
    """What is measured of each image, as many tasks at a time as memory allows; and why there are no bands of some."""
    path, shared = storage.absolute(store.path), store.model if store.has_model else None
    work = [Work(image.key, image.key) for image in images]
    details = (context.share(shared), Originals.of(store.attributes))
    looked = on_images(context, partial(_look, path), work, *details, name="bands", together=64)
    bands: dict[str, ImageBands] = {}
    without: dict[str, str] = {}
    needs: dict[str, int] = {}
    for image, found in zip(images, looked, strict=True):
        if isinstance(found, Failure):
            without[image.key] = found.error.reason
        else:
            bands[image.key], needs[image.key] = found
    without |= limit_tasks(context.executor, needs, task_bytes=VIEW_BYTES)
    planned = []
    for image in images:
        model = shared if shared is not None else image.model
        own = bands[image.key] if image.key not in without else None
        objects = ImageObjects.of(image, model, request.settings, request.size)
        planned.append(Planned(objects, own, tuple(_windows_of(image, objects, own))))
    return planned, without


def _look(store: str, key: str, shared: Model | None, originals: Originals) -> tuple[ImageBands, int]:
    """A task: where the values of an image's bands are, and how much memory a task takes that reads them."""
    image = StoredImage(store, key)
    model = shared if shared is not None else image.model
    found = ImageBands.of(image, model, originals)
    if found.source is None:
        return found, VIEW_BYTES
    chosen = 0 if found.chosen is None else len(found.chosen)
    return found, viewing_bytes(found.source, chosen, derived=has_derived_bands(model))


def _windows_of(image: StoredImage, objects: ImageObjects, bands: ImageBands | None) -> list[Region]:
    labels = image.array(objects.array.name)
    tile = max(labels.chunks)
    side = min(tile * max(1, WINDOW_PX // tile), 2 * WINDOW_PX)
    height, width = labels.shape
    return (bands or ImageBands((), None, None)).windows((height, width), side)


def _measured(store: Store, planned: Sequence[Planned], folder: str, context: Context) -> Iterator[tuple[Planned, Any]]:
    """Every image with the figures of its regions, some of them at a time."""
    found = measured_ahead(measure_windows, storage.absolute(store.path), planned, context)
    for image in planned:
        with ObjectPieces(folder, image.windows, len(image.names)) as pieces:
            for _ in image.tasks:
                for window in next(found):
                    pieces.add(window)
            for figures in pieces.figures(image.objects.wanted):
                yield image, figures


def measured_ahead(
    measure: Callable[..., Any], store: str, planned: Sequence[Planned], context: Context
) -> Iterator[Any]:
    """What the tasks of all images come to, in order; a few are measured ahead, so that what is held has a bound.

    ``measure``: of the store, an image's key, windows, objects and bands, as `measure_windows`.
    """
    task, room = delayed(measure, pure=False), AHEAD * context.executor.workers * WINDOW_PX**2
    some: list[Task] = []
    held = 0
    for image in planned:
        objects, bands = context.share(image.objects), context.share(image.bands)
        for windows in image.tasks:
            pixels = sum(map(_size, windows))
            done = partial(context.progress.advance, int(windows[-1] is image.windows[-1]), pixels)
            some.append(Task(task(store, image.objects.key, windows, objects, bands), done))
            held += pixels
            if held >= room:
                yield from context.each(some)
                some, held = [], 0
    yield from context.each(some)


def _size(window: Region) -> int:
    rows, columns = window
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def measure_windows(
    store: str, key: str, windows: Sequence[Region], objects: ImageObjects, bands: ImageBands | None
) -> list[WindowObjects]:
    """A task: the regions of some windows of an image."""
    image = StoredImage(store, key)
    found = []
    for window, labels, samples in read_windows(image, windows, objects, bands):
        corner = (window[0].start, window[1].start)
        with sound_values(image):
            found.append(objects_of_window(labels, samples, corner, objects.wanted))
    return found


def read_windows(
    image: StoredImage, windows: Sequence[Region], objects: ImageObjects, bands: ImageBands | None
) -> Iterator[tuple[Region, Labels, Any]]:
    """Windows of an image, each with its labels and what is around them, and the values of its bands."""
    read = None if bands is None else bands.reader(image)
    for window in windows:
        rows, columns = window
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        samples = np.empty((*shape, 0), np.uint8) if read is None else read(window)
        yield window, objects.read(image, rows, columns), samples


@contextmanager
def sound_values(image: StoredImage) -> Iterator[None]:
    """Values that are no numbers where pixels count are those of another image.

    Raises
    ------
    UnreadableImage
        Naming it.
    """
    try:
        yield
    except ValueError as error:
        reason = f"its values are not those that were labelled ({error}); label it anew"
        raise UnreadableImage(image.source, reason) from error
