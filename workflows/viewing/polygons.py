"""GeoJSON outlines of the regions of an image's clusters: windows are traced on the workers and written in order."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.errors import KsegError, UsageError
from kseg_core.shapes.geojson import TAIL, Placement, head
from kseg_core.shapes.outline_pieces import Pieces
from kseg_core.shapes.polygons import Outlining, WindowOutlines, outline_window
from kseg_core.shapes.regions import columns_of, read_padded, wanted_labels, windows_of
from kseg_core.store.opening import Store, StoredImage, open_store

from ..computing.context import Context
from ..regions import colors_of

WINDOW_PX = 1024  # side of a window: of noise, where every pixel is a region, its outlines are tens of megabytes
AHEAD = 2  # windows a worker that are traced before the first of them is written


def write_polygons(
    store: str, key: str, path: str, clusters: tuple[int, ...] | None, min_area_px: int, context: Context
) -> int:
    """Write the regions of an image's clusters as GeoJSON: one feature for each 8-connected region, whole across tiles.

    A feature's properties are ``image``, ``cluster``, ``color``, ``pixels`` and ``region``, the place of its first
    pixel counted row by row from 0. Coordinates are longitude and latitude of a georeferenced image, else pixels.

    Parameters
    ----------
    store, key
        Which image.
    path
        The file; it appears whole or not at all, in place of one that is there.
    clusters
        Which; None: all.
    min_area_px
        Regions of fewer pixels are left out; what they covered is then covered by no feature.
    context
        Where the windows are traced. Features are written as they come.

    Returns
    -------
    int
        How many features there are.

    Raises
    ------
    UsageError
        If there is no such cluster, or the image is georeferenced and rasterio is missing.
    KsegError
        If the labels cannot be read or the file cannot be written.
    """
    opened = open_store(storage.absolute(store))
    image = opened[key]
    how = outlining(opened, image, clusters, min_area_px)
    windows = windows_of(image, WINDOW_PX)
    aside = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with open(aside, "x", encoding="utf-8") as file, Pieces(f"{aside}.pieces", columns_of(windows)) as pieces:
            count = 0
            facts = {"image": key, "source": image.source, "shape": list(how.shape), "coordinates": how.placement.name}
            file.write(head(facts))
            for traced in in_order(tracing(opened.path, key, windows, how, context), context):
                for feature in traced.features:
                    file.write("," * (count > 0) + feature)
                    count += 1
                pieces.add(traced)
            for begins, text in pieces.features(how):
                file.write("," * (begins and count > 0) + text)
                count += begins
            file.write(TAIL)
        os.replace(aside, path)
    except OSError as error:
        raise KsegError(f"{path}: the polygons cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
    return count


def outlining(store: Store, image: StoredImage, clusters: tuple[int, ...] | None, min_area_px: int) -> Outlining:
    """What is outlined of an image, and how.

    Raises
    ------
    UsageError
        If there is no such cluster, or rasterio is needed and missing.
    """
    colors = colors_of(image, store.model.colors if store.has_model else None)
    k = len(colors)
    strange = [cluster for cluster in clusters or () if not 0 <= cluster < k]
    if strange:
        raise UsageError(f"{image.key} has no cluster {strange[0]}: they are 0 to {k - 1}")
    height, width = image.labels.shape
    wanted = wanted_labels(k, clusters)
    return Outlining(image.key, (height, width), wanted, colors, min_area_px, Placement.of(image.georeference))


def tracing(
    store: str, key: str, windows: Sequence[tuple[slice, slice]], how: Outlining, context: Context
) -> list[Delayed]:
    """The tasks that trace the windows of an image, in order."""
    task = delayed(trace_window, pure=False)
    shared = context.share(how)
    return [task(store, key, rows, columns, shared) for rows, columns in windows]


def trace_window(store: str, key: str, rows: slice, columns: slice, how: Outlining) -> WindowOutlines:
    """A task: the outlines of one window of an image's labels."""
    padded, inside = read_padded(StoredImage(store, key), rows, columns, len(how.colors))
    return outline_window(padded, inside, (rows.start, columns.start), how)


def in_order(tasks: Sequence[Delayed], context: Context) -> Iterator[WindowOutlines]:
    """Results one after the other, a few of them computed ahead: what is held does not grow with their number."""
    some = AHEAD * context.executor.workers
    for at in range(0, len(tasks), some):
        yield from context.compute(tasks[at : at + some])
