"""GDAL, by rasterio: silent, with little cache, and every error a reason."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kseg_core.images.failures import decoder_reason
from kseg_core.images.raster import Refused

_CACHE_MB = 64  # its default is a twentieth of the machine's memory


def silent_rasterio() -> Any:
    """Give rasterio, whose log says nothing from now on: what matters here is told by our own messages."""
    import rasterio  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from rasterio.errors import NotGeoreferencedWarning  # type: ignore[import-untyped, import-not-found, unused-ignore]

    logging.getLogger("rasterio").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    return rasterio


@contextmanager
def gdal(name: str, **options: Any) -> Iterator[Any]:
    """Give rasterio with settings of this thread alone; its errors become a `Refused`.

    Parameters
    ----------
    name
        The format, for messages.
    options
        GDAL's configuration options.
    """
    rasterio = silent_rasterio()
    from rasterio._err import CPLE_BaseError  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from rasterio.errors import RasterioError  # type: ignore[import-untyped, import-not-found, unused-ignore]

    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, **options):
            yield rasterio
    except (RasterioError, CPLE_BaseError, ValueError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise Refused(decoder_reason(cause, name)) from error
