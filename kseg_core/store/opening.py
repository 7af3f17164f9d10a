"""The Zarr v3 layout of a run: what is where, how it is written, how it is opened.

See ``docs/store-format.md``. Arrays come before the attributes that vouch for them; a store is ``complete`` last of
all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from .. import storage
from ..errors import StoreError
from ..layers.layer import Layout
from ..storage.beside import aside
from .manifest import FORMAT, KINDS, read_attributes, remove_kseg_store
from .model import Model
from .nodes import group_document, read_document, write_group
from .record import ImageRecord
from .stored_image import StoredImage, read_model
from .writing import (
    build_level,
    create_image,
    finish_image,
    remove_image,
    write_image,
    write_window,
)

__all__ = [
    "ImageRecord",
    "Layout",
    "Store",
    "StoredImage",
    "build_level",
    "create_image",
    "create_store",
    "finish_image",
    "load_model",
    "open_store",
    "remove_image",
    "save_model",
    "sweep_store",
    "update_attributes",
    "write_image",
    "write_model",
    "write_window",
]

_SOFTWARE = ("kseg-batch", "numpy", "numba", "zarr", "pillow", "simplejpeg", "tifffile", "imagecodecs")


def software_versions() -> dict[str, str]:
    """Versions of the packages that decide what a store holds."""
    return {name: metadata.version(name) for name in _SOFTWARE}


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


# ----------------------------------------------------------------------------------------------- writing


def create_store(path: str, attributes: dict[str, Any]) -> None:
    """An empty store with status ``running``.

    Raises
    ------
    StoreError
        If it cannot be made there.
    """
    facts = {"format": FORMAT, "kind": "store", "status": "running", **attributes}
    facts |= {"software": software_versions(), "created": now()}
    new = path if storage.is_remote(path) else aside(path)
    try:
        write_group(os.path.join(new, "images"))
        write_group(new, {"kseg": facts})
        if new != path:
            os.rename(new, path)
    except OSError as error:
        raise StoreError(f"{path}: the output cannot be written ({error.strerror or error})") from error
    finally:
        if new != path:
            storage.remove_tree(new, ignore_errors=True)


def update_attributes(path: str, changes: dict[str, Any], *, without: str | None = None) -> None:
    """Change the store's own attributes, in one write; ``without`` one that is there no more."""
    document = read_document(path)
    attributes = document["attributes"]
    facts = {name: value for name, value in attributes["kseg"].items() if name != without}
    write_group(path, {**attributes, "kseg": {**facts, **changes}})


def sweep_store(path: str) -> None:
    """Remove what killed jobs were writing of the store's own documents; see `storage.sweep`."""
    for folder in (path, os.path.join(path, "images")):
        storage.sweep(folder)


def images_group_is_sound(path: str) -> bool:
    """Whether the group that all images are in says that it is one."""
    try:
        return read_document(os.path.join(path, "images")) == group_document()
    except (OSError, ValueError):
        return False


def mend_images_group(path: str) -> None:
    """Have it say so."""
    if not images_group_is_sound(path):
        write_group(os.path.join(path, "images"))


def write_model(path: str, model: Model) -> None:
    """Write the store's model; it appears whole or not at all."""
    inside = os.path.join(path, "model")
    if storage.is_remote(path):  # what makes a model of it comes last
        storage.remove_tree(inside)
        model.write(inside)
        return
    new = aside(path)
    try:
        model.write(new)
        storage.remove_tree(inside, ignore_errors=True)
        os.rename(new, inside)
    finally:
        storage.remove_tree(new, ignore_errors=True)


def save_model(path: str, model: Model, *, overwrite: bool) -> None:
    """Write a model as a group of its own; it appears whole or not at all."""
    path = os.fspath(path).rstrip(os.sep) or path  # what is written aside must not lie inside
    there = storage.exists(path)
    if there and not overwrite:
        what = "a kseg store or model" if read_attributes(path) else "something else"
        raise StoreError(f"{path} already exists ({what}); choose another output, or --overwrite a kseg one")
    if there and read_attributes(path) is None:
        raise StoreError(f"{path} is not a kseg store; it is left alone. Choose another output with -o")
    new = path if storage.is_remote(path) else aside(path)
    try:
        if new == path:
            remove_kseg_store(path)
        model.write(new)
        if new != path:
            remove_kseg_store(path)
            os.replace(new, path)
    except OSError as error:
        raise StoreError(f"{path}: the model cannot be written ({error.strerror or error})") from error
    finally:
        if new != path:
            storage.remove_tree(new, ignore_errors=True)


# ----------------------------------------------------------------------------------------------- reading


def load_model(path: str) -> Model:
    """The model at a path: a model of its own, or that of a store."""
    attributes = read_attributes(path)
    if attributes is None or attributes.get("kind") not in KINDS:
        raise StoreError(f"{path}: no kseg model or store there")
    if attributes["kind"] == "model":
        return read_model(path)
    config = attributes.get("config") or {}
    if (config.get("fit") or {}).get("scope") == "image":
        raise StoreError(f"{path}: each of its images has a model of its own (--scope image); there is none for all")
    inside = os.path.join(path, "model")
    if not storage.is_dir(inside):
        raise StoreError(f"{path}: a store without a model: its run did not get that far")
    return read_model(inside)


def images_in(folder: str) -> list[str]:
    """Names of the groups in a folder, in any order."""
    with storage.scan(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir()]


class Store(Mapping[str, StoredImage]):
    """A kseg store: its images by key, or by the path they came from."""

    def __init__(self, path: str) -> None:
        attributes = read_attributes(path)
        if attributes is None or attributes.get("kind") != "store":
            what = "a kseg model, not a store" if attributes else "no kseg store there"
            raise StoreError(f"{path}: {what}")
        if attributes.get("format") != FORMAT:
            raise StoreError(
                f"{path}: a store of format {attributes.get('format')}; this version reads format {FORMAT}"
            )
        self.path = path
        self.attributes = attributes
        folder = os.path.join(path, "images")
        self.keys_on_disk = sorted(images_in(folder)) if storage.is_dir(folder) else []
        self._by_source: dict[str, str] | None = None

    @property
    def model(self) -> Model:
        """The model all images share.

        Raises
        ------
        StoreError
            If each image has its own, or it is damaged.
        """
        return load_model(self.path)

    @property
    def has_model(self) -> bool:
        """Whether all images share one model."""
        return storage.is_dir(os.path.join(self.path, "model"))

    @property
    def is_labelled(self) -> bool:
        """Whether a run made it, and not ``edges`` alone."""
        return "edges" not in (self.attributes.get("config") or {})

    @property
    def complete(self) -> bool:
        """Whether the run that made it has finished."""
        return bool(self.attributes.get("status") == "complete")

    def __getitem__(self, name: str) -> StoredImage:
        if name in self.keys_on_disk:
            return StoredImage(self.path, name)
        if self._by_source is None:
            self._by_source = {StoredImage(self.path, key).source: key for key in self.keys_on_disk}
        return StoredImage(self.path, self._by_source[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_on_disk)

    def __len__(self) -> int:
        return len(self.keys_on_disk)


def open_store(path: str) -> Store:
    """Open a store made by a run.

    Raises
    ------
    StoreError
        If there is none, or it is of another format.
    """
    return Store(os.fspath(path))
