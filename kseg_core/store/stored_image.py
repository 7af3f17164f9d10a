"""One image of a store, opened: its arrays as they are on disk, and as xarray."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .. import storage
from ..errors import StoreError
from ..images.geo import GRID_MAPPING, GeoReference
from ..layers import LABEL_LAYER, LAYERS
from ..layers.layer import Layer
from ..layers.tiles import level_shape
from .manifest import WAY_OUT
from .model import Model
from .soundness import IMAGE, require_sound

if TYPE_CHECKING:
    import xarray
    import zarr

# What Zarr and its codecs raise where files are missing, cut short or not what they should be.
DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, ArithmeticError)


def read_model(path: str) -> Model:
    """The model in a group of its own.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    import zarr

    try:
        return Model.read(zarr.open_group(storage.for_zarr(path), mode="r"))
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except DAMAGE as error:
        raise StoreError(f"{path}: a damaged model ({error}); {WAY_OUT}") from error


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

        self.key = key
        self.path = os.path.join(store, "images", key)
        try:
            self._group = zarr.open_group(storage.for_zarr(self.path), mode="r")
            self.attributes: dict[str, Any] = dict(self._group.attrs.get("kseg") or {})  # type: ignore[arg-type]
        except DAMAGE as error:
            raise StoreError(f"{self.path}: a damaged image ({error})") from error
        require_sound(self.path, self.attributes, IMAGE)

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
    def source(self) -> str:
        """The path it came from."""
        return str(self.attributes.get("source"))

    @property
    def labels(self) -> zarr.Array[Any]:
        """(y, x): 0 to k - 1, the dtype's largest value where invalid."""
        return _array(self._group, LABEL_LAYER.path())

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """The label pyramid: ``labels`` itself, and each level half the size of the one before."""
        return self.layer_levels(LABEL_LAYER)

    def has_layer(self, layer: Layer) -> bool:
        """Whether a layer was made, and finished."""
        if not self.has(layer.node or layer.path()):
            return False
        if not layer.added:
            return True
        facts = _array(self._group, layer.path()).attrs.get("kseg")
        return isinstance(facts, dict) and facts.get("status") == "complete"

    def layer(self, layer: Layer) -> zarr.Array[Any] | None:
        """A layer's own array, of level 0; None where it was not made."""
        return _array(self._group, layer.path()) if self.has_layer(layer) else None

    def layer_levels(self, layer: Layer) -> list[zarr.Array[Any]]:
        """The pyramid of a layer: as many levels as there are without a gap."""
        names = [layer.path()]
        while storage.is_dir(os.path.join(self.path, layer.path(len(names)))) and layer.group is not None:
            names.append(layer.path(len(names)))
        return [_array(self._group, name) for name in names]

    @property
    def image(self) -> zarr.Array[Any] | None:
        """The image itself (c, y, x), or None where it was not copied."""
        return self.layer(LAYERS["copy"])

    @property
    def image_levels(self) -> list[zarr.Array[Any]]:
        """The pyramid of the copied image; empty where it was not copied."""
        return [] if self.image is None else self.layer_levels(LAYERS["copy"])

    @property
    def georeference(self) -> GeoReference | None:
        """CRS and transform of level 0, where known."""
        for name in (f"{LABEL_LAYER.group}/{GRID_MAPPING}", GRID_MAPPING):  # without labels: beside the edges
            if self.has(name):
                return GeoReference.from_attributes(dict(_array(self._group, name).attrs))
        return None

    @property
    def pixel_scale(self) -> tuple[tuple[float, float], tuple[str | None, str | None]]:
        """(y, x): the sides of a pixel as OME-Zarr has them, and their units; 1 and None where not known."""
        try:
            ome: Any = self._group[LABEL_LAYER.group].attrs["ome"]
            (described,) = ome["multiscales"]
            axes = {axis["name"]: axis.get("unit") for axis in described["axes"]}
            scale = described["datasets"][0]["coordinateTransformations"][0]["scale"]
            return (float(scale[-2]), float(scale[-1])), (axes["y"], axes["x"])
        except (*DAMAGE, IndexError) as error:
            raise StoreError(f"{self.path}: its labels do not say how large a pixel is ({error})") from error

    @property
    def level_count(self) -> int:
        """How many levels its labels have, by what is said of them."""
        try:
            ome: Any = self._group[LABEL_LAYER.group].attrs["ome"]
            (described,) = ome["multiscales"]
            return len(described["datasets"])
        except DAMAGE as error:
            raise StoreError(f"{self.path}: its labels do not say how many levels they have ({error})") from error

    @property
    def origin(self) -> dict[str, Any]:
        """Source, size and modification time of its file, by what is said with its labels; empty where nothing is."""
        try:
            told: Any = self._group[LABEL_LAYER.group].attrs.get("kseg")
        except DAMAGE:
            return {}
        return told if isinstance(told, dict) else {}

    @property
    def masks(self) -> zarr.Array[Any] | None:
        """Bool (k, y, x), or None where none were made."""
        return self.layer(LAYERS["masks"])

    @property
    def confidence(self) -> zarr.Array[Any] | None:
        """uint8 (y, x): how clearly each pixel belongs to its cluster, 0 to 254; 255 where invalid. None: not made."""
        return self.layer(LAYERS["confidence"])

    @property
    def edges(self) -> zarr.Array[Any] | None:
        """Bool (y, x): Canny edges, how they were found in its ``kseg`` attributes. None: not made, or not finished."""
        return self.layer(LAYERS["edges"])

    @property
    def has_labels(self) -> bool:
        """Whether it was labelled; a store made by ``edges`` alone has none."""
        return self.has_layer(LABEL_LAYER)

    @property
    def has_edges(self) -> bool:
        """Whether edges were made."""
        return self.has_layer(LAYERS["edges"])

    @property
    def model(self) -> Model | None:
        """The image's own model, with ``--scope image``."""
        return read_model(os.path.join(self.path, "model")) if self.has("model") else None

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
