"""Arrays whose axes have names, as xarray's DataArray has them (rioxarray's too), as plain arrays (y, x, c) and back.

xarray is not imported: whatever has names of dimensions, coordinates and attributes will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseg_core.images.band_names import cleaned
from kseg_core.images.validity import nodata_mask

ROWS = ("y", "lat", "latitude", "northing", "row")
COLUMNS = ("x", "lon", "longitude", "easting", "column", "col")
CHANNELS = ("band", "channel", "c", "bands", "channels", "wavelength", "s", "rgb")
_NODATA = ("_FillValue", "missing_value", "nodata")  # attributes that say it: CF's, and what people write


@dataclass(frozen=True)
class NamedAxes:
    """What an array with names says beside its values.

    Parameters
    ----------
    array
        As it was given.
    rows, columns
        The names of these axes.
    channels
        That of its channels; None: it has one value a pixel.
    nodata
        What it says stands for no data; None: nothing.
    band_names
        What it calls its bands; none where it says nothing.
    """

    array: Any
    rows: str
    columns: str
    channels: str | None
    nodata: float | None
    band_names: tuple[str, ...]

    @classmethod
    def of(cls, array: Any, argument: str) -> NamedAxes:
        """What an array with names is: in any order of its axes; those of length 1 that mean nothing else go.

        Raises
        ------
        ValueError
            If it is no image, naming the argument, the axes and the way out.
        """
        dims = [str(dim) for dim in array.dims]
        rows, columns, channels = (_one_of(names, dims) for names in (ROWS, COLUMNS, CHANNELS))
        left = [dim for dim in dims if dim not in (rows, columns, channels)]
        extra = [dim for dim in left if array.sizes[dim] == 1]
        if rows is None or columns is None or len(extra) < len(left):
            raise ValueError(
                f"{argument}: expected dims y, x and at most one of channels ({', '.join(CHANNELS[:3])}), "
                f"in any order; got {_sized(array, dims)}; choose one of the others with .isel(), or .rename() them"
            )
        plain = array.isel(dict.fromkeys(extra, 0)) if extra else array
        order = (rows, columns, *([channels] if channels else []))
        plain = plain.transpose(*order)
        names = _names_of(plain, channels) if channels else ()
        return cls(plain, rows, columns, channels, _nodata_of(array.attrs), names)

    @property
    def values(self) -> Any:
        """(y, x) or (y, x, c): the NumPy or Dask array in it."""
        return self.array.data

    def masked(self, *, of_bands: bool) -> Any:
        """The values, held whole, masked where they are nodata: any of bands, all of colours."""
        values = self.values
        held = np.asanyarray(values.compute() if hasattr(values, "compute") else values)
        deep = np.ma.getdata(held)[..., None] if held.ndim == 2 else np.ma.getdata(held)
        colours = deep if of_bands else deep[..., :3]
        counts = None if self.nodata is None else nodata_mask(colours, self.nodata, "any" if of_bands else "all")
        if counts is None:
            return held
        out = ~counts if held.ndim == 2 else np.broadcast_to(~counts[..., None], held.shape)
        return np.ma.array(held, mask=np.ma.getmaskarray(held) | out)

    def labels(self, labels: Any, invalid: int) -> Any:
        """Labels (y, x) as an array with the names, the coordinates and the place of the image."""
        axes = {self.rows, self.columns}
        coords = {name: each for name, each in self.array.coords.items() if set(each.dims) <= axes}
        coords = {name: each for name, each in coords.items() if name != self.channels}
        return type(self.array)(
            labels, dims=(self.rows, self.columns), coords=coords, name="labels", attrs={"_FillValue": invalid}
        )


def has_named_axes(array: Any) -> bool:
    """Whether its axes have names, coordinates and attributes."""
    return all(hasattr(array, name) for name in ("dims", "coords", "attrs", "transpose", "dtype"))


def _one_of(names: Sequence[str], dims: Sequence[str]) -> str | None:
    return next((dim for name in names for dim in dims if dim.casefold() == name), None)


def _sized(array: Any, dims: Sequence[str]) -> str:
    return ", ".join(f"{dim} ({array.sizes[dim]})" for dim in dims)


def _nodata_of(attributes: Any) -> float | None:
    for key in _NODATA:
        try:
            stated = np.asarray(attributes[key]).ravel()
            if stated.size == 1:
                value = stated[0].item()
                return value if isinstance(value, int) and not isinstance(value, bool) else float(value)
        except (KeyError, TypeError, ValueError):
            continue
    return None


def _names_of(array: Any, channels: str) -> tuple[str, ...]:
    """By the coordinate of the channels, or as rioxarray has GDAL's descriptions."""
    count = int(array.sizes[channels])
    stated: Any = array.coords[channels].values.tolist() if channels in array.coords else ()
    texts = cleaned(stated, count) if isinstance(stated, list) else ()
    described = array.attrs.get("long_name")
    return texts or (cleaned(list(described), count) if isinstance(described, list | tuple) else ())
