"""GDAL, by rasterio: silent, with little cache, and every error a reason. All that calls rasterio does so in here."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from kseg_core.images.failures import decoder_reason
from kseg_core.images.raster import Refused

CACHE_BYTES = 64_000_000  # its default is a twentieth of the machine's memory


@contextmanager
def gdal(name: str, told: Callable[[Exception], Exception] | None = None, /, **options: Any) -> Iterator[Any]:
    """Give rasterio with settings of this thread alone; its errors become a `Refused`.

    Parameters
    ----------
    name
        The format, for messages.
    told
        Makes of an error another than a `Refused`.
    options
        GDAL's configuration options.
    """
    rasterio = _loaded()
    from rasterio._err import CPLE_BaseError  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from rasterio.errors import NotGeoreferencedWarning, RasterioError  # type: ignore[import-untyped, import-not-found, unused-ignore]

    logging.getLogger("rasterio").setLevel(logging.CRITICAL + 1)  # what matters here is told by our own messages
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES // 1_000_000, **options):
            yield rasterio
    except (RasterioError, CPLE_BaseError, ValueError, ArithmeticError, LookupError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise (Refused(decoder_reason(cause, name)) if told is None else told(cause)) from error


@cache
def _loaded() -> Any:
    """Import rasterio with a database of PROJ that is its own, where the environment names one of another release."""
    # GDAL's TIFF driver asks PROJ's default context, which nobody can tell where to look, and which writes to stderr.
    os.environ.setdefault("PROJ_DEBUG", "0")
    import rasterio  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from rasterio.env import PROJDataFinder  # type: ignore[import-untyped, import-not-found, unused-ignore]

    own = PROJDataFinder().search_wheel()
    if own and not {"PROJ_DATA", "PROJ_LIB"}.isdisjoint(os.environ):  # as conda and QGIS set them
        logging.getLogger("rasterio").setLevel(logging.CRITICAL + 1)
        try:
            with rasterio.Env():
                rasterio.crs.CRS.from_epsg(4326)
        except rasterio.errors.CRSError:
            os.environ["PROJ_DATA"] = own  # each `Env` looks there
    return rasterio
