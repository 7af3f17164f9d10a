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

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile

from kseg_core.choice import DEFAULT, PictureChoice
from kseg_core.images import tiff_directory as tags
from kseg_core.images.exif import turned_shape
from kseg_core.images.file_masks import PageMask
from kseg_core.images.gdal_metadata import as_number, parse_tag
from kseg_core.images.geo import GEO_KEYS, PLACED_TAGS, crs_stated
from kseg_core.images.raster import PictureInfo, Raster, Refused, Samples, check_size
from kseg_core.images.stored import PALETTE_HAS_NO_BANDS, chosen_bands, without_nodata
from kseg_core.images.tiff_codecs import remarks_of
from kseg_core.images.tiff_colours import alpha_band, check_colours, colours_of, dtype_of, orientation_of, to_raster
from kseg_core.images.tiff_pages import Chosen, mask_page, picture_pages
from kseg_core.images.tiff_segments import Expect, check_layout, check_page, natural_block, read_box
from kseg_core.images.validity import Nodata, fits
from kseg_core.images.windows import Box


class TiffPicture:
    """A TIFF opened for reading by windows.

    Parameters
    ----------
    file
        It stays the caller's to close.
    max_pixels
        The limit for what can only be read whole.
    choice
        Which of its pictures.
    early
        See `open_picture`.
    """

    def __init__(
        self, file: BinaryIO, max_pixels: int, choice: PictureChoice = DEFAULT, *, early: bool = False
    ) -> None:
        self._expect: Expect | None = getattr(file, "expect", None)  # of one in an object store
        self._kept: Samples | None = None
        directories = tags.Directories(file)
        directories.first.check()
        file.seek(0)
        with remarks_of("tifffile"), ExitStack() as closing:  # what it remarks on a damaged file we say, once
            # Hamamatsu's slides are OpenSlide's to read, and the other files of a set inputs of their own.
            tiff = closing.enter_context(TiffFile(file, is_ndpi=False, _multifile=False))
            chosen = picture_pages(tiff, directories, choice)
            self._page, self._channels = chosen.first, chosen.bands
            self.stored_shape: tuple[int, int] = (self._page.imagelength, self._page.imagewidth)
            self.orientation = orientation_of(self._page)
            self._alpha_of_page = alpha_band(self._page, early=early)
            self.info = self._checked_info(chosen)
            if self.info.block is None:
                check_size(*self.stored_shape, max_pixels)
            mask = mask_page(tiff, directories, self._page)
            self.mask = None
            if mask is not None:
                check_page(mask)
                per_band = mask.samplesperpixel == self._page.samplesperpixel
                self.mask = PageMask(mask, file, max_pixels, per_band=per_band)
            self._closing = closing.pop_all()

    def _checked_info(self, chosen: Chosen) -> PictureInfo:
        """What the page says of itself; Refused where that cannot be, or is of no kind that is read here."""
        page = self._page
        check_size(*self.stored_shape, sys.maxsize)
        dtype = dtype_of(page)
        check_layout(page)
        block = natural_block(page)
        for plane in (plane for planes in self._channels for plane in planes):
            check_page(plane)
        bands = len(self._channels) * int(page.samplesperpixel)
        alpha = self._alpha_of_page if bands > 1 and len(self._channels) == 1 else None
        metadata, placed = page.tags.valueof(tags.GDAL_METADATA, None), None
        if not PLACED_TAGS.isdisjoint(page.tags.keys()):  # 0: the first directory, which every program opens
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
            notes=chosen.notes,
            rules=chosen.rules,
            placed=placed,
            crs_stated=crs_stated(page.tags.valueof(GEO_KEYS, None)),
            band_nodata=() if metadata is None else tuple(map(as_number, parse_tag(str(metadata)).nodata_values)),
            alpha_at=alpha,
        )

    def raster(self, box: Box, nodata: Nodata | float | None) -> Raster:
        """The colours of a box; see `Stored`."""
        check_colours(self._page, self.info.bands, self._alpha_of_page)
        samples = self._read(box, None)
        flat = samples[..., 0] if samples.shape[2] == 1 else samples
        raster, colours = to_raster(self._page, flat, self._alpha_of_page), self.info.but_alpha
        in_order = colours == tuple(range(len(colours)))
        return without_nodata(raster, samples if in_order else samples[..., list(colours)], nodata, colours)

    def values(self, box: Box, bands: tuple[int, ...] | None) -> tuple[Samples, NDArray[np.bool_] | None]:
        """The samples of a box; see `Stored`."""
        if self.info.colours == "palette":
            raise Refused(PALETTE_HAS_NO_BANDS)
        alpha, count = self.info.alpha_at, self.info.bands
        chosen = self.info.but_alpha if bands is None else chosen_bands(bands, count, count)
        wanted = chosen if alpha is None or alpha in chosen else (*chosen, alpha)
        samples = self._read(box, None if wanted == tuple(range(count)) else wanted)
        valid = None if alpha is None else samples[..., wanted.index(alpha)] != 0
        return samples[..., : len(chosen)], valid

    def nonzero(self, box: Box) -> NDArray[np.bool_]:
        """Where a mask says "use"; see `Stored`."""
        used: NDArray[np.bool_] = (self._read(box, self.info.but_alpha if self.info.alpha else None) != 0).any(axis=2)
        return used

    def close(self) -> None:
        """Let go of what was opened."""
        self._closing.close()

    def _read(self, box: Box, bands: Sequence[int] | None) -> Samples:
        """Decode a box, (height, width, bands); what can only be decoded whole is kept for the next one."""
        if self.info.block is not None or box == Box.whole(self.stored_shape):
            return self._decoded(box, bands)
        if self._kept is None:
            self._kept = self._decoded(Box.whole(self.stored_shape), None)
        part = self._kept[box.slices]
        return part.copy() if bands is None else part[..., list(bands)]

    def _decoded(self, box: Box, bands: Sequence[int] | None) -> Samples:
        if len(self._channels) == 1:
            return self._projected(self._channels[0], box, bands)
        each = int(self._page.samplesperpixel)
        chosen = range(self.info.bands) if bands is None else bands
        out = np.empty((*box.shape, len(chosen)), self._page.dtype)
        for number, band in enumerate(chosen):
            channel, sample = divmod(band, each)
            only = None if each == 1 else (sample,)
            out[..., number] = self._projected(self._channels[channel], box, only)[..., 0]
        return out

    def _projected(self, planes: Sequence[Any], box: Box, bands: Sequence[int] | None) -> Samples:
        """The largest values over some planes, as NumPy's ``max`` has them; nearly always there is one."""
        nodata = self.info.nodata
        fill = nodata if nodata is not None and fits(nodata, self._page.dtype) else 0  # as GDAL has it
        highest = read_box(planes[0], box, bands, fill, self._expect)
        for plane in planes[1:]:
            highest = np.maximum(highest, read_box(plane, box, bands, fill, self._expect))
        return highest
