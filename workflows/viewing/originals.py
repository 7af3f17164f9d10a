"""From a store's image to what it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kseg_core.errors import StoreError
from kseg_core.reading.sources import ImageSource
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage, load_model
from kseg_core.store.originals import Originals, ShownPixels, open_shown


def stored_image(store: Store, key: str) -> StoredImage:
    """An image of a store by its key.

    Raises
    ------
    StoreError
        If there is none, or it is damaged.
    """
    try:
        return store[key]
    except KeyError:
        raise StoreError(f"{store.path}: it has no image {key}") from None


def model_of(store: Store, image: StoredImage) -> Model | None:
    """The model that labelled an image: the store's, or its own; None where it has no valid pixel.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    return load_model(store.path) if store.has_model else image.model


def open_original(store: Store, key: str, *, masked: bool = True) -> ImageSource:
    """The file an image of a store was made from, opened as its run did.

    Parameters
    ----------
    store, key
        Which image.
    masked
        Whether the run's mask, if it had one, is looked for too.

    Raises
    ------
    UnreadableImage
        If the source (or its mask) has gone, has changed since it was labelled, or cannot be read: one line.
    StoreError
        If there is no such image.
    """
    return Originals.of(store.attributes).open(stored_image(store, key), masked=masked)


@contextmanager
def open_pixels(store: Store, key: str) -> Iterator[ShownPixels]:
    """An image's pixels as a person sees them, by windows: the store's copy where it has one, else the source's.

    Samples of bands are shown as the colours of their clusters are. To be opened in the task that reads.

    Raises
    ------
    UnreadableImage
        As `open_original`.
    StoreError
        If there is no such image, or its copy is damaged.
    """
    image = stored_image(store, key)
    model = model_of(store, image)
    with open_shown(image, Originals.of(store.attributes), None if model is None else model.bands) as pixels:
        yield pixels
