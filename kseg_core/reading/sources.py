"""What an image is before its pixels are read, and the pieces it is read in: sent to a worker, opened there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..band_files import stacked_files
from ..choice import DEFAULT, PictureChoice
from ..config import InputSettings
from ..errors import UnreadableImage, Unsuited, UsageError
from ..expressions import Bands
from ..halos import Region, grown
from ..images import MAX_PIXELS, Picture, PictureInfo, Pixels, open_image, open_picture, read_info
from ..images.geo import GeoReference
from ..images.masks import check_mask_shape, is_folder_of_masks, mask_path
from ..images.pixel_size import PixelSize, given_pixel_size
from ..images.polygons import is_polygons, polygon_mask, read_polygons
from ..images.raster import Refused
from ..images.selection import Selection
from ..images.validity import Nodata, combine, nodata_of
from ..inputs.companions import MASK
from ..inputs.keys import printable_source
from ..inputs.listing import InputFile, file_status
from .decoded import read_once
from .given_size import notes_of_given
from .smoothing import Smoothing, smoothed, smoothing_of

# An image that can be read by windows is worked on in pieces of about so many pixels: 2048 x 2048. Decoded pixels,
# counts and labels of one are some fifty megabytes; a task's own cost is below a hundredth of its work.
PIECE_PX = 1 << 22

# A piece that is smoothed is read with its surroundings. Where a picture's own tiles are large, that is many of them:
# such a piece is made larger, until that is no more than so many times what is in it, or it has so many bytes.
MOST_AGAIN = 2
MOST_PIECE_BYTES = 1 << 27

# Reading a picture again against keeping its pixels, measured on a virtual machine: a decoder gets through one byte of
# a JPEG while eight bytes of new memory are made ready; opening a file takes as long as a megabyte of it.
DECODED_MEANWHILE = 8
OPENING_BYTES = 1 << 20

READ_OTHERWISE = (
    "release 0.1.0, by whose rules this output is made, took another picture of this file (its first page): choose "
    "another output with -o, or replace it with --overwrite"
)
CHANGED = "changed while it was being read; run again"


@dataclass(frozen=True)
class ImageSource:
    """A file (or Zarr array) known to be an image, and what of it counts.

    Parameters
    ----------
    file
        Where it is and what it is called.
    info
        What its header says.
    nodata
        The values that stand for no data; None: none does.
    mask
        A picture of the same shape that is not 0 where the image's pixels count; None: all may.
    max_pixels
        Most pixels of an image that must be decoded whole.
    choice
        Which picture of the file.
    carried
        Whether the masks that the file carries count, and alpha by today's rules; not for what release 0.1.0 made.
    geo
        Where it is on the ground, where that is known.
    mask_info
        What the mask's header says; None without one, and of polygons.
    smoothing
        How its pixels are smoothed before they are clustered and labelled; None: not.
    given_size
        How large its pixels are, whatever its file says; None: as that says.
    """

    file: InputFile
    info: PictureInfo
    nodata: Nodata | None = None
    mask: str | None = None
    max_pixels: int = MAX_PIXELS
    choice: PictureChoice = DEFAULT
    carried: bool = True
    geo: GeoReference | None = None
    mask_info: PictureInfo | None = None
    smoothing: Smoothing | None = None
    given_size: PixelSize | None = None

    @property
    def halo(self) -> int:
        """How many pixels around a window are read with it."""
        return 0 if self.smoothing is None else self.smoothing.halo

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) as a person sees it."""
        return self.info.shape

    @property
    def pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    @classmethod
    def open(cls, file: InputFile, settings: InputSettings) -> ImageSource:
        """Look at the header, and find the mask.

        Raises
        ------
        UnreadableImage
            If it is not an image this program reads, its mask is missing or of another shape, or how large it is in the
            unit of its smoothing is not known.
        """
        try:
            carried, rule = settings.validity > 1, settings.stack_rule
            with open_image(
                file.path,
                max_pixels=settings.max_pixels,
                choice=settings.choice,
                carried=carried,
                early=not carried,
                bands=() if rule is None else rule.bands_of(file.path),
            ) as picture:
                info, place = picture.info, picture.place()
            if settings.validity == 1 and info.rules > 1:
                raise UnreadableImage(file.source, READ_OTHERWISE)
            info = replace(info, notes=info.notes + place.notes) if place.notes else info
            mask, mask_info = None, None
            if settings.mask is not None:
                mask = mask_path(settings.mask, file.below, file.source)
                info, mask_info = _with_mask(info, file, mask, place.geo, settings)
            given = None if settings.pixel_size is None else given_pixel_size(settings.pixel_size)
            if given is not None:
                info = replace(info, notes=info.notes + notes_of_given(file.path, info, place.geo, given))
            smoothing = smoothing_of(settings.smooth, file, info, place.geo, given)
        except Unsuited:  # which names the input itself
            raise
        except UnreadableImage as error:
            raise UnreadableImage(file.source, error.reason) from error
        nodata = nodata_of(settings, info)
        beyond = (settings.max_pixels, settings.choice, carried, place.geo, mask_info, smoothing, given)
        return cls(file, info, nodata, mask, *beyond)

    @contextmanager
    def opened(self) -> Iterator[Picture]:
        """The picture, of the header seen before; failures name the image.

        Raises
        ------
        UnreadableImage
            If it cannot be opened or read, or is not the image of the header any more.
        """
        try:
            with open_image(
                self.file.path,
                max_pixels=self.max_pixels,
                choice=self.choice,
                carried=self.carried,
                early=not self.carried,
                known=self.info,
            ) as picture:
                if (picture.info.shape, picture.info.dtype) != (self.shape, self.info.dtype):
                    raise UnreadableImage(self.file.path, CHANGED)
                yield picture
            status = file_status(self.file.path)  # after reading: what was read is what was listed
            if status is None or (status.st_size, status.st_mtime_ns) != (self.file.size, self.file.modified_ns):
                raise UnreadableImage(self.file.path, CHANGED)
        except UnreadableImage as error:
            raise UnreadableImage(self.file.source, error.reason) from error

    def selected(self, bands: Bands) -> Selection:
        """What is read for bands that are clustered, and made of it.

        Raises
        ------
        UnreadableImage
            If it lacks one of them.
        """
        try:
            return Selection.of(bands, self.info)
        except Refused as error:
            raise UnreadableImage(self.file.source, str(error)) from error

    def worth_keeping(self, *, as_bands: bool) -> bool:
        """Whether reading its pixels once more takes longer than making room for them.

        Bands are read more than twice, and what comes over a network is not asked for twice. Else it is the bytes of
        the file that take a decoder's time, and those of the pixels that take memory's. Smoothing them takes longer.
        """
        if as_bands or self.smoothing is not None or storage.is_remote(self.file.path):
            return True
        return OPENING_BYTES + self.file.size * DECODED_MEANWHILE >= self.pixels * 3

    def _decodes_much_again(self, down: int, across: int) -> bool:
        """Whether pieces of this shape have most of the picture's own tiles or strips decoded more than twice, as they
        are in the surroundings of others, and may be larger.
        """
        if self.smoothing is None or self.info.block is None:
            return False
        height, width = self.shape
        around = [-(-self.halo // block) * block for block in self.info.block]
        decoded = min(height, down + 2 * around[0]) * min(width, across + 2 * around[1])
        a_pixel = self.info.bands * np.dtype(self.info.dtype).itemsize
        return decoded > MOST_AGAIN * down * across and down * across * a_pixel < MOST_PIECE_BYTES

    @property
    def in_pieces(self) -> bool:
        """Whether it is read by windows and large enough that this pays."""
        return self.info.block is not None and self.pixels > PIECE_PX

    def pieces(self, tile: int) -> list[Piece]:
        """The pieces it is worked on in, aligned to a grid of ``tile`` pixels; one where it must be read whole."""
        height, width = self.shape
        if self.info.block is None or not self.in_pieces:
            return [Piece(self, 0, 0, height, width)]
        side = max(1, round(PIECE_PX**0.5 / tile)) * tile
        across = width if self.info.block[1] >= width else side  # strips are decoded in full width anyway
        down = max(1, PIECE_PX // across // tile) * tile
        while self._decodes_much_again(down, across):
            down, across = down + tile, across if across == width else across + tile
        return [
            Piece(self, top, left, min(down, height - top), min(across, width - left))
            for top in range(0, height, down)
            for left in range(0, width, across)
        ]


@dataclass(frozen=True)
class Piece:
    """A window of an image: what one task reads, and later labels and writes.

    Parameters
    ----------
    source
        The image.
    top, left, height, width
        The window, aligned to the store's tiles.
    """

    source: ImageSource
    top: int
    left: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def file(self) -> InputFile:
        """What it is of."""
        return self.source.file

    @property
    def is_whole(self) -> bool:
        """Whether the image has no other piece."""
        return (self.height, self.width) == self.source.shape

    @property
    def is_last(self) -> bool:
        """Whether it is the last of its image's pieces."""
        return (self.top + self.height, self.left + self.width) == self.source.shape

    @property
    def corner(self) -> tuple[int, int]:
        """Top and left, by which an image's pieces are told apart."""
        return self.top, self.left

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)

    def grown(self, halo: int) -> tuple[Piece, Region]:
        """The piece with what of its image is within ``halo`` pixels of it, and where in that it is."""
        (rows, columns), inner = grown((self.rows, self.columns), halo, self.source.shape)
        wide = replace(
            self, top=rows.start, left=columns.start, height=rows.stop - rows.start, width=columns.stop - columns.start
        )
        return wide, inner

    def read(self, bands: Bands | None = None, *, original: bool = False) -> Pixels:
        """Its pixels as 8-bit sRGB, or with ``bands`` the samples of these (none: all but alpha) as stored.

        Those that are clustered and labelled: smoothed, where its image is to be; derived bands are those of smoothed
        ones. ``original``: these samples are
        wanted as well as they are before that.

        Raises
        ------
        UnreadableImage
            If they cannot be had, or the image is not that of the header any more.
        """
        both = original and self.source.smoothing is not None
        return read_once(self._name(bands, both), lambda: self._read(bands, both))

    def _read(self, bands: Bands | None, original: bool) -> Pixels:
        source = self.source
        selection = None if bands is None else source.selected(bands)
        if source.smoothing is None:
            pixels = self._decoded(self.rows, self.columns, selection)
        else:
            wide, inner = grown((self.rows, self.columns), source.halo, source.shape)
            pixels = self._decoded(*wide, selection)
            pixels = smoothed(pixels, source.smoothing, inner, together=bands is None, original=original)
        return pixels if selection is None else selection.of_pixels(pixels)

    def _decoded(self, rows: slice, columns: slice, selection: Selection | None) -> Pixels:
        nodata = self.source.nodata
        with self.source.opened() as picture:
            if selection is None:
                pixels = picture.rgb(rows, columns, nodata)
            else:
                pixels = picture.samples(rows, columns, selection.numbers or None, selection.nodata(nodata))
            return pixels._replace(valid=combine(pixels.valid, self._masked(rows, columns)))

    def _name(self, bands: Bands | None, original: bool) -> object:
        """What its pixels are kept by, while the files are what they were; None: they are not to be kept."""
        if not self.source.worth_keeping(as_bands=bands is not None):
            return None
        files = stacked_files(self.source.file.path) or (self.source.file.path,)
        beside = [path + MASK for path in files if self.source.carried and not storage.is_remote(path)]
        paths = [*files, *(each for each in beside if os.path.isfile(each))]
        paths += [] if self.source.mask is None else [self.source.mask]
        try:
            found = [storage.stat(path) for path in paths]
        except OSError:
            return None  # reading says what is wrong
        if not all(stat.S_ISREG(state.st_mode) for state in found):
            return None  # a folder of chunks does not tell when one changes
        return (self, bands, original, *((state.st_size, state.st_mtime_ns, state.st_ino) for state in found))

    def _masked(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Where in a window the mask says that pixels count."""
        source = self.source
        if source.mask is None:
            return None
        with _naming(source.mask, source.file):
            if is_polygons(source.mask):
                return polygon_mask(source.mask, source.geo, source.shape).nonzero(rows, columns)
            early = not source.carried
            with open_picture(source.mask, max_pixels=source.max_pixels, carried=False, early=early) as mask:
                return mask.nonzero(rows, columns)


@contextmanager
def _naming(mask: str, file: InputFile) -> Iterator[None]:
    """What is wrong with an image's mask names the mask."""
    try:
        yield
    except UnreadableImage as error:
        raise UnreadableImage(file.source, f"its mask {printable_source(mask)}: {error.reason}") from error


def _with_mask(
    info: PictureInfo, file: InputFile, mask: str, geo: GeoReference | None, settings: InputSettings
) -> tuple[PictureInfo, PictureInfo | None]:
    """What is known of an image and of its mask; of polygons that are elsewhere there is something to say.

    Raises
    ------
    UnreadableImage
        If the mask cannot be used.
    """
    if is_polygons(mask):
        with _naming(mask, file):
            touches = polygon_mask(mask, geo, info.shape).touches
        if touches:
            return info, None
        note = f"no polygon of its mask {printable_source(mask)} is in it: no pixel counts"
        if mask != settings.mask:  # polygons of all images may leave out some of them, one's own may not
            raise UnreadableImage(file.source, note)
        return replace(info, notes=(*info.notes, note)), None
    with _naming(mask, file):
        mask_info = read_info(mask, max_pixels=settings.max_pixels, carried=False)
    check_mask_shape(info.shape, mask_info.shape, file.source, printable_source(mask))
    return info, mask_info


def require_usable_mask(settings: InputSettings) -> None:
    """One mask for all images is looked at before any of them: what is wrong with it is wrong with the job.

    Raises
    ------
    UsageError
        Naming the mask.
    """
    mask = settings.mask
    if mask is None or is_folder_of_masks(mask):
        return
    try:
        if is_polygons(mask):
            read_polygons(mask)
        else:
            read_info(mask, max_pixels=settings.max_pixels, carried=False)
    except UnreadableImage as error:
        raise UsageError(f"--mask {printable_source(mask)}: {error.reason}") from error
