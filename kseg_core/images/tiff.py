"""TIFF, by tifffile and imagecodecs.

imageio's own TIFF plugin is tifffile's whole-page reading, which fills missing strips and tiles with zeros and
takes damaged ones for good; Pillow's reader cannot do 16-bit colour, and the libtiff below it writes to standard
error. So tifffile reads the structure, and strips and tiles are decoded one by one:

================= ==========================================================================
`tiff_directory`  what a directory states, before tifffile builds anything of it
`tiff_pages`      which of the pages are the picture
`tiff_segments`   a part of a page, from the strips and tiles that it overlaps
`tiff_codecs`     what decodes a strip or tile
`tiff_colours`    what the samples are
================= ==========================================================================
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import tiff_directory as tags
from kseg_core.images.band_names import of_colours, of_ome, of_samples, roles_of
from kseg_core.images.decoder import Decoder, Opening
from kseg_core.images.file_masks import PageMask
from kseg_core.images.gdal import GdalMetadata, as_number, parse_tag
from kseg_core.images.raster import PictureInfo, Raster, Samples, check_size
from kseg_core.images.validity import fits
from kseg_core.images.windows import Window, turned_shape

_PLACED_TAGS = frozenset({tags.PIXEL_SCALE, tags.TIE_POINTS, tags.TRANSFORMATION, tags.GEO_KEYS})
_KEY = 4  # numbers of each of the GeoKeys
_CRS_KEYS = (3072, 2048)  # ProjectedCRSGeoKey, GeodeticCRSGeoKey
_EPSG_CODES = range(1024, 32767)  # as OGC 19-008r4 has them; beyond are a file's own


class Tiff(Decoder):
    """A TIFF opened for reading by windows."""

    name, gdal_driver, mask_suffixes = "TIFF", "GTiff", ("tif", "tiff")
    has_pixel_size = names_bands = True
    magic = tags.MAGICS

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        """Canon's raw files begin so as well."""
        return head.startswith(cls.magic) and not head.startswith(b"CR\x02", 8)

    def __init__(self, opening: Opening) -> None:
        from tifffile import TiffFile

        from kseg_core.images.tiff_codecs import remarks_of
        from kseg_core.images.tiff_pages import mask_page, picture_pages
        from kseg_core.images.tiff_segments import check_page

        file, max_pixels = opening.file, opening.max_pixels
        self._expect = getattr(file, "expect", None)  # of one in an object store
        self._kept: Samples | None = None
        directories = tags.Directories(file)
        directories.first.check()
        file.seek(0)
        with remarks_of("tifffile"), ExitStack() as closing:  # what it remarks on a damaged file we say, once
            # Hamamatsu's slides are OpenSlide's to read, and the other files of a set inputs of their own.
            tiff = closing.enter_context(TiffFile(file, is_ndpi=False, _multifile=False))
            chosen = picture_pages(tiff, directories, opening.choice)
            self._page, self._channels = chosen.first, chosen.bands
            self.stored_shape = (self._page.imagelength, self._page.imagewidth)
            self.orientation = tags.known_orientation(self._page.tags.valueof(tags.ORIENTATION, 1))
            info = self._header(early=opening.early)
            names = info.band_names or self._names(tiff, chosen.image, info)
            self.info = dataclasses.replace(info, notes=chosen.notes, rules=chosen.rules, band_names=names)
            if self.info.block is None:
                check_size(*self.stored_shape, max_pixels)
            mask = mask_page(tiff, directories, self._page)
            if mask is not None:
                check_page(mask)
                per_band = mask.samplesperpixel == self._page.samplesperpixel
                self.mask = PageMask(mask, file, max_pixels, per_band=per_band)
            self._closing = closing.pop_all()

    def _header(self, *, early: bool) -> PictureInfo:
        """What the page says of itself; Refused where that cannot be, or is of no kind that is read here."""
        from kseg_core.images.tiff_colours import alpha_band, colours_of, dtype_of
        from kseg_core.images.tiff_segments import check_layout, check_page, natural_block

        page = self._page
        self._alpha_of_page = alpha_band(page, early=early)
        check_size(*self.stored_shape, sys.maxsize)
        dtype = dtype_of(page)
        check_layout(page)
        block = natural_block(page)
        for plane in (plane for planes in self._channels for plane in planes):
            check_page(plane)
        bands = len(self._channels) * int(page.samplesperpixel)
        alpha = self._alpha_of_page if bands > 1 and len(self._channels) == 1 else None
        metadata, placed = page.tags.valueof(tags.GDAL_METADATA, None), None
        of_gdal = GdalMetadata() if metadata is None else parse_tag(str(metadata))
        if not _PLACED_TAGS.isdisjoint(page.tags.keys()):  # 0: the first directory, which every program opens
            placed = 0 if page.offset == page.parent.pages.first.offset else int(page.offset)
        return PictureInfo(
            "TIFF",
            turned_shape(*self.stored_shape, self.orientation),
            bands,
            dtype,
            None if block is None else turned_shape(*block, self.orientation),
            as_number(str(page.tags.valueof(tags.GDAL_NODATA, ""))),
            alpha is not None,
            colours=colours_of(page),
            placed=placed,
            crs_stated=_crs_stated(page.tags.valueof(tags.GEO_KEYS, None)),
            band_nodata=tuple(map(as_number, of_gdal.nodata_values)),
            alpha_at=alpha,
            band_names=of_samples(of_gdal.descriptions, of_gdal.roles, bands),
            band_roles=roles_of(of_gdal.roles, bands),
        )

    def _names(self, tiff: Any, image: int, info: PictureInfo) -> tuple[str, ...]:
        """What the bands are called where GDAL says nothing of them."""
        from kseg_core.images.tiff_colours import is_of_colours

        first = tiff.pages.first
        if first.is_ome and (names := of_ome(str(first.description), image, info.bands)):
            return names
        return of_colours(info) if is_of_colours(self._page) and len(self._channels) == 1 else ()

    def raster(self, window: Window) -> Raster:
        from kseg_core.images.tiff_colours import check_colours, to_raster

        check_colours(self._page, self.info.bands, self._alpha_of_page)
        samples, colours = self._read(window, None), self.info.but_alpha
        flat = samples[..., 0] if samples.shape[2] == 1 else samples
        stored = samples if colours == tuple(range(len(colours))) else samples[..., list(colours)]
        return dataclasses.replace(to_raster(self._page, flat, self._alpha_of_page), stored=stored)

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        alpha = self.info.alpha_at
        wanted = bands if alpha is None or alpha in bands else (*bands, alpha)
        samples = self._read(window, None if wanted == tuple(range(self.info.bands)) else wanted)
        valid = None if alpha is None else samples[..., wanted.index(alpha)] != 0
        return samples[..., : len(bands)], valid

    def close(self) -> None:
        self._closing.close()

    def _read(self, window: Window, bands: Sequence[int] | None) -> Samples:
        """Decode a window, (height, width, bands); what can only be decoded whole is kept for the next one."""
        if self.info.block is not None or window == Window.whole(self.stored_shape):
            return self._decoded(window, bands)
        if self._kept is None:
            self._kept = self._decoded(Window.whole(self.stored_shape), None)
        part = self._kept[window.slices]
        return part.copy() if bands is None else part[..., list(bands)]

    def _decoded(self, window: Window, bands: Sequence[int] | None) -> Samples:
        if len(self._channels) == 1:
            return self._projected(self._channels[0], window, bands)
        each = int(self._page.samplesperpixel)
        chosen = range(self.info.bands) if bands is None else bands
        out = np.empty((*window.shape, len(chosen)), self._page.dtype)
        for number, band in enumerate(chosen):
            channel, sample = divmod(band, each)
            only = None if each == 1 else (sample,)
            out[..., number] = self._projected(self._channels[channel], window, only)[..., 0]
        return out

    def _projected(self, planes: Sequence[Any], window: Window, bands: Sequence[int] | None) -> Samples:
        """The largest values over some planes, as NumPy's ``max`` has them; nearly always there is one."""
        from kseg_core.images.tiff_segments import read_window

        nodata = self.info.nodata
        fill = nodata if nodata is not None and fits(nodata, self._page.dtype) else 0  # as GDAL has it
        highest = read_window(planes[0], window, bands, fill, self._expect)
        for plane in planes[1:]:
            highest = np.maximum(highest, read_window(plane, window, bands, fill, self._expect))
        return highest


def _crs_stated(keys: object) -> str:
    """Say what the values of the tag of GeoKeys, if there is one, state as the coordinate system, where nobody
    understands it; empty where they state none.
    """
    if keys is None:
        return ""
    if not isinstance(keys, tuple) or len(keys) < _KEY or len(keys) != _KEY * (1 + keys[3]):
        return "its GeoKeys are damaged"
    codes = {keys[at]: keys[at + 3] for at in range(_KEY, len(keys), _KEY) if keys[at + 1] == 0}
    for key in _CRS_KEYS:
        if key in codes:
            code = codes[key]
            return f"it states EPSG:{code}" if code in _EPSG_CODES else "it states one of its own"
    return ""
