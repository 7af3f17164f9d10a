"""Any part of a picture: as 8-bit sRGB, or the samples that are stored."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from kseg_core.choice import DEFAULT, PictureChoice
from kseg_core.config import NodataIn
from kseg_core.images.band_names import of_colours
from kseg_core.images.decoder import COLOUR_BANDS, USE_BANDS, Decoder, Opening, require_integers, without_nodata
from kseg_core.images.failures import opened, refusing
from kseg_core.images.file_masks import Carried, MaskOfChannels, carried_by
from kseg_core.images.formats import decoder_of
from kseg_core.images.geo import Place, read_place
from kseg_core.images.raster import MAX_PIXELS, PictureInfo, Pixels, Raster, Refused, Samples
from kseg_core.images.validity import Nodata, combine, nodata_mask
from kseg_core.images.vrt import Vrt
from kseg_core.images.windows import Window, stored_window, turn_samples, window_of
from kseg_core.images.zarrs import ZarrImage, is_zarr


class Picture:
    """A picture opened for reading parts of it. Not to be used by several threads at once; cheap to open.

    Made by `open_picture`; a context manager. Rows and columns are those that a person sees, as slices without a step
    that lie within the picture.
    """

    def __init__(self, path: str, stored: Decoder, closing: ExitStack, carried: Carried) -> None:
        self._path, self._stored, self._closing = path, stored, closing
        self._mask, self.info = carried.mask, carried.added_to(stored.info)

    def turned(self) -> tuple[int, tuple[int, int]]:
        """EXIF's orientation, 1 to 8, and (height, width) as stored; some formats are decoded to know them."""
        with refusing(self._path, self.info.format):
            return self._stored.orientation, self._stored.stored_shape

    def place(self) -> Place:
        """Where it is on the ground, and what there is to say of that."""
        return read_place(self._path, self.info.format, self.info.placed, self.turned, self.info.crs_stated)

    def rgb(self, rows: slice, columns: slice, nodata: Nodata | float | None = None) -> Pixels:
        """Read a part as 8-bit sRGB.

        Parameters
        ----------
        rows, columns
            Which part.
        nodata
            Pixels all of whose colour bands (or any, if it says so) are stored as this value (an index, where there is
            a palette) are not valid. Tiles that GDAL left out of the file have the file's nodata value, or 0.

        Returns
        -------
        Exactly the pixels that `read_image` has there; `valid` is None where all pixels of the part are valid.

        Raises
        ------
        UnreadableImage
            Where anything that the part needs is damaged or missing, or the picture is not of colours (float, int16,
            more than 4 bands, …).
        """
        from kseg_core.images import srgb

        window = window_of(rows, columns, self.info.shape)
        with refusing(self._path, self.info.format):
            stored_window = self._stored_window(window)
            raster = without_nodata(self._stored.raster(stored_window), nodata, self.info.but_alpha)
            if self._mask is not None:
                within = nodata.within if isinstance(nodata, Nodata) else None
                colours = self.info.but_alpha[: COLOUR_BANDS[raster.colours]]
                counts = self._mask.valid(stored_window, colours, within or "all")
                raster = dataclasses.replace(raster, valid=combine(raster.valid, counts))
            return srgb.to_rgb(raster)._replace(top=window.top, left=window.left)

    def samples(
        self, rows: slice, columns: slice, bands: tuple[int, ...] | None = None, nodata: Nodata | float | None = None
    ) -> Pixels:
        """Read a part as it is stored.

        Parameters
        ----------
        rows, columns
            Which part.
        bands
            From 1, in the order wanted; None: all but alpha.
        nodata
            Pixels any of whose bands (or all, if it says so) are stored as this value are not valid.

        Returns
        -------
        Samples in the dtype of `info`; tiles that GDAL left out of the file have the file's nodata value, or 0. Pixels
        are not valid where alpha is 0, and where bands are nodata, NaN or infinite.

        Raises
        ------
        UnreadableImage
            Where anything that the part needs is damaged or missing, a band is not there, or the picture
            has a palette.
        """
        window = window_of(rows, columns, self.info.shape)
        with refusing(self._path, self.info.format):
            values, valid = self.values(rows, columns, bands)
            numbers = self.info.but_alpha if bands is None else [band - 1 for band in bands]
            valid = combine(valid, nodata_mask(values, nodata, "any", numbers))
            within = nodata.within if isinstance(nodata, Nodata) else None
            valid = combine(valid, self.masked(rows, columns, numbers, within or "any"))
            return Pixels(values, valid, window.top, window.left)

    def values(
        self, rows: slice, columns: slice, bands: tuple[int, ...] | None = None
    ) -> tuple[Samples, NDArray[np.bool_] | None]:
        """Read a part as it is stored, whatever its values mean: what `samples` has, and where alpha is not 0."""
        window = window_of(rows, columns, self.info.shape)
        with refusing(self._path, self.info.format):
            values, valid = self._stored.values(self._stored_window(window), bands)
            values = values.view(np.uint8) if values.dtype == np.bool_ else values
            turned = None if valid is None else turn_samples(valid, self._stored.orientation)
            return turn_samples(values, self._stored.orientation), turned

    def masked(
        self, rows: slice, columns: slice, bands: Sequence[int] = (0,), within: NodataIn = "any"
    ) -> NDArray[np.bool_] | None:
        """Read where a part counts by the mask that the file carries; parameters as of `FileMask.valid`."""
        if self._mask is None:
            return None
        window = window_of(rows, columns, self.info.shape)
        with refusing(self._path, self.info.format):
            valid = self._mask.valid(self._stored_window(window), bands, within)
            return None if valid is None else turn_samples(valid, self._stored.orientation)

    def nonzero(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Read a part of a mask: where any band but alpha, or the index of a palette, is not 0.

        Raises
        ------
        UnreadableImage
            Where anything that the part needs is damaged or missing.
        """
        window = window_of(rows, columns, self.info.shape)
        with refusing(self._path, self.info.format):
            return turn_samples(self._stored.nonzero(self._stored_window(window)), self._stored.orientation)

    def numbers(self, rows: slice, columns: slice, nodata: Nodata | None = None) -> Pixels:
        """Read a part of a label image: as it is stored, indices where there is a palette.

        Parameters
        ----------
        rows, columns
            Which part.
        nodata
            Pixels all of whose bands are stored as this value are not valid.

        Returns
        -------
        Samples of all bands but alpha. Pixels are not valid as `samples` has it.

        Raises
        ------
        UnreadableImage
            Where anything that the part needs is damaged or missing.
        """
        window = window_of(rows, columns, self.info.shape)
        with refusing(self._path, self.info.format):
            stored_window, bands = self._stored_window(window), self.info.but_alpha
            values, valid = self._stored.read(stored_window, bands)
            values = values.view(np.uint8) if values.dtype == np.bool_ else values
            valid = combine(valid, nodata_mask(values, nodata, "all", bands))
            if self._mask is not None:
                valid = combine(valid, self._mask.valid(stored_window, bands, "all"))
            turned = None if valid is None else turn_samples(valid, self._stored.orientation)
            return Pixels(turn_samples(values, self._stored.orientation), turned, window.top, window.left)

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Picture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stored_window(self, window: Window) -> Window:
        return stored_window(window, self._stored.stored_shape, self._stored.orientation)


def open_picture(
    path: str,
    *,
    max_pixels: int = MAX_PIXELS,
    choice: PictureChoice = DEFAULT,
    carried: bool = True,
    early: bool = False,
) -> Picture:
    """Open a picture, or a Zarr array, for reading parts of it.

    Parameters
    ----------
    path
        A file, which may hold surrogate escapes, or the directory of a Zarr array or OME-Zarr image.
    max_pixels
        Pictures that can only be read whole are refused if they have more pixels.
    choice
        Which picture of a file that holds several.
    carried
        Whether the masks and values of nodata that the file carries, within or beside it, are used.
    early
        Whether alpha is what release 0.1.0 took for it: the last band of a TIFF, by its tags alone.

    Raises
    ------
    UnreadableImage
        Where it is not a picture that can be read here, as far as its header tells, or has not what was chosen.
    """
    with ExitStack() as closing:
        if is_zarr(path):
            decoder: type[Decoder] = ZarrImage
            file: BinaryIO = io.BytesIO()
        else:
            # Not `refusing` for as long as the file is open, which would catch what is none of its business.
            with refusing(path, ""):
                file, head = closing.enter_context(opened(path))
            with refusing(path, ""):
                decoder = Vrt if Vrt.sniff(head) else decoder_of(path, file, head)
        with refusing(path, decoder.name):
            stored = decoder(Opening(path, file, max_pixels, choice, early))
        closing.callback(stored.close)
        if not decoder.names_bands:
            stored.info = dataclasses.replace(stored.info, band_names=of_colours(stored.info))
        is_carried = carried and decoder is not ZarrImage
        extras = carried_by(path, file, stored, max_pixels, closing) if is_carried else Carried()
        with refusing(path, decoder.name):
            stored, extras = channels_of(stored, choice.channel, extras)
        return Picture(path, stored, closing.pop_all(), extras)


def read_info(
    path: str, *, max_pixels: int = MAX_PIXELS, choice: PictureChoice = DEFAULT, carried: bool = True
) -> PictureInfo:
    """Read what a picture says of itself, without decoding it; parameters and errors as of `open_picture`."""
    with open_picture(path, max_pixels=max_pixels, choice=choice, carried=carried) as picture:
        return picture.info


def channels_of(of: Decoder, channels: tuple[int, ...] | None, carried: Carried) -> tuple[Decoder, Carried]:
    """Return a picture of chosen channels of an opened one, and what it carries; None: of all.

    Raises
    ------
    Refused
        Where there is no such channel.
    """
    if channels is None:
        return of, carried
    chosen = _Channels(of, channels, carried)
    return chosen, Carried(chosen.mask)


class _Channels(Decoder):
    """Chosen channels of an opened picture, in the order chosen, as a picture of its own; one is gray, three are RGB.

    Parameters
    ----------
    of
        The picture; closed with this one.
    channels
        Which, from 0.
    carried
        The masks and values of nodata that the file carries, of its own bands: those of the channels are kept.

    Raises
    ------
    Refused
        Where there is no such channel.
    """

    def __init__(self, of: Decoder, channels: tuple[int, ...], carried: Carried) -> None:
        there = of.info.bands
        for channel in channels:
            if channel >= there:
                which = "only --channel 0" if there == 1 else f"--channel 0 to {there - 1}"
                raise Refused(f"it has no channel {channel}; there is {which}")
        self._of, self._bands = of, tuple(channel + 1 for channel in channels)
        self.mask = None if carried.mask is None else MaskOfChannels(carried.mask, channels)
        info = carried.added_to(of.info)
        stated = info.band_nodata
        by_channel = tuple(stated[channel] if channel < len(stated) else None for channel in channels)
        self.info = dataclasses.replace(
            info,
            bands=len(channels),
            alpha=False,
            alpha_at=None,
            colours=None,
            band_nodata=() if all(value is None for value in by_channel) else by_channel,
            band_names=tuple(info.band_names[channel] for channel in channels) if info.band_names else (),
            band_roles=tuple(info.band_roles[channel] for channel in channels) if info.band_roles else (),
        )

    @property
    def stored_shape(self) -> tuple[int, int]:  # type: ignore[override]  # read alone
        return self._of.stored_shape

    @property
    def orientation(self) -> int:  # type: ignore[override]  # read alone
        return self._of.orientation

    def raster(self, window: Window) -> Raster:
        require_integers(self.info.dtype)
        if self.info.separate:
            return self._of.raster(window)
        if len(self._bands) not in (1, 3):
            raise Refused(f"{len(self._bands)} channels: neither gray nor RGB; {USE_BANDS}")
        return super().raster(window)

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        return self._of.values(window, tuple(self._bands[band] for band in bands))

    def close(self) -> None:
        self._of.close()
