"""What a VRT names is let through: only pictures in files of this machine, and VRTs of such."""

from __future__ import annotations

import html
import os
from typing import TypeAlias

from kseg_core.images.failures import HEAD_BYTES, decoder_reason
from kseg_core.images.raster import NotSupported, Refused
from kseg_core.inputs.companions import MASK, METADATA, OVERVIEWS, BadVrt, UnusualVrt, named_by_vrt

NAME = "VRT"
#: No request leaves the machine, whatever a source may be; warnings of libjpeg are damage.
OPTIONS = {
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none-is-allowed",
    "GDAL_HTTP_PROXY": "127.0.0.1:9",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
    "GDAL_VRT_WARP_USE_DATASET_RASTERIO": "NO",  # by the VRT's own blocks: a window's own warp is not that of the whole
}
_ERDAS = ".aux"  # of `a.tif`: `a.aux` or `a.tif.aux`
_ERDAS_BEGINS = b"EHFA_HEADER_TAG"
_PICTURES_BESIDE = (".ovr", MASK)
_MAKE_ANEW = "not supported here; make a TIFF of it first, e.g. with gdal_translate"
Folders: TypeAlias = dict[str, dict[str, list[str]]]  # of each folder's names those of each in lower case
_MOST_DEPTH = 8
_GDAL_METADATA = 42112
_READABLE = frozenset({"TIFF", "PNG", "JPEG", "JPEG 2000", "GIF", "BMP", "WebP"})


def check(path: str, depth: int = 0, folders: Folders | None = None) -> int:
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
    folders = {} if folders is None else folders
    _check_beside(path, folders)
    try:
        sources = named_by_vrt(path)
    except BadVrt as error:
        raise (NotSupported if isinstance(error, UnusualVrt) else Refused)(str(error)) from error
    held = 0
    for there, name in sources.items():
        if not os.path.isfile(there):
            raise Refused(f"it names {name}, which is not there")
        kind = _kind(there)
        if kind == NAME:
            held += check(there, depth + 1, folders)
            continue
        if kind not in _READABLE:
            raise Refused(f"it names {os.path.basename(there)}, which is {kind or 'no picture that is read'} here")
        _check_picture(there, kind, folders)
        held += os.path.getsize(there)
    return held


def _check_picture(path: str, kind: str, folders: Folders) -> None:
    """Refuse a picture by which GDAL comes to files that nobody looked at."""
    if kind == "TIFF" and _names_overviews(_tag_of_gdal(path)):
        raise NotSupported(f"{os.path.basename(path)} names a file of overviews: {_MAKE_ANEW}")
    _check_beside(path, folders)


def _check_beside(path: str, folders: Folders) -> None:
    """Refuse a picture, or VRT, with something beside it by which GDAL comes to files that nobody looked at.

    It opens overviews and masks by what they hold, not by their names, which may be a VRT, or ask a server.
    """
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = {}
        for each in os.listdir(folder):
            folders[folder].setdefault(each.lower(), []).append(each)
    stem = os.path.splitext(name)[0]
    for called in {f"{name}{ending}" for ending in (*_PICTURES_BESIDE, METADATA, _ERDAS)} | {f"{stem}{_ERDAS}"}:
        for there in folders[folder].get(called.lower(), []):  # whatever their case, as GDAL finds them
            side = os.path.join(folder, there)
            if called.endswith(_PICTURES_BESIDE):
                kind = _kind(side)
                if kind != "TIFF":
                    raise Refused(f"{there} beside it is {kind or 'no picture that is read'} here, no TIFF: remove it")
                _check_picture(side, kind, folders)
                continue
            with open(side, "rb") as file:
                text = file.read()
            if text.startswith(_ERDAS_BEGINS) if called.endswith(_ERDAS) else _names_overviews(text.decode("latin-1")):
                raise NotSupported(f"{there} beside it names a file of overviews: {_MAKE_ANEW}")


def _names_overviews(metadata: str) -> bool:
    return OVERVIEWS in html.unescape(metadata).upper()


def _tag_of_gdal(path: str) -> str:
    """Return GDAL's metadata of a TIFF, which may be of its overviews as well."""
    import tifffile

    from kseg_core.images.tiff_codecs import remarks_of

    try:
        with remarks_of("tifffile"), tifffile.TiffFile(path) as tiff:
            return str(tiff.pages.first.tags.valueof(_GDAL_METADATA, ""))
    except Exception as error:  # hostile files raise nearly anything
        raise Refused(f"{os.path.basename(path)}: {decoder_reason(error, 'TIFF')}") from error


def _kind(path: str) -> str | None:
    """Say what a file is, by its content."""
    from kseg_core.images.formats import identify  # whose table has VRT's decoder

    with open(path, "rb") as file:
        kind = identify(file.read(HEAD_BYTES))
    return None if kind is None else kind.name
