"""The layers of named classes of stored images: made of their labels alone, whole or window by window, and verified.

In order: `begin_naming`; `name_window` for every window, in any order; `build_level` for every level; `end_naming`,
which says what the values stand for and declares the layers complete. `name_image` is all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .. import storage
from ..classes import Classes
from ..errors import StoreError
from ..layers import LABEL_LAYER
from ..layers.classes import ClassLayer, ClassMaskLayer
from ..layers.layer import LayerInput, Layout
from ..layers.tiles import Region, tile_windows
from . import ome
from .adding import create_layer, declare_complete, discard_layer
from .cuts import stored_layout
from .legend import Legend
from .manifest import image_facts, image_folder
from .markers import COMPLETE
from .model import Model
from .nodes import DAMAGE, read_document, read_plane, write_group
from .opening import StoredImage
from .record import ImageRecord
from .writing import build_level, write_labels_index, write_tiles

WINDOW_PX = 4096  # side of the windows that are looked up: some tens of megabytes
CLASS_LAYERS = (ClassLayer(), ClassMaskLayer())


@dataclass(frozen=True)
class Naming:
    """What the images of a store are to have of named classes; cheap to send to a worker.

    Parameters
    ----------
    classes
        Those with names.
    legend
        Of all classes.
    masks
        Whether there is a mask for each.
    tile
        Side of the store's chunks in pixels.
    """

    classes: Classes
    legend: Legend
    masks: bool
    tile: int

    @classmethod
    def of(cls, model: Model, tile: int, *, masks: bool = False) -> Naming | None:
        """Of a model; None where it has no classes."""
        if model.classes is None:
            return None
        return cls(model.classes, Legend.of_classes(model), masks, tile)

    @property
    def layers(self) -> list[ClassLayer]:
        """Those that images have."""
        wanted = CLASS_LAYERS if self.masks else CLASS_LAYERS[:1]
        return [layer.named(self.classes, self.legend.k) for layer in wanted]


class State(NamedTuple):
    """What an image has of its classes.

    Attributes
    ----------
    what
        ``renamed``: its pixels are right, but not what is said of them.
    shape
        (height, width) of the image.
    """

    what: Literal["done", "renamed", "to do"]
    shape: tuple[int, int]


def state_of(key: str, path: str, naming: Naming) -> State:
    """What an image has of its classes, by its documents.

    Raises
    ------
    StoreError
        If it is not whole.
    """
    image = StoredImage(path, key)
    if not image.complete or not image.has_labels:
        raise StoreError(f"{image.path}: not complete, so its labels have no classes")
    height, width = image.attributes["shape"]
    stated = [image_facts(os.path.join(image.path, layer.path())) for layer in naming.layers]
    facts = [{**layer.to_json(), "status": COMPLETE} for layer in naming.layers]
    if not all(_same_pixels(one, other) for one, other in zip(stated, facts, strict=True)):
        return State("to do", (height, width))
    more = not naming.masks and image.has(CLASS_LAYERS[1].path())
    same = stated == facts and not more and _is_described(image, naming)
    return State("done" if same else "renamed", (height, width))


def _same_pixels(stated: dict[str, Any] | None, facts: dict[str, Any]) -> bool:
    """Whether a layer is complete, and of the same clusters in the same order."""
    try:
        there = [] if stated is None else [each["clusters"] for each in stated["classes"]]
        wanted = [each["clusters"] for each in facts["classes"]]
        return stated is not None and stated.get("status") == COMPLETE and (stated["k"], there) == (facts["k"], wanted)
    except (KeyError, TypeError):
        return False


# ------------------------------------------------------------------------------------------------------- making them


def name_image(key: str, path: str, naming: Naming) -> int:
    """All of an image, window by window; returns its pixels.

    Raises
    ------
    StoreError
        If its labels cannot be read.
    OSError
        If it cannot be written.
    """
    layout = begin_naming(key, path, naming)
    for region in layout.windows(0, WINDOW_PX):
        name_window((key, region), path, naming, layout)
    for level in range(1, layout.levels):
        for region in layout.windows(level, WINDOW_PX):
            build_level(path, key, level, region, layout, naming.layers)
    end_naming(key, path, naming)
    return layout.shape[0] * layout.shape[1]


def begin_naming(key: str, path: str, naming: Naming) -> Layout:
    """The arrays, without a pixel."""
    layout = stored_layout(StoredImage(path, key), naming.tile)
    for layer in naming.layers:
        create_layer(path, key, layer, layout, pieces=False)
    return layout


def name_window(what: tuple[str, Region], path: str, naming: Naming, layout: Layout) -> None:
    """Look up a window of an image; whole tiles, or up to the image's edge.

    Raises
    ------
    StoreError
        If its labels cannot be read.
    """
    key, (rows, columns) = what
    folder = image_folder(path, key)
    side = naming.tile * max(1, WINDOW_PX // naming.tile)
    for down, across in tile_windows(rows.stop - rows.start, columns.stop - columns.start, side):
        region = (
            slice(rows.start + down.start, rows.start + down.stop),
            slice(columns.start + across.start, columns.start + across.stop),
        )
        try:
            labels = read_plane(os.path.join(folder, LABEL_LAYER.path()), LABEL_LAYER.spec(layout), region)
        except DAMAGE as error:
            raise StoreError(f"{folder}: its labels cannot be read ({error})") from error
        for layer in naming.layers:
            write_tiles(os.path.join(folder, layer.path()), layer, region, LayerInput(labels), layout)


def end_naming(key: str, path: str, naming: Naming) -> None:
    """Say what the values stand for, and last that the layers are complete; one that is not wanted goes."""
    image = StoredImage(path, key)
    layout = stored_layout(image, naming.tile)
    write_group(os.path.join(image.path, CLASS_LAYERS[0].node), described(image, naming))
    for layer in naming.layers:
        declare_complete(path, key, layer, layout, layer.to_json(), 0)
    if not naming.masks:
        discard_layer(path, key, CLASS_LAYERS[1])
    write_labels_index(image.path)


def unname_image(key: str, path: str) -> None:
    """Take the layers away."""
    folder = image_folder(path, key)
    if any(storage.is_dir(os.path.join(folder, layer.node)) for layer in CLASS_LAYERS):
        for layer in CLASS_LAYERS:
            discard_layer(path, key, layer)
        write_labels_index(folder)


def described(image: StoredImage, naming: Naming) -> dict[str, Any]:
    """The attributes of the label image of classes: names, colours and areas of its values."""
    record = ImageRecord.from_attributes(image.key, image.attributes)
    scale, (unit, _) = image.pixel_scale
    pyramid = ome.multiscales("classes", image.level_count, scale, unit)
    legend = naming.legend
    counts = legend.totals(record.counts)
    return ome.label_image(legend.colors, counts, legend.invalid, record.invalid, pyramid, legend.names)


# ---------------------------------------------------------------------------------------------------- verifying them


def wrong_classes(image: StoredImage, model: Model | None) -> Iterator[str]:
    """What is wrong with what an image says of its classes; their pixels are for `tally` to count."""
    naming = None if model is None else Naming.of(model, WINDOW_PX, masks=image.has(CLASS_LAYERS[1].path()))
    if naming is None:
        if image.has(CLASS_LAYERS[0].node):
            yield "it has classes, which its model does not have"
        return
    if not image.has_layer(CLASS_LAYERS[0]):
        yield "its classes are missing"
        return
    for layer in naming.layers:
        facts = {**layer.to_json(), "status": COMPLETE}
        if image_facts(os.path.join(image.path, layer.path())) != facts:
            yield f"{layer.called} not those of its model"
            return
    if not _is_described(image, naming):
        yield "what is said with its classes is not what its model says"


def _is_described(image: StoredImage, naming: Naming) -> bool:
    try:
        said = read_document(os.path.join(image.path, CLASS_LAYERS[0].node))["attributes"]
        return bool(said == described(image, naming))
    except (*DAMAGE, StoreError):
        return False
