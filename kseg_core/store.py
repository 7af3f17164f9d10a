"""The Zarr v3 layout of a run: what is where, how it is written, how it is opened.

See ``docs/store-format.md``. Arrays come before the attributes that vouch for them; a store is ``complete`` last of
all.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, ZstdCodec

from . import ome
from .config import OutputSettings
from .errors import StoreError
from .labelling import Labels, invalid_label
from .manifest import FORMAT, KINDS, read_attributes, remove_kseg_store
from .model import Model
from .tiles import tile_windows

if TYPE_CHECKING:
    import xarray

_LABELS = ZstdCodec(level=1)
_MASKS = BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.bitshuffle, typesize=1)
WRITE_SIDE = 1024  # masks are made and written in squares of about so many pixels: k megabytes at a time
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
    try:
        root = zarr.create_group(path, attributes={"kseg": facts})
        root.create_group("images")
    except OSError as error:
        raise StoreError(f"{path}: the output cannot be written ({error.strerror or error})") from error


def update_attributes(path: str, changes: dict[str, Any]) -> None:
    """Change the store's own attributes, in one write."""
    root = zarr.open_group(path, mode="r+")
    root.attrs["kseg"] = {**dict(root.attrs["kseg"]), **changes}  # type: ignore[arg-type]


def write_model(path: str, model: Model) -> None:
    """Write the store's model."""
    root = zarr.open_group(path, mode="r+")
    model.write(root.create_group("model", overwrite=True))


def save_model(path: str, model: Model, *, overwrite: bool) -> None:
    """Write a model as a group of its own; it appears whole or not at all."""
    path = os.fspath(path).rstrip(os.sep) or path  # what is written aside must not lie inside
    if os.path.lexists(path) and not overwrite:
        what = "a kseg store or model" if read_attributes(path) else "something else"
        raise StoreError(f"{path} already exists ({what}); choose another output, or --overwrite a kseg one")
    if os.path.lexists(path) and read_attributes(path) is None:
        raise StoreError(f"{path} is not a kseg store; it is left alone. Choose another output with -o")
    aside = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    try:
        model.write(zarr.create_group(aside))
        remove_kseg_store(path)
        os.replace(aside, path)
    except OSError as error:
        raise StoreError(f"{path}: the model cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What a store says of one image.

    Parameters
    ----------
    key, source
        Its name in the store and the path it came from.
    size, modified
        Bytes and modification time (ns) of the file.
    shape
        (height, width).
    counts, invalid
        Pixels of each cluster, and invalid ones.
    inertia
        In squared feature units.
    """

    key: str
    source: str
    size: int
    modified: int
    shape: tuple[int, int]
    counts: tuple[int, ...]
    invalid: int
    inertia: float

    def attributes(self) -> dict[str, Any]:
        """As JSON values."""
        valid = sum(self.counts)
        return {
            "source": self.source,
            "size": self.size,
            "modified": self.modified,
            "shape": list(self.shape),
            "counts": list(self.counts),
            "invalid": self.invalid,
            "inertia": self.inertia,
            "mse": self.inertia / valid if valid else None,
            "status": "complete",
        }


def write_image(
    path: str,
    record: ImageRecord,
    labels: Labels,
    colors: NDArray[np.uint8],
    output: OutputSettings,
    own_model: Model | None = None,
) -> None:
    """Write one image's labels and masks; its attributes, which declare it complete, come last.

    Parameters
    ----------
    path
        The store.
    record
        What to say of the image.
    labels
        (y, x).
    colors
        uint8 (k, 3): what to paint the clusters with.
    output
        Tile size and masks.
    own_model
        A model to keep with the image (``--scope image``).
    """
    k = len(colors)
    images = zarr.open_group(path, path="images", mode="r+")
    group = images.create_group(record.key, overwrite=True)
    index = group.create_group("labels", attributes=ome.labels_index(["kmeans"]))
    reserved = invalid_label(k)
    attributes = ome.label_image(colors, list(record.counts), reserved, record.invalid)
    kmeans = index.create_group("kmeans", attributes=attributes)
    height, width = record.shape
    chunks = (min(output.tile, height), min(output.tile, width))
    array = kmeans.create_array(
        "0",
        shape=record.shape,
        chunks=chunks,
        dtype=labels.dtype,
        fill_value=reserved,
        compressors=_LABELS,
        dimension_names=["y", "x"],
    )
    array[...] = labels
    if k and output.writes_masks(k):
        masks = group.create_array(
            "masks",
            shape=(k, *record.shape),
            chunks=(1, *chunks),
            dtype="bool",
            fill_value=False,
            compressors=_MASKS,
            dimension_names=["cluster", "y", "x"],
        )
        clusters = np.arange(k, dtype=labels.dtype)[:, None, None]
        side = output.tile * max(1, WRITE_SIDE // output.tile)
        for rows, columns in tile_windows(height, width, side):
            masks[:, rows, columns] = labels[None, rows, columns] == clusters
    if own_model is not None:
        own_model.write(group.create_group("model"))
    group.attrs["kseg"] = record.attributes()


# ----------------------------------------------------------------------------------------------- reading


# What Zarr and its codecs raise where files are missing, cut short or not what they should be.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError)


def _read_model(path: str) -> Model:
    try:
        return Model.read(zarr.open_group(path, mode="r"))
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise StoreError(f"{path}: a damaged model ({error})") from error


def load_model(path: str) -> Model:
    """The model at a path: a model of its own, or that of a store."""
    attributes = read_attributes(path)
    if attributes is None or attributes.get("kind") not in KINDS:
        raise StoreError(f"{path}: no kseg model or store there")
    if attributes["kind"] == "model":
        return _read_model(path)
    config = attributes.get("config") or {}
    if (config.get("fit") or {}).get("scope") == "image":
        raise StoreError(f"{path}: each of its images has a model of its own (--scope image); there is none for all")
    inside = os.path.join(path, "model")
    if not os.path.isdir(inside):
        raise StoreError(f"{path}: a store without a model: its run did not get that far")
    return _read_model(inside)


class StoredImage:
    """One image of a store.

    Parameters
    ----------
    store
        Path of the store.
    key
        The image's name in it.
    """

    def __init__(self, store: str, key: str) -> None:
        self.key = key
        self.path = os.path.join(store, "images", key)
        try:
            self._group = zarr.open_group(self.path, mode="r")
            self.attributes: dict[str, Any] = dict(self._group.attrs.get("kseg") or {})  # type: ignore[arg-type]
        except _DAMAGE as error:
            raise StoreError(f"{self.path}: a damaged image ({error})") from error

    @property
    def source(self) -> str:
        """The path it came from."""
        return str(self.attributes.get("source"))

    @property
    def labels(self) -> zarr.Array[Any]:
        """(y, x): 0 to k - 1, the dtype's largest value where invalid."""
        return _array(self._group, "labels/kmeans/0")

    @property
    def masks(self) -> zarr.Array[Any] | None:
        """Bool (k, y, x), or None where none were made."""
        return _array(self._group, "masks") if self.has_masks else None

    @property
    def has_masks(self) -> bool:
        """Whether masks were made."""
        return "masks" in self._group

    @property
    def model(self) -> Model | None:
        """The image's own model, with ``--scope image``."""
        return _read_model(os.path.join(self.path, "model")) if "model" in self._group else None

    def to_xarray(self) -> xarray.Dataset:
        """``labels`` (y, x) and, where made, ``masks`` (cluster, y, x); read when used.

        Raises
        ------
        ImportError
            If xarray is not installed (``pip install 'kseg-batch[xarray]'``).
        """
        import xarray

        def opened(group: str) -> xarray.Dataset:
            path = os.path.join(self.path, group) if group else self.path
            dataset: xarray.Dataset = xarray.open_zarr(
                path, consolidated=False, zarr_format=3, chunks=None, mask_and_scale=False
            )
            return dataset

        dataset = opened("labels/kmeans").rename({"0": "labels"})
        if self.has_masks:
            dataset["masks"] = opened("")["masks"]
        return dataset.assign_attrs(self.attributes)


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    try:
        node = group[name]
    except KeyError as error:
        raise StoreError(f"{group.store_path}: {name} is missing") from error
    except _DAMAGE as error:
        raise StoreError(f"{group.store_path}: {name} cannot be read ({error})") from error
    if not isinstance(node, zarr.Array):
        raise StoreError(f"{group.store_path}: {name} is not an array")
    return node


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
        self.keys_on_disk = sorted(e.name for e in os.scandir(folder) if e.is_dir()) if os.path.isdir(folder) else []
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
        return os.path.isdir(os.path.join(self.path, "model"))

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
