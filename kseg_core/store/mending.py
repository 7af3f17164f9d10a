"""A large image of a store of which a part is damaged: which part, and what need not be made anew.

Only pixels are looked for here, by the checksums of their chunks and by what one array tells of another. Where an
image's documents are not what they were, or do not agree with each other, nothing of it is relied on.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import storage
from ..edge_settings import EdgeSettings, edge_facts
from ..errors import StoreError
from ..layers import labelled_layers
from ..layers.layer import Layout, Window
from ..layers.tiles import Region
from ..reading.sources import ImageSource
from .chunks import chunk_path, read_plane, write_plane
from .model import Model
from .nodes import read_document
from .record import ImageRecord
from .stored_image import DAMAGE, StoredImage
from .verify import verify_alone
from .writing import LABELS, arrays_are_sound, image_folder, parts_of_level

UNREADABLE = (*DAMAGE, StoreError)


# ------------------------------------------------------------------------------------------------------- documents


def sound_record(path: str, source: ImageSource, layout: Layout, model: Model) -> ImageRecord | None:
    """What a store says of an image whose documents are all sound; None where one of them is not.

    Parameters
    ----------
    path
        The store.
    source
        The image's own.
    layout
        Which arrays it must have.
    model
        What it was labelled with.
    """
    key = source.file.key
    folder = image_folder(path, key)
    try:
        facts = StoredImage(path, key).attributes
        record = ImageRecord.from_attributes(key, facts)
        sound = (
            record.attributes() == {**facts, "status": "complete"}
            and record.shape == source.shape
            and len(record.counts) == model.k
            and (record.sums is None or record.inertia == model.space.inertia(record.sums, model.points))
            and record.agrees_with(read_document(os.path.join(folder, LABELS))["attributes"])
            and arrays_are_sound(folder, layout)
        )
    except UNREADABLE:
        return None
    return record if sound else None


# --------------------------------------------------------------------------------------------------------- windows


def window_is_sound(path: str, key: str, rows: slice, columns: slice, layout: Layout) -> bool:
    """Whether a window of level 0 can be read, all of it, and its arrays agree.

    A chunk that holds nothing but fill values has no file, like one that is lost: of labels and of a copied image the
    window is then taken for damaged.

    Parameters
    ----------
    path, key
        The store and the image's name in it.
    rows, columns
        The window: whole tiles, or up to the image's edge.
    layout
        Of the image, whose documents are sound.
    """
    try:
        return _is_sound(StoredImage(path, key), (rows, columns), layout)
    except UNREADABLE:
        return False


def _is_sound(image: StoredImage, region: Region, layout: Layout) -> bool:
    """Labels, and what goes with them; whether a copy is that of the source, only the source could tell."""
    labels = np.asarray(image.labels[region])
    if ((labels >= layout.k) & (labels != layout.invalid)).any():
        return False
    for layer in labelled_layers(layout):
        array = image.layer(layer)
        if array is None:
            continue
        for first in np.ndindex(array.shape[:-2]) if layer.has_every_chunk else ():
            if not _all_there(os.path.join(image.path, layer.path()), region, layout, first):
                return False
            np.asarray(array[(*first, *region)])  # raises where a checksum is wrong
        if layer.disagreeing(array, Window(labels), region, layout):
            return False
    return True


def _all_there(folder: str, window: Region, layout: Layout, first: tuple[int, ...] = ()) -> bool:
    """Whether every chunk of a window of level 0 has a file."""
    down, across = (
        range(part.start // layout.tile, -(-part.stop // layout.tile)) for part in window
    )  # windows are of whole tiles, or up to the image's edge
    return all(storage.is_file(chunk_path(folder, (*first, row, column))) for row in down for column in across)


def mend_level(path: str, key: str, level: int, region: Region, layout: Layout) -> None:
    """Write what of a window of a level is not as it is made from the level above, which must be sound.

    Parameters
    ----------
    path, key, level, region, layout
        As `writing.build_level` has them.
    """
    for part in parts_of_level(path, key, level, region, layout):
        try:
            sound = read_plane(part.folder, part.spec, part.window, part.first).tobytes() == part.made.tobytes()
        except UNREADABLE:
            sound = False
        if not sound:
            write_plane(part.folder, part.spec, part.window, part.made, part.first)


# ----------------------------------------------------------------------------------------------------------- edges


def edges_are_sound(path: str, source: ImageSource, settings: EdgeSettings) -> bool:
    """Whether an image has all its edges, found with these settings."""
    try:
        image = StoredImage(path, source.file.key)
        if image.edges is None or verify_alone(image):
            return False
        told: Any = image.edges.attrs["kseg"]
        facts = edge_facts(settings, source.file, source.mask)
        return bool({name: told.get(name) for name in facts} == facts and source.file.is_as(told))
    except UNREADABLE:
        return False
