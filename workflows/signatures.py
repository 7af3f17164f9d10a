"""Signatures of classes or clusters: of every image, and of all that share a model (``inspect --signatures``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kseg_core import storage
from kseg_core.clustering.groups import GroupSums
from kseg_core.config import ExecutionSettings
from kseg_core.errors import UsageError
from kseg_core.export.tables import write_table
from kseg_core.layers.tiles import Region
from kseg_core.shapes.object_bands import ImageBands
from kseg_core.shapes.object_table import ImageObjects
from kseg_core.shapes.objects import HALO
from kseg_core.shapes.regions import PixelArea
from kseg_core.shapes.signatures import COLUMNS, signature_rows, sums_of_classes
from kseg_core.store.opening import Store, StoredImage

from .computing.context import Context, merge_all
from .computing.executor import Progress
from .objects import ObjectRequest, Planned, measured_ahead, measuring, read_windows, sound_values

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Signatures:
    """What came of it: the rows of all images together, or of the only one; and why there are no values of the bands
    of some images, by key.
    """

    rows: tuple[Row, ...]
    without_bands: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        names = [name for name in COLUMNS if name != "image"]
        without = [{"key": key, "reason": reason} for key, reason in self.without_bands.items()]
        rows = [dict(zip(names, row[1:], strict=True)) for row in self.rows]
        return {"signatures": rows, "without_bands": without}


def write_signatures(
    request: ObjectRequest, execution: ExecutionSettings, progress: Progress | None = None
) -> Signatures:
    """Write a table of signatures; it appears whole or not at all.

    Raises
    ------
    UsageError, KsegError
        As `write_object_table`.
    """
    if request.settings.of == "segments":
        raise UsageError("--of segments: signatures are of classes or clusters; --objects measures segments")
    with measuring("classes", request, execution, progress) as (context, store, planned, without):
        sums = list(_sums_of_images(store, planned, context))
    together = _together(store, planned, sums)
    each = [_rows_of(image, own) for image, own in zip(planned, sums, strict=True)]
    write_table(request.table, COLUMNS, [*together, *(row for rows in each for row in rows)])
    return Signatures(tuple(together or (each[0] if len(each) == 1 else ())), without)


def _sums_of_images(store: Store, planned: Sequence[Planned], context: Context) -> Iterator[GroupSums | None]:
    """Of every image; None of one without a valid pixel."""
    found = measured_ahead(measure_classes, storage.absolute(store.path), planned, context)
    for image in planned:
        parts = [next(found) for _ in image.tasks]
        yield None if image.objects.legend is None else merge_all(parts)


def measure_classes(
    store: str, key: str, windows: Sequence[Region], objects: ImageObjects, bands: ImageBands | None
) -> GroupSums | None:
    """A task: the statistics of classes in some windows of an image."""
    image, legend = StoredImage(store, key), objects.legend
    if legend is None:
        return None
    parts = []
    for _, labels, samples in read_windows(image, windows, objects, bands):
        with sound_values(image):
            parts.append(sums_of_classes(labels[HALO:-HALO, HALO:-HALO], samples, legend))
    return merge_all(parts)


def _rows_of(image: Planned, sums: GroupSums | None) -> list[Row]:
    objects = image.objects
    if sums is None or objects.legend is None:
        return []
    return list(signature_rows(objects.key, objects.legend, sums, image.names, objects.area))


def _together(store: Store, planned: Sequence[Planned], sums: Sequence[GroupSums | None]) -> list[Row]:
    """The rows of all images whose bands are to be had, where they share a model."""
    if not store.has_model:
        return []
    measured = [(image, own) for image, own in zip(planned, sums, strict=True) if image.bands is not None and own]
    if not measured:
        return []
    first, _ = measured[0]
    areas = {image.objects.area for image, _ in measured}
    area = areas.pop() if len(areas) == 1 else PixelArea()
    legend = first.objects.legend
    assert legend is not None
    return list(signature_rows(None, legend, merge_all([own for _, own in measured]), first.names, area))
