"""GDAL: its one way in, by rasterio, and what it writes of a raster as XML.

All that calls rasterio does so within `gdal`: silent, with little cache, and every error a reason. Its XML is in tag
42112 of its TIFFs, and in ``.aux.xml`` beside any file.
"""

from __future__ import annotations

import html
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from kseg_core.images.failures import decoder_reason
from kseg_core.images.raster import Refused

CACHE_BYTES = 64_000_000  # its default is a twentieth of the machine's memory

_ITEM = re.compile(r"<Item\s([^>]*)>([^<]*)</Item>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_BAND = re.compile(r"<PAMRasterBand\b([^>]*)>(.*?)</PAMRasterBand>", re.DOTALL)
_DESCRIPTION = re.compile(r"<Description>([^<]*)</Description>")
_NODATA = re.compile(r"<NoDataValue\b[^>]*>([^<]*)</NoDataValue>")
_KEY = re.compile(r'<MDI\s+key="NODATA_VALUES"\s*>([^<]*)</MDI>')


@contextmanager
def gdal(name: str, as_error: Callable[[Exception], Exception] | None = None, /, **options: Any) -> Iterator[Any]:
    """Give rasterio with settings of this thread alone: GDAL's configuration ``options``.

    Its errors become a `Refused` that speaks of the format ``name``, or what ``as_error`` makes of them.
    """
    rasterio = _loaded()
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    logging.getLogger("rasterio").setLevel(logging.CRITICAL + 1)  # what matters here is told by our own messages
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES // 1_000_000, **options):
            yield rasterio
    except (RasterioError, CPLE_BaseError, ValueError, ArithmeticError, LookupError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise (Refused(decoder_reason(cause, name)) if as_error is None else as_error(cause)) from error


@cache
def _loaded() -> Any:
    """Import rasterio with a database of PROJ that is its own, where the environment names one of another release."""
    # GDAL's TIFF driver asks PROJ's default context, which nobody can tell where to look, and which writes to stderr.
    os.environ.setdefault("PROJ_DEBUG", "0")
    import rasterio
    from rasterio.env import PROJDataFinder

    own = PROJDataFinder().search_wheel()
    if own and not {"PROJ_DATA", "PROJ_LIB"}.isdisjoint(os.environ):  # as conda and QGIS set them
        logging.getLogger("rasterio").setLevel(logging.CRITICAL + 1)
        try:
            with rasterio.Env():
                rasterio.crs.CRS.from_epsg(4326)
        except rasterio.errors.CRSError:
            os.environ["PROJ_DATA"] = own  # each `Env` looks there
    return rasterio


@dataclass(frozen=True, slots=True)
class GdalMetadata:
    """What matters here of it."""

    nodata_values: tuple[str, ...] = ()  # of each band
    mask_flags: Mapping[int, int] | None = None  # of a ``.msk``: by band, from 1, of what it is a mask (2: all bands)
    roles: Mapping[int, str] = field(default_factory=dict)  # of bands, from 0, such as "alpha", if no tag says it
    descriptions: Mapping[int, str] = field(default_factory=dict)  # of bands, from 0: what they are called


@lru_cache(maxsize=64)  # asked several times of a page
def parse_tag(text: str) -> GdalMetadata:
    """Return what tag 42112 says; nothing where it is not of the form that GDAL gives it."""
    values: tuple[str, ...] = ()
    flags: dict[int, int] = {}
    roles: dict[int, str] = {}
    descriptions: dict[int, str] = {}
    for stated, content in _ITEM.findall(text):
        attributes = dict(_ATTRIBUTE.findall(stated))
        name, value = attributes.get("name", ""), html.unescape(content).strip()
        band = name.removeprefix("INTERNAL_MASK_FLAGS_")
        if name == "NODATA_VALUES" and "sample" not in attributes:
            values = tuple(value.split())
        elif band != name and band.isdecimal() and value.isdecimal():
            flags[int(band)] = int(value)
        elif attributes.get("role") == "colorinterp" and attributes.get("sample", "").isdecimal():
            roles[int(attributes["sample"])] = value.lower()
        elif attributes.get("role") == "description" and attributes.get("sample", "").isdecimal():
            descriptions[int(attributes["sample"])] = html.unescape(value)  # GDAL escapes them twice
    return GdalMetadata(values, flags or None, roles, descriptions)


def nodata_beside(text: str) -> tuple[dict[int, float], tuple[float | None, ...]]:
    """Return what an ``.aux.xml`` says of nodata: by band from 0, and of all bands together (``NODATA_VALUES``)."""
    by_band: dict[int, float] = {}
    for stated, content in _BAND.findall(text):
        band, stated_value = dict(_ATTRIBUTE.findall(stated)).get("band", ""), _NODATA.search(content)
        value = None if stated_value is None else as_number(stated_value[1])
        if value is not None and band.isdecimal() and int(band) > 0:
            by_band[int(band) - 1] = value
    of_all = _KEY.search(_BAND.sub("", text))
    return by_band, () if of_all is None else tuple(as_number(value) for value in of_all[1].split())


def descriptions_beside(text: str) -> dict[int, str]:
    """Return what an ``.aux.xml`` calls the bands, from 0."""
    found: dict[int, str] = {}
    for stated, content in _BAND.findall(text):
        band, description = dict(_ATTRIBUTE.findall(stated)).get("band", ""), _DESCRIPTION.search(content)
        if description is not None and band.isdecimal() and int(band) > 0:
            found[int(band) - 1] = html.unescape(description[1])
    return found


def as_number(text: str) -> float | None:
    """Return a number as GDAL writes it, whole ones as such (float64 does not hold all of 64 bits); None for others."""
    text = text.strip(" \0\n\t")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
