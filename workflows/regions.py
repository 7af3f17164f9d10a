"""Regions of every image's clusters, and the table of them: windows labelled on the workers, joined at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.clustering.labelling import NO_COLORS
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError
from kseg_core.export.tables import require_table, write_table
from kseg_core.shapes.regions import (
    COLUMNS,
    Regions,
    WindowRegions,
    columns_of,
    join_regions,
    read_labels,
    region_rows,
    region_windows,
    regions_of_window,
)
from kseg_core.store.opening import Store, StoredImage, open_store

from .computing.context import WAVE_TASKS, Context, Task
from .computing.executor import Progress
from .viewing.tasks import limit_tasks


def write_region_table(
    path: str, table: str, execution: ExecutionSettings, progress: Progress | None = None, *, overwrite: bool = False
) -> int:
    """Write a table of every image's clusters: area, regions, largest region (``inspect --table``).

    Parameters
    ----------
    path
        A store.
    table
        ``*.csv`` or ``*.parquet``; it appears whole or not at all.
    overwrite
        Whether a file that is there is replaced.

    Returns
    -------
    int
        Rows written: one an image and cluster.

    Raises
    ------
    UsageError, KsegError
        If the table cannot be written, there is no store, or its labels cannot be read.
    """
    require_table(table, overwrite=overwrite)
    store = open_store(path)
    if not store.complete:
        raise StoreError(f"{path}: the run that made it has not finished; the same command completes it")
    with Context.open(execution, progress) as context:
        limit_tasks(context.executor)
        rows = (
            row
            for key, regions, colors in regions_of_images(store, context)
            for row in region_rows(store[key], regions, colors)
        )
        return write_table(table, COLUMNS, rows)


class ImageRegions(NamedTuple):
    """The regions of an image and the colours of its clusters."""

    key: str
    regions: Regions
    colors: NDArray[np.uint8]


def regions_of_images(store: Store, context: Context) -> Iterator[ImageRegions]:
    """The regions of every image of a store, in the order of its keys; one without a model has no clusters.

    No more borders are held than those of the images of one wave. Images without labels (of edges alone) are passed
    over.

    Raises
    ------
    StoreError
        If no image has labels, or some cannot be read.
    """
    labelled = [key for key, image in store.items() if image.has_labels]
    if not labelled:
        raise StoreError(f"no labels in {store.path}, only edges; regions are those of clusters")
    context.progress.stage("finding regions", len(labelled), _pixels(store))
    shared = store.model.colors if store.has_model else None
    wave: list[StoredImage] = []
    tasks = 0
    for key in labelled:
        image = store[key]
        count = len(region_windows(image))
        if wave and tasks + count > WAVE_TASKS:
            yield from _regions_of_wave(store, wave, shared, context)
            wave, tasks = [], 0
        wave.append(image)
        tasks += count
    yield from _regions_of_wave(store, wave, shared, context)


def _pixels(store: Store) -> int:
    return sum(int(np.prod(image.attributes.get("shape") or [0])) for image in store.values())


def _regions_of_wave(
    store: Store,
    images: Sequence[StoredImage],
    shared: NDArray[np.uint8] | None,
    context: Context,
) -> Iterator[ImageRegions]:
    path = storage.absolute(store.path)  # a worker may have another current folder
    task = delayed(label_window, pure=False)
    colors = [colors_of(image, shared) for image in images]
    windows = [region_windows(image) for image in images]
    tasks = [
        Task(
            task(path, image.key, window, len(own)),
            partial(context.progress.advance, int(window is parts[-1]), _size(window)),
        )
        for image, parts, own in zip(images, windows, colors, strict=True)
        for window in parts
    ]
    found: list[WindowRegions] = list(context.each(tasks))
    at = 0
    for image, parts, own in zip(images, windows, colors, strict=True):
        regions = join_regions(found[at : at + len(parts)], columns_of(parts))
        at += len(parts)
        yield ImageRegions(image.key, regions, own)


def _size(window: tuple[slice, slice]) -> int:
    rows, columns = window
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def colors_of(image: StoredImage, shared: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """The colours of an image's clusters, uint8 (k, 3): of the model all images share, or of its own if it has one."""
    if shared is not None:
        return shared
    model = image.model
    return NO_COLORS if model is None else model.colors


def label_window(store: str, key: str, window: tuple[slice, slice], k: int) -> WindowRegions:
    """A task: the regions of one window of an image's labels."""
    return regions_of_window(read_labels(StoredImage(store, key), *window, k), k)
