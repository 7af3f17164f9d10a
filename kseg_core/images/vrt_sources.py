"""What a VRT names is let through: only pictures in files of this machine, and VRTs of such."""

from __future__ import annotations

import os

from kseg_core.images import sniff
from kseg_core.images.raster import NotSupported, Refused
from kseg_core.inputs.virtual import BadVrt, UnusualVrt, named

NAME = "VRT"
#: No request leaves the machine, whatever a source may be; warnings of libjpeg are damage.
OPTIONS = {
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none-is-allowed",
    "GDAL_HTTP_PROXY": "127.0.0.1:9",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
}
_MOST_DEPTH = 8
_READABLE = frozenset({"TIFF", "PNG", "JPEG", "JPEG 2000", "GIF", "BMP", "WebP"})


def check(path: str, depth: int = 0) -> int:
    """Refuse a VRT that names anything but pictures in files of this machine.

    Returns
    -------
    Bytes of the pictures: no more pixels than of so many bytes can be there.

    Raises
    ------
    Refused
        Naming what it names.
    """
    if depth > _MOST_DEPTH:
        raise Refused(f"VRTs within VRTs more than {_MOST_DEPTH} deep")
    try:
        sources = named(path)
    except BadVrt as error:
        raise (NotSupported if isinstance(error, UnusualVrt) else Refused)(str(error)) from error
    held = 0
    for there, name in sources.items():
        if not os.path.isfile(there):
            raise Refused(f"it names {name}, which is not there")
        kind = _kind(there)
        held += check(there, depth + 1) if kind == NAME else os.path.getsize(there)
        if kind != NAME and kind not in _READABLE:
            raise Refused(f"it names {os.path.basename(there)}, which is {kind or 'no picture that is read'} here")
    return held


def _kind(path: str) -> str | None:
    """Say what a file is, by its content."""
    with open(path, "rb") as file:
        kind = sniff.identify(file.read(sniff.HEAD_BYTES))
    return None if kind is None else kind.name
