"""Regions of every image's classes or clusters: the table of them, and their outlines.

Windows are labelled or traced on the workers, and joined here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from dask.delayed import delayed

from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError, UsageError
from kseg_core.export.segments import SegmentArray, ShownSegments, shown_segments
from kseg_core.export.settings import ExportSettings
from kseg_core.export.tables import require_table, write_table
from kseg_core.images.pixel_size import given_pixel_size
from kseg_core.layers.tiles import Region
from kseg_core.object_settings import ObjectSettings
from kseg_core.products import FORMATS, What
from kseg_core.shapes.outline_pieces import Pieces
from kseg_core.shapes.outlines import (
    EVERY_TURN,
    REGION_COLUMNS,
    WGS_84,
    ClusterProperties,
    Outlines,
    Outlining,
    Placement,
    SegmentProperties,
    Text,
    WindowOutlines,
    outline_window,
    outside_apart,
)
from kseg_core.shapes.regions import (
    CLASS_COLUMNS,
    COLUMNS,
    LabelArray,
    Regions,
    WindowRegions,
    columns_of,
    join_regions,
    pixel_area,
    region_rows,
    regions_of_window,
    wanted_labels,
    windows_of,
)
from kseg_core.shapes.simplified import part_of
from kseg_core.store.legend import NO_LEGEND, Legend, chosen_values, named_legend
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage, open_store
from kseg_core.store.originals import Originals

from .computing.context import Context, Task
from .computing.executor import Progress
from .viewing.tasks import limit_tasks

WINDOW_PX = 2048  # side of a window whose regions are labelled: tens of megabytes a task
OUTLINES_PX = 1024  # of one that is traced: of noise, where every pixel is a region, outlines are tens of megabytes
AHEAD = 2  # windows a worker that are traced before the first of them is written


@dataclass(frozen=True, slots=True)
class RegionsOf:
    """What a table of regions is of.

    Parameters
    ----------
    settings
        Whether of classes or of clusters, and of which.
    pixel_size
        The side of a pixel of images without a place on the ground, as in ``0.12mm``, whatever the store says.
    """

    settings: ObjectSettings = field(default_factory=ObjectSettings)
    pixel_size: str | None = None


_ALL = RegionsOf()


def write_region_table(
    path: str,
    table: str,
    execution: ExecutionSettings,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    of: RegionsOf = _ALL,
) -> int:
    """Write a table of every image's classes or clusters: area, regions, largest region (``inspect --table``).

    ``*.csv`` or ``*.parquet``, whole or not at all; one that is there is replaced with ``overwrite`` only.

    Returns
    -------
    Rows written: one an image and class or cluster.

    Raises
    ------
    UsageError, KsegError
        If the table cannot be written, there is no store, no such class, or its labels cannot be read.
    """
    require_table(table, overwrite=overwrite)
    store = open_store(path)
    if not store.complete:
        raise StoreError(f"{path}: the run that made it has not finished; the same command completes it")
    with Context.open(execution, progress) as context:
        limit_tasks(context.executor)
        images = [image for image in store.values() if image.has_labels]
        shared = store.model if store.has_model else None
        models = [shared if shared is not None else image.model for image in images]
        legends = [
            NO_LEGEND if model is None else named_legend(model, of.settings.by, path, "--of classes")
            for model in models
        ]
        chosen = [chosen_rows(model, legend, of.settings) for model, legend in zip(models, legends, strict=True)]
        if of.settings.chosen is not None and not any(chosen):
            raise UsageError(f"--cluster {of.settings.chosen[0]}: no image of {path} has clusters; leave it out")
        size = None if of.pixel_size is None else given_pixel_size(of.pixel_size)
        found = zip(regions_of_images(store, images, legends, context), legends, chosen, strict=True)
        rows = (row for (image, own), legend, some in found for row in region_rows(image, own, legend, some, size))
        columns = CLASS_COLUMNS if any(legend.what == "class" for legend in legends) else COLUMNS
        return write_table(table, columns, rows)


def chosen_rows(model: Model | None, legend: Legend, settings: ObjectSettings) -> tuple[int, ...] | None:
    """Which values of an image's legend have a row; None: all. One without a model has none."""
    if settings.chosen is None:
        return None
    return () if model is None else chosen_values(model, legend, settings.chosen, "--of clusters")


def regions_of_images(
    store: Store, images: Sequence[StoredImage], legends: Sequence[Legend], context: Context
) -> Iterator[tuple[StoredImage, Regions]]:
    """Images of a store that have labels, with their regions of the values of a legend each.

    Raises
    ------
    StoreError
        If no image has labels, or some cannot be read.
    """
    if not images:
        raise StoreError(f"no labels in {store.path}, only edges; regions are those of clusters")
    pixels = sum(int(np.prod(image.attributes.get("shape") or [0])) for image in store.values())
    context.progress.stage("finding regions", len(images), pixels)
    windows = [windows_of(image.labels, WINDOW_PX) for image in images]
    path = storage.absolute(store.path)  # a worker may have another current folder
    task = delayed(label_window, pure=False)
    found = context.each(
        Task(
            task(path, image.key, window, legend),
            partial(context.progress.advance, int(window is parts[-1]), _size(window)),
        )
        for image, parts, legend in zip(images, windows, legends, strict=True)
        for window in parts
    )
    for image, parts in zip(images, windows, strict=True):
        yield image, join_regions(list(islice(found, len(parts))), columns_of(parts))


def _size(window: Region) -> int:
    rows, columns = window
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def label_window(store: str, key: str, window: Region, legend: Legend) -> WindowRegions:
    """A task: the regions of one window of an image's labels, as the values of a legend."""
    return regions_of_window(LabelArray.of_legend(legend).read(StoredImage(store, key), *window), len(legend))


# -------------------------------------------------------------------------------------------------------- outlines


@contextmanager
def polygons(
    store: str, key: str, aside: str, clusters: tuple[int, ...] | None, settings: ExportSettings, context: Context
) -> Iterator[Outlines]:
    """Give the regions of an image's classes or clusters: one feature for each 8-connected region, whole across tiles.

    A feature's properties are ``image``, ``class`` or ``cluster``, ``name``, ``color``, ``pixels`` and ``region``, the
    place of its first pixel counted row by row from 0. Coordinates are longitude and latitude of a georeferenced image,
    else pixels. Features are given as they are traced.

    Parameters
    ----------
    aside
        A file that is there meanwhile.
    clusters
        Which, or those of which classes; None: all.
    settings
        Whether regions are of classes or of clusters, which are left out as small (what they covered is then covered
        by no feature), and by how much outlines are simplified.

    Raises
    ------
    UsageError
        If there is no such cluster, or the image is georeferenced and rasterio is missing.
    StoreError
        If the labels cannot be read.
    OSError
        If the file cannot be written.
    """
    opened = open_store(storage.absolute(store))
    image = opened[key]
    legend = legend_of(opened, image, settings.legend_by).with_palette(settings.palette)
    how = outlining(image, legend, clusters, settings)
    labels = LabelArray.of_legend(legend)
    with outlines_of(image, labels, how, aside, context) as outlines:
        yield outlines


@contextmanager
def segment_outlines(
    store: str, key: str, aside: str, _clusters: object, settings: ExportSettings, context: Context
) -> Iterator[Outlines]:
    """Give the outlines of an image's segments, at the level that the settings say: one feature for each.

    Its properties are ``image``, ``segment`` (its number), ``cluster`` (that most of its pixels are of, -1 without
    labels), ``color``, ``pixels`` and ``region``. All else is as `polygons` has it.
    """
    opened = open_store(storage.absolute(store))
    image = opened[key]
    model, originals = opened.model if opened.has_model else None, Originals.of(opened.attributes)
    (shown,) = context.compute(
        [delayed(look_at_segments, pure=False)(opened.path, key, model, originals, settings.level)]
    )
    height, width = image.attributes["shape"]
    columns = {"cluster": np.concatenate([[-1], shown.table.cluster]), "color": shown.colors}
    how = Outlining(
        (height, width),
        np.array([False, True]),  # all but what is in none
        SegmentProperties(image.key, columns),
        settings.min_area_px,
        placement_of(image, settings),
        settings.simplify_px,
    )
    with outlines_of(image, SegmentArray.of_segments(shown.cut), how, aside, context) as outlines:
        yield outlines


def look_at_segments(
    store: str, key: str, model: Model | None, originals: Originals, level: float | None
) -> ShownSegments:
    """A task: the segments of an image."""
    image = StoredImage(store, key)
    return shown_segments(image, model if model is not None else image.model, originals, level)


#: By kind (`kseg_core.products`), what traces it.
OUTLINED: dict[str, Callable[..., AbstractContextManager[Outlines]]] = {
    "polygons": polygons,
    "segments": segment_outlines,
}


@contextmanager
def outlines_of(
    image: StoredImage, labels: LabelArray, how: Outlining, aside: str, context: Context
) -> Iterator[Outlines]:
    """Give the outlines of the regions of a label image that is stored with an image, be its labels clusters or, with
    one for each region, segments. ``aside`` is a file that is there meanwhile.

    Raises
    ------
    StoreError, OSError
        As `polygons` does.
    """
    windows = windows_of(image.array(labels.name), OUTLINES_PX)
    facts: dict[str, Any] = {
        "image": image.key,
        "source": image.source,
        "shape": how.shape,
        "coordinates": how.placement.name,
    }
    if how.tolerance_px:
        facts["simplify_px"] = how.tolerance_px
    geo = how.placement.geo
    with Pieces(aside, columns_of(windows)) as pieces:
        yield Outlines(
            facts,
            _texts(image, labels, windows, pieces, how, context),
            {**how.properties.columns, **REGION_COLUMNS},
            "" if geo is None else geo.crs_wkt if how.placement.on_map else WGS_84,
            pixel_area(image),
        )


def _texts(
    image: StoredImage, labels: LabelArray, windows: list[Region], pieces: Pieces, how: Outlining, context: Context
) -> Iterator[Text]:
    """All features: those inside the windows in order, a few computed ahead, so that what is held has a bound; then
    those that go through several.
    """
    task, shared, array = delayed(trace_window, pure=False), context.share(how), context.share(labels)
    some = AHEAD * context.executor.workers
    for at in range(0, len(windows), some):
        tasks = [task(image.store, image.key, window, array, shared) for window in windows[at : at + some]]
        for traced in context.compute(tasks):
            yield from ((True, feature) for feature in traced.features)
            pieces.add(traced)
    yield from pieces.features(how)


def outlining(
    image: StoredImage, legend: Legend, clusters: tuple[int, ...] | None, settings: ExportSettings
) -> Outlining:
    """What is outlined of an image's clusters, and how.

    Raises
    ------
    UsageError
        If there is no such cluster, or rasterio is needed and missing.
    """
    k = legend.k
    strange = [cluster for cluster in clusters or () if not 0 <= cluster < k]
    if strange:
        raise UsageError(f"{image.key} has no cluster {strange[0]}: they are 0 to {k - 1}")
    height, width = image.labels.shape
    return Outlining(
        (height, width),
        wanted_labels(len(legend), None if clusters is None else legend.values_with(clusters)),
        ClusterProperties(image.key, legend),
        settings.min_area_px,
        placement_of(image, settings),
        settings.simplify_px,
    )


def placement_of(image: StoredImage, settings: ExportSettings) -> Placement:
    """Where an image's outlines are, in the coordinates that their format has."""
    kind = FORMATS.get(settings.format)
    return Placement.of(image.georeference, "degrees" if kind is None else kind.coordinates)


def legend_of(store: Store, image: StoredImage, by: What | None) -> Legend:
    """Names and colours of an image's classes or clusters, by the model all images share, or its own; nothing without
    either.
    """
    model = store.model if store.has_model else image.model
    return NO_LEGEND if model is None else Legend.of(model, by)


def trace_window(store: str, key: str, window: Region, labels: LabelArray, how: Outlining) -> WindowOutlines:
    """A task: the outlines of one window of an image's labels."""
    image = StoredImage(store, key)
    rows, columns = window
    padded, inside = labels.read_padded(image, rows, columns)
    kept = EVERY_TURN
    if (simplifying := how.simplifying) is not None:
        cells = simplifying.surroundings(window, how.shape)
        around = (padded, inside) if cells == window else labels.read_padded(image, *cells)
        kept = part_of(simplifying.corners(outside_apart(*around)), cells, window)
    return outline_window(padded, inside, (rows.start, columns.start), how, kept)
