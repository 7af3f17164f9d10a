"""What a format is to the rest of the program: a class that tells its files, reads their header, and any window.

Each is in a module of its own and entered in `formats.DECODERS`; what reads windows is a `Decoder`, what can only be
decoded whole a `WholeDecoder`. Nothing else tells what a file is.
"""

from __future__ import annotations

import dataclasses
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import BinaryIO, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kseg_core.choice import DEFAULT, PictureChoice
from kseg_core.config import NodataIn
from kseg_core.images.choosing import require_one_picture
from kseg_core.images.raster import MAX_PIXELS, Colours, PictureInfo, Raster, Refused, Samples, check_size
from kseg_core.images.validity import Nodata, combine, nodata_mask
from kseg_core.images.windows import Window, turned_shape

PALETTE_HAS_NO_BANDS = "a picture with a palette, whose numbers mean nothing by themselves: use --features rgb"
USE_BANDS = "use --features bands"

#: How many bands the colours of a raster are made of.
COLOUR_BANDS = {"gray": 1, "palette": 1, "rgb": 3, "cmyk": 4}

#: Files are read whole up to here: decoders count bytes in signed 32-bit integers.
_MAX_FILE_BYTES = 2**31 - 1


class Opening(NamedTuple):
    """What is to be opened.

    Attributes
    ----------
    path
        Of the file.
    file
        It, at its beginning; empty for a folder. It stays the caller's to close.
    max_pixels
        Pictures that can only be read whole are refused if they have more.
    choice
        Which picture of a file that holds several.
    early
        See `open_picture`.
    """

    path: str
    file: BinaryIO
    max_pixels: int = MAX_PIXELS
    choice: PictureChoice = DEFAULT
    early: bool = False


class FileMask(Protocol):
    """A mask, opened. Windows are in stored pixels."""

    def valid(self, window: Window, bands: Sequence[int], within: NodataIn) -> NDArray[np.bool_] | None:
        """Return where pixels count, None: everywhere.

        Parameters
        ----------
        window
            Which part.
        bands
            The picture's bands that are wanted, from 0: a mask may be of each band.
        within
            Where each band has a mask, whether pixels that ``any`` or ``all`` of them leave out do not count.
        """


class Decoder(ABC):
    """A picture in its stored orientation; making one reads the header. All windows are in stored pixels.

    Attributes
    ----------
    name
        Of the format.
    magic
        What its files begin with: any of these.
    other_names
        What `PictureInfo.format` may say instead.
    of_several
        Which picture is read of a file that may hold several and lets none be chosen.
    mask_suffixes
        What masks of this format may be called after the dot, when their names are otherwise those of images.
    gdal_driver
        GDAL's name of the format where GDAL is asked about its files (where they are on the ground by a world file or
        an ``.aux.xml`` beside them) and may read them for a VRT; empty: neither.
    only_gdal_finds_place
        Whether its files may say where they are on the ground so that no reader here sees it.
    has_pixel_size
        Whether its files may say how large a pixel is (`store.ome`).
    names_bands
        Whether it says in ``info`` what bands are called; of others three are red, green and blue.
    info
        What the header says.
    stored_shape
        (height, width) as stored.
    orientation
        As EXIF numbers them, 1 to 8.
    mask
        Which pixels count by the file's own word.
    """

    name: ClassVar[str]
    magic: ClassVar[tuple[bytes, ...]] = ()
    other_names: ClassVar[tuple[str, ...]] = ()
    of_several: ClassVar[str] = ""
    mask_suffixes: ClassVar[tuple[str, ...]] = ()
    gdal_driver: ClassVar[str] = ""
    only_gdal_finds_place: ClassVar[bool] = False
    has_pixel_size: ClassVar[bool] = False
    names_bands: ClassVar[bool] = False
    info: PictureInfo
    stored_shape: tuple[int, int]
    orientation: int = 1
    mask: FileMask | None = None

    @abstractmethod
    def __init__(self, opening: Opening) -> None: ...

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        """Say whether a file of these first bytes is of this format."""
        return bool(cls.magic) and head.startswith(cls.magic)

    @abstractmethod
    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        """Return (height, width, bands) samples as stored, of these bands from 0, and where alpha is not 0."""

    def raster(self, window: Window) -> Raster:
        """Return the colours of a window: of integers of 8 or 16 bits the first band, or three of three or four.

        Raises
        ------
        Refused
            Where the samples are no colours.
        """
        require_integers(self.info.dtype)
        bands = self.info.but_alpha
        if len(bands) not in (1, 3, 4):
            raise Refused(f"{len(bands)} bands: neither gray nor RGB; {USE_BANDS}")
        samples, valid = self.read(window, bands[:1] if len(bands) == 1 else bands[:3])
        colours: Colours = "gray" if len(bands) == 1 else "rgb"
        maximum = 1 if samples.dtype == np.bool_ else int(np.iinfo(samples.dtype).max)
        return Raster(samples[..., 0] if colours == "gray" else samples, colours, maximum, valid=valid)

    @property
    def has_palette(self) -> bool:
        return self.info.colours == "palette"

    def values(self, window: Window, bands: tuple[int, ...] | None) -> tuple[Samples, NDArray[np.bool_] | None]:
        """Return what `read` does of 1-based bands (None: all but alpha).

        Raises
        ------
        Refused
            Where one is not there, or the samples are indices.
        """
        if self.has_palette:
            raise Refused(PALETTE_HAS_NO_BANDS)
        for band in bands or ():
            if not 1 <= band <= self.info.bands:
                raise Refused(f"it has no band {band}, only {self.info.bands}")
        return self.read(window, self.info.but_alpha if bands is None else tuple(band - 1 for band in bands))

    def nonzero(self, window: Window) -> NDArray[np.bool_]:
        """Return where any band but alpha, or the index of a palette, is not 0."""
        used: NDArray[np.bool_] = (self.read(window, self.info.but_alpha)[0] != 0).any(axis=2)
        return used

    def close(self) -> None:  # noqa: B027  # most hold nothing open
        """Let go of what was opened."""


class WholeDecoder(Decoder):
    """A picture that can only be decoded whole: when the first pixel is asked for, and kept.

    Gray and RGB samples are as decoded (a PNG's of less than 8 bits scaled to 0 to 255); CMYK has 0 for no ink.
    """

    def __init__(self, opening: Opening) -> None:
        require_one_picture(opening.choice, self.name, self.of_several, channels=False)
        self._file, self._max_pixels = opening.file, opening.max_pixels
        self._file.seek(0)
        self.info = self.header(self._file)
        check_size(*self.info.shape, self._max_pixels)
        self._decoded: Raster | None = None

    @classmethod
    @abstractmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        """Read what a file, at its beginning, says of itself, or refuse what it cannot hold; nothing is decoded."""

    @classmethod
    @abstractmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """Decode a file, or refuse it where it has more pixels, or anything of its picture is damaged or missing."""

    @cached_property
    def orientation(self) -> int:  # type: ignore[override]  # read alone
        return self._whole().orientation

    @cached_property
    def stored_shape(self) -> tuple[int, int]:  # type: ignore[override]  # read alone
        height, width = self._whole().samples.shape[:2]
        return height, width

    @property
    def has_palette(self) -> bool:
        return self._whole().colours == "palette"

    def raster(self, window: Window) -> Raster:
        whole = self._whole()
        require_integers("bool" if whole.samples.dtype == np.bool_ else whole.samples.dtype.name)
        if window.shape == self.stored_shape:
            return whole  # pixels by the hundred million are not copied
        valid = None if whole.valid is None else whole.valid[window.slices].copy()
        return dataclasses.replace(whole, samples=whole.samples[window.slices].copy(), valid=valid)

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        whole = self._whole()
        samples = whole.samples[window.slices]
        samples = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
        samples = samples[..., None] if samples.ndim == 2 else samples
        if max(bands) >= samples.shape[2]:
            raise Refused(f"its band {max(bands) + 1} is alpha, which is no band to cluster by")
        in_order = bands == tuple(range(len(bands)))
        values, valid = samples[..., : len(bands)] if in_order else samples[..., list(bands)], whole.valid
        if window.shape != self.stored_shape:  # a part must not hold on to the whole
            values, valid = values.copy(), None if valid is None else valid[window.slices].copy()
        return np.ascontiguousarray(values), valid

    def close(self) -> None:
        """Let go of the pixels."""
        self._decoded = None

    def _whole(self) -> Raster:
        if self._decoded is None:
            if self._file.seek(0, io.SEEK_END) > _MAX_FILE_BYTES:
                raise Refused(f"too large: a {self.name} file of more than 2 GiB")
            self._file.seek(0)
            decoded = self._decode()
            height, width = decoded.samples.shape[:2]
            if turned_shape(height, width, decoded.orientation) != self.info.shape:
                raise Refused("changed while it was being read; run again")
            self._decoded = decoded
        return self._decoded

    def _decode(self) -> Raster:
        return self.decode(self._file.read(), self._max_pixels)  # which may let go of the bytes early


def require_integers(dtype: str) -> None:
    """Refuse to take samples for colours that are not unsigned integers of 8 or 16 bits.

    Raises
    ------
    Refused
        Naming the dtype, and what to do.
    """
    if dtype not in ("bool", "uint8", "uint16"):
        raise Refused(f"{dtype} samples: not an 8- or 16-bit image; {USE_BANDS}")


def without_nodata(raster: Raster, nodata: Nodata | float | None, bands: Sequence[int]) -> Raster:
    """Return the raster with those pixels invalid whose colours are all nodata (or any, where it says so).

    Parameters
    ----------
    bands
        Which bands of the file its samples are, from 0: an index for a palette.
    """
    if nodata is None:
        return raster if raster.stored is None else dataclasses.replace(raster, stored=None)
    samples, count = raster.samples if raster.stored is None else raster.stored, COLOUR_BANDS[raster.colours]
    deep = samples[..., None] if samples.ndim == 2 else samples[..., :count]
    valid = combine(raster.valid, nodata_mask(deep, nodata, bands=bands[:count]))
    return dataclasses.replace(raster, valid=valid, stored=None)
