"""Some channels of a picture as a picture of its own: its bands; one of them is gray, three are R, G and B."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kseg_core.config import NodataIn
from kseg_core.images.beside import NOTHING_BESIDE, Beside
from kseg_core.images.decoder import USE_BANDS, Decoder, require_integers
from kseg_core.images.file_masks import FileMask
from kseg_core.images.raster import PictureInfo, Raster, Refused, Samples
from kseg_core.images.windows import Window


class Channels(Decoder):
    """Chosen channels of an opened picture, in the order chosen.

    Parameters
    ----------
    of
        The picture; closed with this one.
    channels
        Which, from 0.
    beside
        The masks and values of nodata that the file carries, of its own bands: those of the channels are kept.

    Raises
    ------
    Refused
        Where there is no such channel.
    """

    def __init__(self, of: Decoder, channels: tuple[int, ...], beside: Beside = NOTHING_BESIDE) -> None:
        there = of.info.bands
        for channel in channels:
            if channel >= there:
                which = "only --channel 0" if there == 1 else f"--channel 0 to {there - 1}"
                raise Refused(f"it has no channel {channel}; there is {which}")
        self._of, self._bands = of, tuple(channel + 1 for channel in channels)
        self.mask = None if beside.mask is None else _MaskOfChannels(beside.mask, channels)
        info = beside.added_to(of.info)
        stated = info.band_nodata
        by_channel = tuple(stated[channel] if channel < len(stated) else None for channel in channels)
        self.info: PictureInfo = dataclasses.replace(
            info,
            bands=len(channels),
            alpha=False,
            alpha_at=None,
            colours=None,
            band_nodata=() if all(value is None for value in by_channel) else by_channel,
        )

    @property
    def stored_shape(self) -> tuple[int, int]:  # type: ignore[override]
        return self._of.stored_shape

    @property
    def orientation(self) -> int:  # type: ignore[override]
        return self._of.orientation

    def raster(self, window: Window) -> Raster:
        """The colours of a window; see `Decoder`."""
        require_integers(self.info.dtype)
        if len(self._bands) not in (1, 3):
            raise Refused(f"{len(self._bands)} channels: neither gray nor RGB; {USE_BANDS}")
        return super().raster(window)

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        """The samples of a window; see `Decoder`."""
        return self._of.values(window, tuple(self._bands[band] for band in bands))

    def close(self) -> None:
        """Let go of what was opened."""
        self._of.close()


class _MaskOfChannels:
    """A mask of a picture, asked for its channels by their new numbers."""

    def __init__(self, of: FileMask, channels: tuple[int, ...]) -> None:
        self._of, self._channels = of, channels

    def valid(self, window: Window, bands: Sequence[int], within: NodataIn) -> NDArray[np.bool_] | None:
        """Where pixels count; see `FileMask`."""
        return self._of.valid(window, [self._channels[band] for band in bands], within)
