"""Virtual rasters (VRT), by rasterio, window by window.

A VRT is a text that names files, and GDAL would fetch from wherever it says. So the text is read here first, and those
that it names: only files of this machine that begin as pictures do, and VRTs of the same kind, are let through.
"""

from __future__ import annotations

import html
import os
import re
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.images.band_names import of_samples, roles_of
from kseg_core.images.choosing import require_one_picture
from kseg_core.images.decoder import Decoder, Opening
from kseg_core.images.failures import HEAD_BYTES, decoder_reason
from kseg_core.images.formats import decoder_named, identify
from kseg_core.images.gdal import CACHE_BYTES, gdal
from kseg_core.images.raster import (
    Cost,
    NotSupported,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_dtype,
    check_size,
    check_sparse,
)
from kseg_core.images.tiff_directory import GDAL_METADATA
from kseg_core.images.validity import combine
from kseg_core.images.windows import Window
from kseg_core.inputs.companions import MASK, MAX_VRT_DEPTH, METADATA, OVERVIEWS, BadVrt, UnusualVrt, named_by_vrt

NAME = "VRT"
_BLOCK = 512  # GDAL's own of 128 would decode a source's tiles many times
_MAGIC = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<VRTDataset[\s>]", re.DOTALL)
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


class Vrt(Decoder):
    """A VRT opened for reading by windows: a file of this machine."""

    name, gdal_driver, only_gdal_finds_place, names_bands = NAME, NAME, True, True

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        return _MAGIC.match(head) is not None

    def __init__(self, opening: Opening) -> None:
        from rasterio.enums import (
            ColorInterp,
            MaskFlags,
        )

        path = opening.path
        require_one_picture(opening.choice, self.name, channels=False)
        if storage.is_remote(path):
            raise NotSupported(
                "VRTs in object stores are not supported here; copy it and what it names to a disk first"
            )
        held = check_sources(os.path.abspath(path))
        with gdal(NAME, **OPTIONS) as rasterio:
            dataset = self._dataset = rasterio.open(os.path.abspath(path), driver=NAME)
            self.stored_shape: tuple[int, int] = (dataset.height, dataset.width)
            try:
                check_size(*self.stored_shape, dataset.height * dataset.width)
                check_sparse(dataset.height * dataset.width, held)
                if not dataset.count:
                    raise Refused("a VRT without bands")
            except BaseException:
                dataset.close()
                raise
            self._dtype = np.result_type(*(np.dtype(name) for name in dataset.dtypes))
            kinds = list(dataset.colorinterp)
            self._alpha_at = kinds.index(ColorInterp.alpha) if ColorInterp.alpha in kinds else None
            self._palette = dataset.colormap(1) if kinds[0] == ColorInterp.palette else None
            self._masked = any(
                MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags for flags in dataset.mask_flag_enums
            )
            roles = {at: kind.name for at, kind in enumerate(kinds)}
            described = {at: text for at, text in enumerate(dataset.descriptions) if text}
            nodata = tuple(None if value is None else float(value) for value in dataset.nodatavals)
        one = nodata[0] if all(_same(value, nodata[0]) for value in nodata) else None
        self.info = PictureInfo(
            NAME,
            self.stored_shape,
            dataset.count,
            check_dtype(str(self._dtype)),
            (_BLOCK, _BLOCK),
            one,
            self._alpha_at is not None,
            "palette" if self._palette is not None else None,
            band_nodata=() if one is not None or not any(value is not None for value in nodata) else nodata,
            alpha_at=self._alpha_at,
            cost=Cost(cache_bytes=CACHE_BYTES),
            band_names=of_samples(described, roles, dataset.count),
            band_roles=roles_of(roles, dataset.count),
        )

    def raster(self, window: Window) -> Raster:
        raster = super().raster(window)
        if self._palette is None:
            return raster
        table = np.array([self._palette.get(n, (0, 0, 0, 255)) for n in range(raster.maximum + 1)], np.uint8)
        indices, valid = raster.samples if raster.colours == "gray" else raster.samples[..., 0], raster.valid
        if (table[:, 3] == 0).any():
            valid = combine(valid, np.take(table[:, 3] != 0, indices))
        return Raster(np.ascontiguousarray(indices), "palette", palette=table[:, :3], valid=valid)

    def close(self) -> None:
        self._dataset.close()

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        """Pixels count where alpha, and the files' own masks, are not 0."""
        place = ((window.top, window.bottom), (window.left, window.right))
        with gdal(NAME, **OPTIONS):
            samples = self._dataset.read([band + 1 for band in bands], window=place, out_dtype=self._dtype)
            valid: NDArray[np.bool_] | None = None
            if self._alpha_at is not None:
                valid = self._dataset.read(self._alpha_at + 1, window=place) != 0
            elif self._masked:
                valid = self._dataset.dataset_mask(window=place) != 0
        return np.ascontiguousarray(np.moveaxis(samples, 0, 2)), valid


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and one != one and other != other)


# What it names


def check_sources(path: str, depth: int = 0, folders: Folders | None = None) -> int:
    """Refuse a VRT that names anything but pictures in files of this machine.

    Returns
    -------
    Bytes of the pictures: no more pixels than of so many bytes can be there.

    Raises
    ------
    Refused
        Naming what it names.
    """
    if depth > MAX_VRT_DEPTH:
        raise Refused(f"VRTs within VRTs more than {MAX_VRT_DEPTH} deep")
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
            held += check_sources(there, depth + 1, folders)
            continue
        decoder = None if kind is None else decoder_named(kind)
        if decoder is None or not decoder.gdal_driver:
            raise Refused(f"it names {os.path.basename(there)}, which is {kind or 'no picture that is read'} here")
        _check_picture(there, decoder.name, folders)
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
            return str(tiff.pages.first.tags.valueof(GDAL_METADATA, ""))
    except Exception as error:  # hostile files raise nearly anything
        raise Refused(f"{os.path.basename(path)}: {decoder_reason(error, 'TIFF')}") from error


def _kind(path: str) -> str | None:
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if Vrt.sniff(head):
        return NAME
    kind = identify(head)
    return None if kind is None else kind.name
