"""What the samples of a TIFF page are, by its tags: gray, RGB, palette, CMYK, YCbCr, CIELAB; which band is alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT

from kseg_core.images import tiff_directory as tags
from kseg_core.images.decoder import USE_BANDS
from kseg_core.images.gdal import parse_tag
from kseg_core.images.raster import Colours, NotSupported, Raster, Refused, Samples, check_dtype, undivided
from kseg_core.images.srgb import encoded

_CONVERT = "convert it to 8- or 16-bit gray or RGB first"
_GRAYS = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
_COLOURS = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
_LABS = (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB)
_LOGS = {PHOTOMETRIC.LOGL: "LogL", PHOTOMETRIC.LOGLUV: "LogLuv"}
_ALPHAS = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)

#: TIFF 6.0, section 20 and 21: of Y, Cb and Cr what is black and white, and the parts of R, G and B in luma.
_RANGES = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
_LUMA = (0.299, 0.587, 0.114)

_D50 = np.array([0.9642, 1.0, 0.8249])  # the white of ICC profiles, and of Photoshop's CIELAB
#: XYZ against D50 to linear sRGB: the inverse of the colorants of ICC profiles of sRGB (IEC 61966-2-1, Bradford).
_TO_LINEAR = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
_ROWS = 64  # worked on at once: float64 of a picture would be 24 bytes a pixel
_LINEAR_BELOW = 216 / 24389  # CIE 15: where the cube root gives way to a line
_KAPPA = 24389 / 27


def dtype_of(page: Any) -> str:
    """Return the name of the samples' dtype, ``"uint8"`` for 1-bit ones.

    Raises
    ------
    Refused
        For samples that can be read neither as colours nor as bands.
    """
    if page.photometric in _LOGS:
        raise NotSupported(
            f"{_LOGS[page.photometric]} (SGI's logarithmic colours): not supported here; "
            "convert it to 8-bit RGB first, e.g. with `tiff2rgba`"
        )
    bits = page.bitspersample
    if page.sampleformat == SAMPLEFORMAT.COMPLEXINT:  # which tifffile has no dtype for
        check_dtype(f"complex int{int(bits) // 2}")
    if page.dtype is None or not isinstance(bits, int):
        raise Refused(f"samples of {bits} bits: not an 8- or 16-bit image; {_CONVERT}")
    return check_dtype("uint8" if page.dtype == np.bool_ else str(page.dtype))


def colours_of(page: Any) -> Colours | None:
    """Return ``"palette"`` or ``"cmyk"`` where the tags say so."""
    special: dict[int, Colours] = {PHOTOMETRIC.PALETTE: "palette", PHOTOMETRIC.SEPARATED: "cmyk"}
    return special.get(int(page.photometric))


def is_of_colours(page: Any) -> bool:
    """Say whether the tags say that samples are red, green and blue."""
    return page.photometric in _COLOURS


def alpha_band(page: Any, *, early: bool = False) -> int | None:
    """Return which band is alpha, from 0: by ExtraSamples, or by what GDAL's metadata say of bands; None: none is.

    Never by a band's place or by how many there are. Of several the first. ``early``: as release 0.1.0 had it, the last
    band or none, by ExtraSamples alone.
    """
    count = page.samplesperpixel
    if early:
        return count - 1 if page.extrasamples and _extra(page, count - 1) in _ALPHAS else None
    text = page.tags.valueof(tags.GDAL_METADATA, None)
    roles = {} if text is None else parse_tag(str(text)).roles
    for band in range(count):
        tagged = _extra(page, band) in _ALPHAS
        if roles.get(band, "alpha" if tagged else "") == "alpha":
            return band
    return None


def _extra(page: Any, band: int) -> int | None:
    """What ExtraSamples says of a band."""
    at = band - (page.samplesperpixel - len(page.extrasamples))
    return int(page.extrasamples[at]) if at >= 0 else None


def check_colours(page: Any, count: int, alpha: int | None) -> None:
    """Refuse what is no picture by its samples or by its number of bands, before it is read.

    Raises
    ------
    Refused
        Naming the dtype or the number, and what to do.
    """
    if page.sampleformat not in (SAMPLEFORMAT.UINT, SAMPLEFORMAT.VOID) or page.bitspersample > 16:
        raise Refused(f"{page.dtype} samples: not an 8- or 16-bit image; {USE_BANDS}")
    is_cmyk = page.photometric == PHOTOMETRIC.SEPARATED
    if count < (4 if is_cmyk else 3 if page.photometric in (*_COLOURS, *_LABS) else 1):
        raise Refused(f"damaged: a colour TIFF of {count} bands")
    if count > (5 if is_cmyk else 4):
        raise Refused(f"{count} bands: not a gray or RGB image; {USE_BANDS}")
    if page.photometric in _GRAYS and count == 2 and alpha is None:
        raise Refused(f"2 bands: neither gray nor RGB; {USE_BANDS}")


def to_raster(page: Any, samples: Samples, alpha: int | None) -> Raster:
    """Say what samples are: bool, uint8 or uint16 (height, width) or (height, width, bands), alpha among them.

    Raises
    ------
    Refused
        For colours that are not read here.
    """
    photometric, maximum, palette, valid = page.photometric, (1 << page.bitspersample) - 1, None, None
    icc = page.tags.valueof(tags.PROFILE, None)
    if alpha is not None and samples.ndim == 3:
        if alpha != samples.shape[2] - 1:
            samples = samples[..., [*(band for band in range(samples.shape[2]) if band != alpha), alpha]]
        valid = samples[..., -1] != 0
    if photometric == PHOTOMETRIC.PALETTE:
        palette = _palette(page)
        samples = samples if samples.ndim == 2 else samples[..., 0]
        samples = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
    elif photometric == PHOTOMETRIC.SEPARATED:
        samples = samples[..., :4]
    elif photometric in (*_GRAYS, *_COLOURS):
        samples = _gray_or_rgb(page, samples, maximum, alpha)
    elif photometric in _LABS and page.bitspersample in (8, 16):
        samples, maximum = _from_lab(samples[..., :3], is_icc=photometric == PHOTOMETRIC.ICCLAB), 255
        icc = None  # it describes L*, a*, b*, which are sRGB by now
    else:
        name = getattr(photometric, "name", photometric)
        raise NotSupported(f"{name} colours of {page.bitspersample} bits: not supported here; {_CONVERT}")
    plain: Colours = "gray" if samples.ndim == 2 else "rgb"
    return Raster(
        samples,
        colours_of(page) or plain,
        maximum,
        palette=palette,
        valid=valid,
        icc=icc if isinstance(icc, bytes) else None,
        orientation=tags.known_orientation(page.tags.valueof(tags.ORIENTATION, 1)),
    )


def _gray_or_rgb(page: Any, samples: Samples, maximum: int, alpha: int | None) -> Samples:
    """Return (height, width) or (height, width, 3 or 4), 0 for black, premultiplication undone."""
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in (COMPRESSION.JPEG, COMPRESSION.OJPEG):
        samples = _from_ycbcr(page, samples)
    if samples.ndim == 3:
        if alpha is not None and _extra(page, alpha) == EXTRASAMPLE.ASSOCALPHA:
            samples = undivided(samples, maximum)
        # Bands the tags give no colour to are shown as viewers do: three and more as R, G, B.
        samples = samples[..., 0] if samples.shape[2] - (alpha is not None) < 3 else samples
    # A page that does not say what its samples are is RGB where it has three of them, as libtiff has it.
    unsaid = tags.PHOTOMETRIC not in page.tags and samples.ndim == 3
    if page.photometric == PHOTOMETRIC.MINISWHITE and not unsaid:
        samples = ~samples if samples.dtype == np.bool_ else maximum - samples
    return samples


def _palette(page: Any) -> NDArray[np.uint8]:
    """Return the colour map as uint8 (n, 3)."""
    tag = page.tags.valueof(tags.COLOUR_MAP, None)
    if tag is None:
        raise Refused("damaged: the TIFF lacks its colour map")
    wide = np.asarray(tag, np.uint32)
    if wide.size != 3 << page.bitspersample:
        raise Refused(f"damaged: the TIFF's colour map has {wide.size} numbers of {3 << page.bitspersample}")
    wide = wide.reshape(3, -1).T
    if wide.max(initial=0) > 255:  # some writers put 8-bit values where 16-bit ones belong
        wide >>= 8  # writers widen by 257 or by 256; the high byte is the colour of either
    return np.ascontiguousarray(wide, np.uint8)


def _from_ycbcr(page: Any, samples: Samples) -> NDArray[np.uint8]:
    """Convert YCbCr that is not JPEG-compressed by the page's own coefficients and ranges (TIFF 6.0, section 21)."""
    if page.bitspersample != 8 or samples.ndim != 3 or samples.shape[2] != 3:
        raise NotSupported(f"YCbCr of {page.bitspersample} bits or with alpha: not supported here; {_CONVERT}")
    red, green, blue = _fractions(page, tags.COEFFICIENTS, _LUMA)
    ranges = _fractions(page, tags.BLACK_WHITE, _RANGES)
    if not green or any(ranges[at] == ranges[at + 1] for at in (0, 2, 4)):
        raise Refused("damaged: the TIFF's YCbCr coefficients or ranges are not possible")
    values = np.arange(256, dtype=np.float64)
    luma = (values - ranges[0]) * 255 / (ranges[1] - ranges[0])
    cb, cr = ((values - ranges[at]) * 127 / (ranges[at + 1] - ranges[at]) for at in (2, 4))
    y = luma[samples[..., 0]]
    r = y + (cr * (2 - 2 * red))[samples[..., 2]]
    b = y + (cb * (2 - 2 * blue))[samples[..., 1]]
    g = (y - red * r - blue * b) / green
    return np.rint(np.stack([r, g, b], axis=-1)).clip(0, 255).astype(np.uint8)


def _fractions(page: Any, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return a tag of fractions (numerators and denominators in turn, as tifffile has them) as floats."""
    value = page.tags.valueof(tag, None)
    if value is None:
        return default
    flat = [float(each) for each in np.ravel(value)]
    if len(flat) == 2 * len(default):
        if not all(flat[1::2]):
            raise Refused(f"damaged: tag {tag} of the TIFF divides by zero")
        flat = [above / below for above, below in zip(flat[::2], flat[1::2], strict=True)]
    if len(flat) != len(default):
        raise Refused(f"damaged: tag {tag} of the TIFF has {len(flat)} numbers")
    return tuple(flat)


def _from_lab(samples: Samples, *, is_icc: bool) -> NDArray[np.uint8]:
    """Convert L*, a*, b* against D50 of 8 or 16 bits (TIFF 6.0, section 23, and its supplement for ICC) to sRGB.

    ICC's a* and b* are offset by half the range, TIFF's own are signed.
    """
    wide = samples.dtype.itemsize == 2
    # Of 16 bits, ICC's white is 0xFF00 (v2 encoding); TIFF's own is the largest value.
    white = 0xFF00 if wide and is_icc else 0xFFFF if wide else 0xFF
    out = np.empty(samples.shape, np.uint8)
    for top in range(0, len(samples), _ROWS):
        part = np.ascontiguousarray(samples[top : top + _ROWS])
        ab = part[..., 1:] / (256 if wide else 1) - 128.0
        if not is_icc:
            ab = part.view(f"i{samples.dtype.itemsize}")[..., 1:] / (256 if wide else 1)
        fy = (part[..., 0] * (100 / white) + 16) / 116
        f = np.stack([fy + ab[..., 0] / 500, fy, fy - ab[..., 1] / 200], axis=-1)
        cubes = f**3
        xyz = np.where(cubes > _LINEAR_BELOW, cubes, (116 * f - 16) / _KAPPA) * _D50
        linear = np.clip(xyz @ _TO_LINEAR.T, 0, 1)  # colours that sRGB does not have are clipped
        out[top : top + _ROWS] = np.rint(encoded(linear) * 255)
    return out
