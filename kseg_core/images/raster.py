"""The values that travel between the readers: a header, decoded samples, and the finished picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: 2**29 pixels, 1.6 GB as RGB. The largest single pictures made by cameras are 400 megapixels (pixel-shift
#: backs) and phones make 200; what says it is larger is a scan for the windowed readers, or a bomb.
MAX_PIXELS = 2**29

#: Bytes that one byte of compressed data can become at most: of PackBits a run of 128 takes 2; of LZW a code of 12 bits
#: stands for at most 3,837 bytes (2**12 - 259 codes after a clear code, each one longer than the last); of Deflate a
#: match of 258 takes 2 bits (RFC 1951).
PACKBITS_RATIO = 64
LZW_RATIO = 2600
DEFLATE_RATIO = 1040
#: Huffman-coded JPEG has at least a bit for each block of 64 samples; arithmetic coding has no such bound.
JPEG_RATIO = 512
#: Tiles that were never written are legal, and a mostly empty scene is a good use of them; one tile in so many is.
SPARSE_RATIO = 4096

#: A tile may be larger than its picture, but not without bound: 2**26 pixels are 8192 x 8192. A page of larger
#: compressed strips is read whole.
MAX_TILE_PX = 1 << 26

#: What is stated up to here costs nothing to plan: what is wrong with it is said, in detail, when it is read.
HARMLESS_BYTES = 1 << 24

#: The types of samples that are read as bands.
DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
)  # fmt: skip

#: How the samples of a picture are to be understood.
Colours: TypeAlias = Literal["gray", "rgb", "cmyk", "palette"]

#: 8-bit and 16-bit samples, and the booleans of 1-bit pictures.
Samples: TypeAlias = NDArray[Any]


class Grid(NamedTuple):
    """Where the pixels of a stack are in one of its files: row r begins at row ``top + r * down`` of the file's, and
    likewise columns.
    """

    top: float = 0.0
    down: float = 1.0
    left: float = 0.0
    across: float = 1.0


class Refused(Exception):
    """A picture that must not be labelled; its text is the reason, and the path is added on the way out."""


class NotSupported(Refused):
    """A sound picture, as far as anybody can tell, of a kind that is not read here: what it has, and what helps."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Memory that reading a picture takes beside its samples; measured by `benchmarks/memory.py`.

    Attributes
    ----------
    copies, copies_before
        Of the file's bytes: how many there are beside the samples, and how many before there are samples.
    decoding_px
        Bytes a pixel that decoding takes beside the samples; None: not known.
    finishing_px
        Bytes a pixel that the way from samples to colours takes beside both: of turning, of a profile.
    block_px
        Bytes a pixel of a tile that is decoded, beside its samples.
    cache_bytes
        That the decoder keeps of tiles.
    """

    copies: int = 2
    copies_before: int = 2
    decoding_px: float | None = None
    finishing_px: int = 0
    block_px: int = 0
    cache_bytes: int = 0


UNKNOWN_COST = Cost()


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What a file says of itself before any pixel is decoded.

    Parameters
    ----------
    format
        The name of its decoder, or ``"OME-Zarr"``.
    shape
        (height, width) in pixels as a person sees it.
    bands
        Samples of a pixel as stored, alpha among them; 1 for palettes.
    dtype
        The samples' type as stored: one of `DTYPES` (1-bit samples count as ``"uint8"``), or another that can
        be read as nothing here.
    block
        (rows, columns) of the natural unit of reading, as a person sees it: a TIFF's tile or strip, a Zarr chunk.
        None where the picture can only be read whole.
    nodata
        The value that the file says stands for no data, which may be NaN; None where it says nothing.
    alpha
        Whether one of the bands is alpha: the last, unless ``alpha_at`` says which.
    colours
        ``"palette"`` or ``"cmyk"`` where the header of a TIFF or JPEG says so.
    notes
        What is to be said of the file, once, though it can be read: a line each, such as which of its pages it is.
    rules
        The first of this program's `RULES` by which the file is read as it is now. A store that was made by earlier
        ones may hold labels of another picture, or of other pixels.
    placed
        Of a TIFF whose page has tags that place it on the ground: where the page's directory is, 0 for the first.
    crs_stated
        What such tags state as the coordinate system, in words; empty where they state none.
    band_nodata
        What the file says of each band by itself, as ``nodata`` is for all of them; empty where it says nothing.
    alpha_at
        Which band is alpha, from 0, where it is not the last.
    cost
        What reading it takes.
    common_notes
        The same of all images that are like it: said once.
    band_names
        What the file calls its bands, one name each, empty where it says nothing of one; none where it says nothing.
    band_roles
        Which colour the file says each of its bands is, as GDAL calls them, likewise.
    grids
        Of a stack, whose bands are files of their own, where its pixels are in each of the files.
    """

    format: str
    shape: tuple[int, int]
    bands: int
    dtype: str = "uint8"
    block: tuple[int, int] | None = None
    nodata: float | None = None
    alpha: bool = False
    colours: Colours | None = None
    notes: tuple[str, ...] = ()
    rules: int = 1
    placed: int | None = None
    band_nodata: tuple[float | None, ...] = ()
    alpha_at: int | None = None
    crs_stated: str = ""
    cost: Cost = UNKNOWN_COST
    common_notes: tuple[str, ...] = ()
    band_names: tuple[str, ...] = ()
    band_roles: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()

    @property
    def separate(self) -> bool:
        """Whether its bands are files of their own, which are no colours together."""
        return bool(self.grids)

    @property
    def but_alpha(self) -> tuple[int, ...]:
        """The bands that are not alpha, from 0."""
        last = self.bands - 1 if self.alpha_at is None else self.alpha_at
        return tuple(band for band in range(self.bands) if not self.alpha or band != last)


class Pixels(NamedTuple):
    """Pixels of a picture as they are clustered and labelled, and where they lie in it.

    Attributes
    ----------
    samples
        (height, width, bands) as stored, or uint8 (height, width, 3), sRGB, C-contiguous and writable.
    valid
        bool (height, width), C-contiguous, False where a pixel does not count; None where all do.
    top, left
        Of the first pixel, as a person sees it.
    original
        The samples as they were before they were smoothed, where both are wanted; None: these are.
    """

    samples: Samples
    valid: NDArray[np.bool_] | None = None
    top: int = 0
    left: int = 0
    original: Samples | None = None

    @property
    def seen(self) -> Samples:
        """The samples as the file has them, where they were asked for."""
        return self.samples if self.original is None else self.original

    @property
    def nbytes(self) -> int:
        """Memory they take."""
        beside = (each.nbytes for each in (self.valid, self.original) if each is not None)
        return self.samples.nbytes + sum(beside)


@dataclass(frozen=True, slots=True)
class Raster:
    """Samples as decoded: stored orientation, stored colours.

    Parameters
    ----------
    samples
        bool, uint8 or uint16; (height, width) for gray and palette, (height, width, 3) for RGB
        or (height, width, 4), the fourth not a colour,
        (height, width, 4) for CMYK (0 is no ink).
    colours
        How to understand them.
    maximum
        The sample value that stands for full intensity (255, 65535, 4095 for 12 bits, 1 for booleans).
    palette
        uint8 (n, 3), for palette pictures only.
    valid
        bool (height, width) or None, in the stored orientation.
    icc
        The embedded colour profile, unchecked.
    orientation
        EXIF orientation, 1 to 8.
    linear
        Whether the samples are linear light, to which the curve of sRGB is still to be given.
    stored
        The samples of the colours as they are in the file, (height, width, bands), where others were made of them.
    """

    samples: Samples
    colours: Colours
    maximum: int = 255
    palette: NDArray[np.uint8] | None = None
    valid: NDArray[np.bool_] | None = None
    icc: bytes | None = None
    orientation: int = 1
    linear: bool = False
    stored: Samples | None = None


def check_dtype(name: str) -> str:
    """Return the name of a dtype that is read as bands.

    Raises
    ------
    Refused
        For any other, by name.
    """
    if name in DTYPES:
        return name
    if name.startswith("complex"):
        raise Refused(f"{name} samples: complex numbers are not read here; save their magnitude first")
    raise Refused(f"{name} samples are not read here; convert it to one of {', '.join(DTYPES)} first")


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuse an empty picture, and one of more than ``max_pixels`` pixels.

    Raises
    ------
    Refused
        With the size as it is stated in the file.
    """
    if height <= 0 or width <= 0:
        raise Refused(f"no pixels: the header says {width} x {height}")
    if height * width > max_pixels:
        raise Refused(
            f"too large: {width} x {height} is {height * width / 1e6:.0f} megapixels, "
            f"the limit for what is read whole is {max_pixels / 1e6:.0f} (damaged, or a decompression bomb; if it is "
            "neither, raise --max-pixels or save it as a tiled TIFF)"
        )


def check_ratio(pixels: float, stored_bytes: float, ratio: float) -> None:
    """Refuse a picture of more bytes of samples than its data can become.

    Raises
    ------
    Refused
        Saying both.
    """
    if pixels > max(stored_bytes * ratio, HARMLESS_BYTES):
        raise Refused(
            f"truncated or damaged: {pixels:.3g} bytes of pixels are stated, which its {stored_bytes:,.0f} bytes "
            "cannot hold"
        )


def check_sparse(pixels: int, present: float) -> None:
    """Refuse a picture that is nearly all missing chunks, tiles or strips.

    Parameters
    ----------
    pixels
        Stated.
    present
        Pixels of those that are there.

    Raises
    ------
    Refused
        Saying both.
    """
    if pixels > max(MAX_PIXELS, present * SPARSE_RATIO):
        raise Refused(
            f"damaged: {pixels:.3g} pixels are stated, of which {present:.3g} are in the file; the rest is empty "
            "(if it is meant so, cut out the part that is not)"
        )


def raster_of(samples: Samples, maximum: int = 255, *, premultiplied: bool = False, **more: Any) -> Raster:
    """Make a raster of gray or RGB, with or without alpha: the number of bands says which, 1 to 4.

    Parameters
    ----------
    samples
        (height, width) or (height, width, bands).
    maximum, more
        As of `Raster`.
    premultiplied
        Whether colours were multiplied by alpha.
    """
    bands = 1 if samples.ndim == 2 else samples.shape[2]
    valid = samples[..., -1] != 0 if bands in (2, 4) else None
    if premultiplied and valid is not None:
        samples = undivided(samples, maximum)
    if bands < 3:
        samples = samples if samples.ndim == 2 else np.ascontiguousarray(samples[..., 0])
    return Raster(samples, "gray" if bands < 3 else "rgb", maximum, valid=valid, **more)


def undivided(samples: Samples, maximum: int) -> Samples:
    """Undo premultiplication by the last band: a partly transparent pixel keeps its colour."""
    wide = np.uint32 if maximum <= 0xFFFF else np.uint64  # holds the square of the largest sample, and half of one
    alpha = np.maximum(samples[..., -1:].astype(wide), 1)
    colours = (samples[..., :-1].astype(wide) * maximum + alpha // 2) // alpha
    return np.concatenate([np.minimum(colours, maximum).astype(samples.dtype), samples[..., -1:]], axis=2)
