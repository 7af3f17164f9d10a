"""What the samples of a TIFF page are, by its tags: gray, RGB, palette or CMYK, and which band is alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import tiff_lab, tiff_tags, tiff_ycbcr
from kseg_core.images.exif import known
from kseg_core.images.gdal import parse_tag
from kseg_core.images.raster import Colours, NotSupported, Raster, Refused, Samples, check_dtype

CONVERT = "convert it to 8- or 16-bit gray or RGB first"
USE_BANDS = "use --features bands"

_GRAYS = (tiff_tags.MIN_IS_WHITE, tiff_tags.MIN_IS_BLACK)
_COLOURS = (tiff_tags.RGB, tiff_tags.YCBCR)


def orientation_of(page: Any) -> int:
    """Return the orientation tag's value, 1 where it is missing or wrong."""
    return known(page.tags.valueof(tiff_tags.ORIENTATION, 1))


def dtype_of(page: Any) -> str:
    """Return the name of the samples' dtype, ``"uint8"`` for 1-bit ones.

    Raises
    ------
    Refused
        For samples that can be read neither as colours nor as bands.
    """
    bits = page.bitspersample
    if page.sampleformat == tiff_tags.COMPLEX_INTEGER:  # which tifffile has no dtype for
        check_dtype(f"complex int{int(bits) // 2}")
    if page.dtype is None or not isinstance(bits, int):
        raise Refused(f"samples of {bits} bits: not an 8- or 16-bit image; {CONVERT}")
    return check_dtype("uint8" if page.dtype == np.bool_ else str(page.dtype))


def check_samples(page: Any) -> None:
    """Refuse to take samples for colours that are not unsigned integers of up to 16 bits.

    Raises
    ------
    Refused
        Naming the dtype, and what to do.
    """
    if page.sampleformat not in (tiff_tags.UNSIGNED, tiff_tags.UNDEFINED) or page.bitspersample > 16:
        raise Refused(f"{page.dtype} samples: not an 8- or 16-bit image; {USE_BANDS}")


def colours_of(page: Any) -> Colours | None:
    """Return ``"palette"`` or ``"cmyk"`` where the tags say so."""
    special: dict[int, Colours] = {tiff_tags.PALETTE: "palette", tiff_tags.SEPARATED: "cmyk"}
    return special.get(int(page.photometric))


def check_bands(page: Any, pages: int, alpha: int | None) -> None:
    """Refuse what is no picture by its number of bands.

    Parameters
    ----------
    page
        The first page (``TiffPage``).
    pages
        How many of one band each, or one page of several.
    alpha
        As of `alpha_band`.

    Raises
    ------
    Refused
        Naming the number, and what to do.
    """
    count = pages if pages > 1 else page.samplesperpixel
    separated = page.photometric == tiff_tags.SEPARATED
    if (page.photometric in (*_COLOURS, tiff_lab.CIELAB, tiff_lab.ICCLAB) and count < 3) or (separated and count < 4):
        raise Refused(f"damaged: a colour TIFF of {count} bands")
    if count > (5 if separated else 4):
        raise Refused(f"{count} bands: not a gray or RGB image; {USE_BANDS}")
    if page.photometric in _GRAYS and count == 2 and alpha is None:
        raise Refused(f"2 bands: neither gray nor RGB; {USE_BANDS}")


def to_raster(page: Any, samples: Samples, alpha: int | None) -> Raster:
    """Say what the samples are.

    Parameters
    ----------
    page
        The first page (``TiffPage``).
    samples
        bool, uint8 or uint16 (height, width) or (height, width, bands).
    alpha
        As of `alpha_band`.

    Raises
    ------
    Refused
        For colours that are not read here.
    """
    maximum = (1 << page.bitspersample) - 1
    samples = _alpha_last(alpha, samples)
    valid = None if alpha is None or samples.ndim == 2 else samples[..., -1] != 0
    palette = None
    if page.photometric == tiff_tags.PALETTE:
        palette = _palette(page)
        samples = samples if samples.ndim == 2 else samples[..., 0]
        if samples.dtype == np.bool_:
            samples = samples.view(np.uint8)
    elif page.photometric == tiff_tags.SEPARATED:
        samples = samples[..., :4]
    elif page.photometric in (*_GRAYS, *_COLOURS):
        samples = _gray_or_rgb(page, samples, maximum, _kind_of_alpha(page, alpha))
    elif page.photometric in (tiff_lab.CIELAB, tiff_lab.ICCLAB) and page.bitspersample in (8, 16):
        samples, maximum = tiff_lab.to_rgb(samples[..., :3], int(page.photometric)), 255
    else:
        name = getattr(page.photometric, "name", page.photometric)
        raise NotSupported(f"{name} colours of {page.bitspersample} bits: not supported here; {CONVERT}")
    plain: Colours = "gray" if samples.ndim == 2 else "rgb"
    icc = page.tags.valueof(tiff_tags.PROFILE, None)
    if page.photometric in (tiff_lab.CIELAB, tiff_lab.ICCLAB):
        icc = None  # it describes L*, a*, b*, which are sRGB by now
    return Raster(
        samples,
        colours_of(page) or plain,
        maximum,
        palette=palette,
        valid=valid,
        icc=icc if isinstance(icc, bytes) else None,
        orientation=orientation_of(page),
    )


def _gray_or_rgb(page: Any, samples: Samples, maximum: int, alpha: int) -> Samples:
    """Return (height, width) or (height, width, 3 or 4), 0 for black, premultiplication undone."""
    if page.photometric == tiff_tags.YCBCR and page.compression not in (tiff_tags.JPEG, tiff_tags.OLD_JPEG):
        samples = _from_ycbcr(page, samples)
    if alpha == tiff_tags.PREMULTIPLIED and samples.ndim == 3:
        samples = _divided_by_alpha(samples, maximum)
    if samples.ndim == 3:
        # Bands the tags give no colour to are shown as viewers do: three and more as R, G, B.
        bands = samples.shape[2] - bool(alpha)
        samples = samples[..., 0] if bands < 3 else samples
    # A page that does not say what its samples are is RGB where it has three of them, as libtiff has it.
    unsaid = tiff_tags.PHOTOMETRIC not in page.tags and samples.ndim == 3
    if page.photometric == tiff_tags.MIN_IS_WHITE and not unsaid:
        samples = ~samples if samples.dtype == np.bool_ else maximum - samples
    return samples


def _kind_of_alpha(page: Any, band: int | None) -> int:
    """Return 1 (premultiplied) or 2 where a band is alpha, 0 where none is."""
    if band is None:
        return 0
    extra = [int(kind) for kind in page.extrasamples]
    at = band - (page.samplesperpixel - len(extra))
    return tiff_tags.PREMULTIPLIED if at >= 0 and extra[at] == tiff_tags.PREMULTIPLIED else tiff_tags.ALPHA


def alpha_band(page: Any, *, early: bool = False) -> int | None:
    """Return which band is alpha, from 0: by ExtraSamples, or by what GDAL's metadata say of bands; None: none is.

    Never by a band's place or by how many there are. Of several the first. ``early``: as release 0.1.0 had it, the last
    band or none, by ExtraSamples alone.
    """
    if early:
        last = int(page.extrasamples[-1]) if page.extrasamples else 0
        return page.samplesperpixel - 1 if last in (tiff_tags.PREMULTIPLIED, tiff_tags.ALPHA) else None
    text = page.tags.valueof(tiff_tags.GDAL_METADATA, None)
    roles = {} if text is None else parse_tag(str(text)).roles
    count = page.samplesperpixel
    extra = [int(kind) for kind in page.extrasamples]
    for band in range(count):
        at = band - (count - len(extra))
        tagged = at >= 0 and extra[at] in (tiff_tags.PREMULTIPLIED, tiff_tags.ALPHA)
        if roles.get(band, "alpha" if tagged else "") == "alpha":
            return band
    return None


def _alpha_last(band: int | None, samples: Samples) -> Samples:
    """Return samples (height, width, bands) whose last band is alpha, where there is one."""
    if band is None or samples.ndim == 2 or band == samples.shape[2] - 1:
        return samples
    return samples[..., [*(each for each in range(samples.shape[2]) if each != band), band]]


def _divided_by_alpha(samples: Samples, maximum: int) -> Samples:
    """Undo premultiplication: a partly transparent pixel keeps its colour. The last band stays."""
    alpha = np.maximum(samples[..., -1:].astype(np.uint64), 1)
    colours = (samples[..., :-1].astype(np.uint64) * maximum + alpha // 2) // alpha
    out = samples.copy()
    out[..., :-1] = np.minimum(colours, maximum)
    return out


def _from_ycbcr(page: Any, samples: Samples) -> Samples:
    """Convert YCbCr that is not JPEG-compressed."""
    if page.bitspersample != 8 or samples.ndim != 3 or samples.shape[2] != 3:
        raise NotSupported(f"YCbCr of {page.bitspersample} bits or with alpha: not supported here; {CONVERT}")
    return tiff_ycbcr.to_rgb(page, samples)


def _palette(page: Any) -> NDArray[np.uint8]:
    """Return the colour map as uint8 (n, 3)."""
    tag = page.tags.valueof(tiff_tags.COLOUR_MAP, None)
    if tag is None:
        raise Refused("damaged: the TIFF lacks its colour map")
    wide = np.asarray(tag, np.uint32)
    if wide.size != 3 << page.bitspersample:
        raise Refused(f"damaged: the TIFF's colour map has {wide.size} numbers of {3 << page.bitspersample}")
    wide = wide.reshape(3, -1).T
    if wide.max(initial=0) > 255:  # some writers put 8-bit values where 16-bit ones belong
        wide >>= 8  # writers widen by 257 or by 256; the high byte is the colour of either
    return np.ascontiguousarray(wide, np.uint8)
