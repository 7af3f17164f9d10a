"""A large image whose small regions go to their neighbours, window by window.

In order: `write_uncleaned` for every piece, in the place of `write_window`; `patch_at` for every window of
`windows_to_clean`; joined (`clustering.cleaning`), these tell what changes in each, and `write_cleaned` makes its
labels and what is made of them. Until all of that is done the labels as K-means gives them are kept beside the others.
"""

from __future__ import annotations

import os

from .. import storage
from ..clustering.cleaning import WINDOW_PX, Changes, Cleaning, Patch, apply_changes, patch_of
from ..clustering.labelling import Labels
from ..layers import RAW_LAYER, labelled_layers, made_of_labels
from ..layers.layer import LayerInput, Layout
from ..layers.tiles import Region
from .manifest import image_folder
from .model import Model
from .nodes import read_plane
from .writing import raw_array, write_tiles, write_window


def cleaning_of(layout: Layout, model: Model | None) -> Cleaning | None:
    """How the labels of an image are cleaned; None: they are not."""
    return Cleaning(layout.min_region, model.centroids) if model is not None and layout.is_cleaned else None


def write_uncleaned(path: str, key: str, region: Region, window: LayerInput, layout: Layout) -> None:
    """Write a piece of all layers that labels do not decide, and its labels to where they wait; as `write_window`."""
    last = made_of_labels(layout)
    layers = [layer for layer in labelled_layers(layout) if layer not in last]
    write_window(path, key, region, window, layout, layers)
    if RAW_LAYER not in layers:
        write_tiles(os.path.join(image_folder(path, key), raw_array(layout)), RAW_LAYER, region, window, layout)


def windows_to_clean(layout: Layout) -> list[Region]:
    """The windows of an image that is cleaned, row by row: whole tiles."""
    return list(layout.windows(0, WINDOW_PX))


def patch_at(path: str, key: str, window: Region, layout: Layout, how: Cleaning) -> Patch:
    """What a window tells of its regions.

    Raises
    ------
    StoreError
        If its labels cannot be read.
    """
    return patch_of(_raw(path, key, window, layout), window, layout.shape, how)


def write_cleaned(path: str, key: str, window: Region, layout: Layout, changes: Changes) -> None:
    """Write a window of the labels and of what is made of them; doing it twice does no harm.

    Raises
    ------
    StoreError
        If its labels cannot be read.
    """
    labels = apply_changes(_raw(path, key, window, layout), changes)
    write_window(path, key, window, LayerInput(labels), layout, made_of_labels(layout))


def discard_raw(path: str, key: str, layout: Layout) -> None:
    """Remove what waited, unless it is kept: the image is about to be declared complete."""
    folder = os.path.join(image_folder(path, key), raw_array(layout))
    if layout.is_cleaned and not layout.keep_raw and storage.is_dir(folder):
        storage.remove_tree(folder)


def _raw(path: str, key: str, window: Region, layout: Layout) -> Labels:
    return read_plane(os.path.join(image_folder(path, key), raw_array(layout)), RAW_LAYER.spec(layout), window)
