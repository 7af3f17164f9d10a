"""A store, its images and its model: made, opened and read.

See ``docs/store-format.md``. Arrays come before the attributes that vouch for them; a store is ``complete`` last of
all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from .. import storage
from ..classes import Classes
from ..command_lines import command_line, place
from ..errors import StoreError
from ..images.geo import GRID_MAPPING, GeoReference
from ..layers import LABEL_LAYER, LAYERS
from ..layers.layer import Layer
from ..layers.tiles import level_shape
from ..sizes import counted
from ..storage.sidecars import appearing
from .manifest import FORMAT, added_alone, folders_of, image_facts, images_of, read_attributes
from .markers import COMPLETE, image_is_complete, is_complete, layer_is_complete
from .model import CLASSES, Model
from .nodes import DAMAGE, group_document, read_document, write_group
from .record import ImageRecord
from .schemas import require_sound
from .writing import LABELS

if TYPE_CHECKING:
    import xarray
    import zarr

T = TypeVar("T")
_SOFTWARE = ("kseg-batch", "numpy", "numba", "zarr", "pillow", "simplejpeg", "tifffile", "imagecodecs")


def software_versions() -> dict[str, str]:
    """Versions of the packages that decide what a store holds."""
    return {name: metadata.version(name) for name in _SOFTWARE}


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


# ----------------------------------------------------------------------------------------------- writing


def create_store(path: str, attributes: dict[str, Any]) -> None:
    """An empty store with status ``running``, with the folders that its ``names`` tell.

    Raises
    ------
    StoreError
        If it cannot be made there.
    """
    facts = {"format": FORMAT, "kind": "store", "status": "running", **attributes}
    facts |= {"software": software_versions(), "created": now()}
    try:
        with appearing(path) as new:
            for folder in _image_groups(facts):
                write_group(os.path.join(new, folder))
            write_group(new, {"kseg": facts})
    except OSError as error:
        raise StoreError(f"{path}: the output cannot be written ({error.strerror or error})") from error


def update_attributes(path: str, changes: dict[str, Any], *, without: str | None = None) -> None:
    """Change the store's own attributes, in one write; ``without`` one that is there no more."""
    document = read_document(path)
    attributes = document["attributes"]
    facts = {name: value for name, value in attributes["kseg"].items() if name != without}
    write_group(path, {**attributes, "kseg": {**facts, **changes}})


def sweep_store(path: str) -> None:
    """Remove what killed jobs were writing of the store's own documents; see `storage.sweep`."""
    for folder in ("", *_image_groups(image_facts(path))):
        storage.sweep(os.path.join(path, folder))


def unsound_groups(path: str) -> list[str]:
    """Which groups of images are missing, or do not say that they are groups."""
    return [folder for folder in _image_groups(image_facts(path)) if not _is_group(os.path.join(path, folder))]


def mend_image_groups(path: str) -> None:
    """Have them say so."""
    for folder in unsound_groups(path):
        write_group(os.path.join(path, folder))


def _image_groups(attributes: dict[str, Any] | None) -> list[str]:
    """The group that all images are in, and those within it."""
    return ["images", *(os.path.join("images", folder) for folder in folders_of(attributes))]


def _is_group(folder: str) -> bool:
    try:
        return read_document(folder) == group_document()
    except (OSError, ValueError):
        return False


def write_model(path: str, model: Model) -> None:
    """Write the store's model; it appears whole or not at all."""
    with appearing(path, _remove_folder, within="model") as new:
        model.write(new)


def write_classes(folder: str, classes: Classes | None) -> None:
    """Have a model in a group of its own say that these are its classes, in one write; None: it has none."""
    document = read_document(folder)
    attributes = document["attributes"]
    facts = {name: told for name, told in attributes["kseg"].items() if name != CLASSES}
    told = {} if classes is None else {CLASSES: classes.to_json()}
    write_group(folder, {**attributes, "kseg": {**facts, **told}})


def _remove_folder(path: str) -> None:
    if storage.is_dir(path):
        storage.remove_tree(path)


# ----------------------------------------------------------------------------------------------- reading


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
        import zarr

        self.store, self.key = store, key
        self.path = os.path.join(store, "images", key)
        try:
            self._group = zarr.open_group(storage.for_zarr(self.path), mode="r")
            self.attributes: dict[str, Any] = dict(self._group.attrs.get("kseg") or {})  # type: ignore[arg-type]  # checked below
        except DAMAGE as error:
            raise StoreError(f"{self.path}: a damaged image ({error})") from error
        require_sound(self.path, self.attributes, ImageRecord)

    def __repr__(self) -> str:
        height, width = self.attributes.get("shape") or (0, 0)
        return f"StoredImage({self.key!r} of {self.store!r}, {height} x {width})"

    def has(self, name: str) -> bool:
        """Whether there is a node of that name.

        Raises
        ------
        StoreError
            If there is one that cannot be read.
        """
        try:
            return name in self._group
        except DAMAGE as error:
            raise StoreError(f"{self.path}: {name} cannot be read ({error})") from error

    def array(self, name: str) -> zarr.Array[Any]:
        """An array by its path in the image's group.

        Raises
        ------
        StoreError
            If it is missing, or damaged as far as its document tells.
        """
        return _array(self._group, name)

    @property
    def complete(self) -> bool:
        """Whether it is whole, by what is said of it."""
        return image_is_complete(self.attributes)

    @property
    def source(self) -> str:
        """The path it came from."""
        return str(self.attributes.get("source"))

    @cached_property
    def labels(self) -> zarr.Array[Any]:
        """(y, x): 0 to k - 1, the dtype's largest value where invalid."""
        return _array(self._group, LABEL_LAYER.path())

    @cached_property
    def levels(self) -> list[zarr.Array[Any]]:
        """The label pyramid: ``labels`` itself, and each level half the size of the one before."""
        return self.layer_levels(LABEL_LAYER)

    @cached_property
    def image(self) -> zarr.Array[Any] | None:
        """The image itself (c, y, x), or None where it was not copied."""
        return self.layer(LAYERS["copy"])

    @cached_property
    def image_levels(self) -> list[zarr.Array[Any]]:
        """The pyramid of the copied image; empty where it was not copied."""
        return [] if self.image is None else self.layer_levels(LAYERS["copy"])

    @property
    def georeference(self) -> GeoReference | None:
        """CRS and transform of level 0, where known."""
        groups = dict.fromkeys(os.path.dirname(layer.path()) for layer in LAYERS.values())
        for name in (os.path.join(group, GRID_MAPPING) for group in groups):  # without labels: beside edges or segments
            if self.has(name):
                return GeoReference.from_attributes(dict(_array(self._group, name).attrs))
        return None

    @property
    def pixel_scale(self) -> tuple[tuple[float, float], tuple[str | None, str | None]]:
        """(y, x): the sides of a pixel as OME-Zarr has them, and their units; 1 and None where not known."""
        return self._of_multiscales(_pixel_scale, "how large a pixel is")

    @property
    def level_count(self) -> int:
        """How many levels its labels have, by what is said of them."""
        return self._of_multiscales(lambda described: len(described["datasets"]), "how many levels they have")

    def _of_multiscales(self, made: Callable[[Any], T], what: str) -> T:
        try:
            ome: Any = self._group[LABELS if self.has_labels else LAYERS["segments"].node].attrs["ome"]
            (described,) = ome["multiscales"]
            return made(described)
        except (*DAMAGE, IndexError) as error:
            raise StoreError(f"{self.path}: its labels do not say {what} ({error})") from error

    @property
    def origin(self) -> dict[str, Any]:
        """Source, size and modification time of its file, by what is said with its labels; empty where nothing is."""
        try:
            told: Any = self._group[LABELS].attrs.get("kseg")
        except DAMAGE:
            return {}
        return told if isinstance(told, dict) else {}

    @cached_property
    def masks(self) -> zarr.Array[Any] | None:
        """Bool (k, y, x), or None where none were made."""
        return self.layer(LAYERS["masks"])

    @cached_property
    def confidence(self) -> zarr.Array[Any] | None:
        """uint8 (y, x): how clearly each pixel belongs to its cluster, 0 to 254; 255 where invalid. None: not made."""
        return self.layer(LAYERS["confidence"])

    @cached_property
    def has_labels(self) -> bool:
        """Whether it was labelled; a store made by ``edges`` alone has none."""
        return self.has_layer(LABEL_LAYER)

    @cached_property
    def edges(self) -> zarr.Array[Any] | None:
        """Bool (y, x): Canny edges, how they were found in its ``kseg`` attributes. None: not made, or not finished."""
        return self.layer(LAYERS["edges"])

    @cached_property
    def has_edges(self) -> bool:
        """Whether edges were made."""
        return self.edges is not None

    @cached_property
    def segments(self) -> zarr.Array[Any] | None:
        """uint32 (y, x): segments from 1, 0 where invalid; a table of them is in ``array("segments/area")`` and the
        like. None: not made, or not finished.
        """
        return self.layer(LAYERS["segments"])

    @cached_property
    def classes(self) -> zarr.Array[Any] | None:
        """uint8 or uint16 (y, x): the class of each pixel, as ``classes.names(k)`` of its model has them; the dtype's
        largest value where invalid. None: its model has no classes.
        """
        return self.layer(LAYERS["classes"])

    @cached_property
    def class_masks(self) -> zarr.Array[Any] | None:
        """Bool (n, y, x): a mask of each class, or None where none were made."""
        return self.layer(LAYERS["class_masks"])

    def has_layer(self, layer: Layer) -> bool:
        """Whether a layer was made, and finished."""
        if not self.has(layer.node or layer.path()):
            return False
        return not layer.added or layer_is_complete(self._stated(layer), layer.counted)

    def claims(self, layer: Layer) -> bool:
        """Whether it says that it has a layer that was added, be that so or not."""
        stated = self._stated(layer) if layer.added and self.has(layer.node or layer.path()) else None
        return isinstance(stated, dict) and stated.get("status") == COMPLETE

    def _stated(self, layer: Layer) -> object:
        """What is said of a layer that was added."""
        return _array(self._group, layer.path()).attrs.get("kseg")

    def layer(self, layer: Layer) -> zarr.Array[Any] | None:
        """A layer's own array, of level 0; None where it was not made."""
        return _array(self._group, layer.path()) if self.has_layer(layer) else None

    def layer_levels(self, layer: Layer) -> list[zarr.Array[Any]]:
        """The pyramid of a layer: as many levels as there are without a gap."""
        names = [layer.path()]
        while layer.group is not None and storage.is_dir(os.path.join(self.path, layer.path(len(names)))):
            names.append(layer.path(len(names)))
        return [_array(self._group, name) for name in names]

    @property
    def model(self) -> Model | None:
        """The image's own model, with ``--scope image``."""
        return Model.in_folder(os.path.join(self.path, "model")) if self.has("model") else None

    def to_xarray(self, level: int = 0) -> xarray.Dataset:
        """The arrays of one level, read when used.

        ``labels`` (y, x) and, where made, ``image`` (c, y, x); of level 0 also ``masks`` (cluster, y, x),
        ``confidence`` and ``edges`` (y, x). A georeferenced image has the coordinates ``x``, ``y`` and
        ``spatial_ref``, as rioxarray reads them.

        Parameters
        ----------
        level
            Of the pyramid; 0 is the image itself.

        Raises
        ------
        ValueError
            If there is no such level.
        ImportError
            If xarray is not installed (``pip install 'kseg-batch[xarray]'``).
        """
        import xarray

        levels = len(self.levels) if self.has_labels else 1
        if not 0 <= level < levels:
            raise ValueError(f"expected a level from 0 to {levels - 1}, got {level}")
        dataset, groups = xarray.Dataset(), dict[str, dict[str, str]]()
        for layer in LAYERS.values():
            if (level == 0 or layer.group is not None) and self.has_layer(layer):
                group, name = os.path.split(layer.path(level))
                groups.setdefault(group, {})[name] = "image" if layer.name == "copy" else layer.name
        for group, names in groups.items():
            dataset = dataset.assign(self._opened(group, names).data_vars)
        if (geo := self.georeference) is not None:
            geo = geo.at_level(level)
            dataset = dataset.assign_coords({GRID_MAPPING: xarray.Variable((), 0, geo.attributes())})
            described = geo.axis_attributes()
            height, width = level_shape(tuple(self.attributes["shape"]), level)
            for name, values in geo.coordinates((height, width)).items():
                dataset = dataset.assign_coords({name: xarray.Variable(name, values, dict(described[name]))})
            for variable in dataset.data_vars.values():
                variable.encoding["grid_mapping"] = GRID_MAPPING
        return dataset.assign_attrs(self.attributes)

    def _opened(self, group: str, names: dict[str, str]) -> xarray.Dataset:
        """Some arrays of a group by new names, and nothing else of it: levels share dimensions but not their sizes."""
        import xarray
        import zarr

        there = self._group[group] if group else self._group
        others = [name for name in there.array_keys() if name not in names] if isinstance(there, zarr.Group) else []
        opened: xarray.Dataset = xarray.open_zarr(
            storage.for_zarr(os.path.join(self.path, group) if group else self.path),
            consolidated=False,
            zarr_format=3,
            chunks=None,
            mask_and_scale=False,
            drop_variables=others,
        )
        for variable in opened.variables.values():
            variable.attrs.pop("grid_mapping", None)
        return opened.rename(names)


def _pixel_scale(described: Any) -> tuple[tuple[float, float], tuple[str | None, str | None]]:
    axes = {axis["name"]: axis.get("unit") for axis in described["axes"]}
    scale = described["datasets"][0]["coordinateTransformations"][0]["scale"]
    return (float(scale[-2]), float(scale[-1])), (axes["y"], axes["x"])


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    import zarr

    try:
        node = group[name]
    except KeyError as error:
        raise StoreError(f"{group.store_path}: {name} is missing") from error
    except DAMAGE as error:
        raise StoreError(f"{group.store_path}: {name} cannot be read ({error})") from error
    if not isinstance(node, zarr.Array):
        raise StoreError(f"{group.store_path}: {name} is not an array")
    if 0 in (*node.shape[-2:], *node.chunks):  # which Zarr does not look at either
        raise StoreError(f"{group.store_path}: the shape of {name} is damaged")
    if not isinstance(node.metadata.attributes, dict):  # which Zarr does not look at
        raise StoreError(f"{group.store_path}: the attributes of {name} are damaged")
    return node


def _no_images(model: str) -> str:
    label = command_line("apply", "INPUT", "--model", place(model), "-o", "OUT.zarr")
    return f"a kseg model, not a store, so it has no images; label some with it ({label}), and give that store"


class Store(Mapping[str, StoredImage]):
    """A kseg store: its images by key, or by the path they came from."""

    def __init__(self, path: str) -> None:
        attributes = read_attributes(path)
        if attributes is None or attributes.get("kind") != "store":
            raise StoreError(f"{path}: {_no_images(path) if attributes else 'no kseg store there'}")
        if attributes.get("format") != FORMAT:
            raise StoreError(
                f"{path}: a store of format {attributes.get('format')}; this version reads format {FORMAT}"
            )
        self.path = path
        self.attributes = attributes
        self._keys = dict.fromkeys(sorted(images_of(path)))
        self._by_source: dict[str, str] | None = None

    def __repr__(self) -> str:
        state = "" if self.complete else ", not complete"
        return f"Store({self.path!r}, {counted(len(self), 'image')}{state})"

    @property
    def model(self) -> Model:
        """The model all images share.

        Raises
        ------
        StoreError
            If each image has its own, or it is damaged.
        """
        return Model.load(self.path)

    @property
    def classes(self) -> Classes | None:
        """What the clusters of the model that all images share are called; None: they have no names."""
        return self.model.classes if self.has_model else None

    @property
    def has_model(self) -> bool:
        """Whether all images share one model."""
        return storage.is_dir(os.path.join(self.path, "model"))

    @property
    def is_labelled(self) -> bool:
        """Whether a run made it, and not ``edges`` or the like alone."""
        return added_alone(self.attributes) is None

    @property
    def complete(self) -> bool:
        """Whether the run that made it has finished."""
        return is_complete(self.attributes)

    def __getitem__(self, name: str) -> StoredImage:
        if name in self._keys:
            return StoredImage(self.path, name)
        if self._by_source is None:
            self._by_source = {StoredImage(self.path, key).source: key for key in self._keys}
        return StoredImage(self.path, self._by_source[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def open_store(path: str) -> Store:
    """Open a store made by a run.

    Raises
    ------
    StoreError
        If there is none, or it is of another format.
    """
    return Store(os.fspath(path))
