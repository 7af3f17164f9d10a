"""Small files of every format, made in memory, and what reading them gives."""

from __future__ import annotations

import io
import struct
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kseg_core.errors import UnreadableImage
from kseg_core.images import Pixels, open_picture, read_image, read_info
from tests.fuzzing import PROGRAMMERS

Array = NDArray[Any]
Mask = NDArray[np.bool_]

WHOLE = slice(None), slice(None)

#: With enough in it that damage shows: uint8 (48, 64, 4), sorted noise.
TEXTURE = np.sort(np.random.default_rng(5).integers(0, 256, (48, 64, 4), dtype=np.uint8), axis=0)
TEXTURE.setflags(write=False)


# ------------------------------------------------------------------------------------------------------------- reading


def read(data: bytes) -> Pixels:
    """Read bytes as a file of a name that says nothing, header and picture, which have to agree."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        shape, image = read_info(file.name).shape, read_image(file.name)
    assert image.samples.dtype == np.uint8
    assert image.samples.shape == (*shape, 3)
    assert image.samples.flags.c_contiguous
    assert image.samples.flags.writeable
    if image.valid is not None:
        assert image.valid.dtype == np.bool_
        assert image.valid.shape == shape
        assert image.valid.flags.c_contiguous
    return image


def refusal(data: bytes) -> str:
    """The reason for which bytes are not read as a picture; none of them may be read."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with pytest.raises(UnreadableImage) as caught:
            read_image(file.name)
        assert caught.value.source == file.name
    reason = caught.value.reason
    assert reason.strip()
    assert "\n" not in reason
    assert not PROGRAMMERS.search(reason)
    return reason


def counts(valid: Mask | None, shape: tuple[int, ...]) -> Mask:
    """Which pixels count, as a mask in any case."""
    return np.ones(shape[:2], np.bool_) if valid is None else valid


def same(image: Pixels, rgb: Array, valid: Array | None = None) -> None:
    """It has these colours (of one gray each, or three), and pixels count where ``valid``."""
    np.testing.assert_array_equal(image.samples, np.repeat(rgb[..., None], 3, axis=2) if rgb.ndim == 2 else rgb)
    if valid is None:
        assert image.valid is None
    else:
        np.testing.assert_array_equal(image.valid, valid)


def windows_of(height: int, width: int, count: int = 0) -> list[tuple[slice, slice]]:
    """Corners, across the seams of strips and tiles, the whole; and so many at random."""
    random = np.random.default_rng(4)
    ends = [
        (((0, 1), (0, 1)), ((height - 1, height), (0, width)), ((0, height), (width - 1, width))),
        (((height // 3, height), (width // 4, -(-width * 3 // 4))), ((0, height), (0, width))),
        tuple(
            tuple(tuple(sorted(map(int, random.choice(size + 1, 2, replace=False)))) for size in (height, width))
            for _ in range(count)
        ),
    ]
    return [(slice(*rows), slice(*columns)) for each in ends for rows, columns in each]


def stored(path: str | Path, *, windows: int = 0, colours: bool | None = None) -> Pixels:
    """All samples as ``--features bands`` has them; every window has to be their part, and of colours likewise."""
    with open_picture(str(path)) as picture:
        whole = picture.samples(*WHOLE)
        assert whole.samples.dtype == picture.info.dtype
        assert whole.samples.shape[:2] == picture.info.shape == read_info(str(path)).shape
        if colours is None:
            colours = whole.samples.dtype.kind == "u"
        seen = picture.rgb(*WHOLE) if colours else whole
        for rows, columns in windows_of(*picture.info.shape, windows):
            part = picture.samples(rows, columns)
            _assert_part(part, whole, rows, columns)
            if colours:
                _assert_part(picture.rgb(rows, columns), seen, rows, columns)
    return whole


def _assert_part(part: Pixels, whole: Pixels, rows: slice, columns: slice) -> None:
    np.testing.assert_array_equal(part.samples, whole.samples[rows, columns])
    valid = counts(whole.valid, whole.samples.shape)[rows, columns]
    np.testing.assert_array_equal(counts(part.valid, part.samples.shape), valid)


def stored_as(data: bytes) -> Array:
    """The samples of a file of these bytes; see `stored`."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return stored(file.name).samples


# ------------------------------------------------------------------------------------------------------------- writing


def save(image: Image.Image, form: str, **options: Any) -> bytes:
    """A file as Pillow writes it."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def save_tiff(samples: Array, **options: Any) -> bytes:
    """A file as tifffile writes it."""
    out = io.BytesIO()
    tifffile.imwrite(out, samples, **options)
    return out.getvalue()


def save_heic(pixels: Array, **options: Any) -> bytes:
    """A file as libheif writes it, without loss; of 16 bits the upper ten."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels] + (";16" if pixels.dtype == np.uint16 else "")
    image = pillow_heif.from_bytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
    return heic_of(image, **options)


def heic_of(image: Any, *, icc: bytes | None = None, exif: bytes | None = None, **options: Any) -> bytes:
    """What pillow-heif writes of its image without loss."""
    if icc is not None:
        image.info["icc_profile"] = icc
    if exif is not None:
        image.info["exif"] = exif
    out = io.BytesIO()
    image.save(out, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return out.getvalue()


def by_gdal(path: Path, samples: Array, mask: Array | None = None, *, internal: bool = True, **profile: Any) -> Path:
    """A file (a GeoTIFF) of (height, width, bands) as GDAL writes it, with a mask within it or beside it."""
    height, width, count = samples.shape
    plain = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": samples.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
            rasterio.open(path, "w", **plain | profile) as target,
        ):
            target.write(np.moveaxis(samples, 2, 0))
            if mask is not None:
                target.write_mask(mask)
    return path


def gdals(path: Path, **options: Any) -> Array:
    """What GDAL reads, (height, width, bands)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, **options) as source:
            samples: Array = np.moveaxis(source.read(), 0, 2)
    return samples


def pillows(data: bytes, mode: str = "RGB") -> Array:
    """What Pillow reads, brought to a mode."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))


def planar(samples: Array) -> Array:
    """(bands, height, width) of (height, width, bands)."""
    return np.ascontiguousarray(np.moveaxis(samples, 2, 0))


def smooth_noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Colours with some edges, as photographs have: uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def exif_of(orientation: int) -> Image.Exif:
    """A block of EXIF that states an orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and payloads of the chunks of a PNG."""
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, with right checksums."""
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _samples() -> dict[str, bytes]:
    rgba, rgb = Image.fromarray(TEXTURE), Image.fromarray(TEXTURE[..., :3].copy())
    palette, bilevel = rgb.quantize(16), rgb.convert("1")
    exif = exif_of(6)
    colour = {"photometric": "rgb"}
    array = TEXTURE[..., :3]
    wide = array.astype(np.uint16) * 257
    return {
        "jpeg": save(rgb, "JPEG", exif=exif),
        "jpeg gray": save(rgb.convert("L"), "JPEG"),
        "jpeg progressive": save(rgb, "JPEG", progressive=True),
        "jpeg CMYK": save(Image.frombytes("CMYK", rgb.size, TEXTURE.tobytes()), "JPEG"),
        "jpeg with restarts": save(rgb, "JPEG", restart_marker_blocks=2),
        "png": save(rgb, "PNG", exif=exif),
        "png palette": save(palette, "PNG", transparency=3),
        "png RGBA": save(rgba, "PNG"),
        "png 16": bytes(imagecodecs.png_encode(wide)),
        "png 1": save(bilevel, "PNG"),
        "gif": save(palette, "GIF", transparency=2),
        "gif animated": save(palette, "GIF", save_all=True, append_images=[palette.rotate(90)], duration=10),
        "bmp": save(rgb, "BMP"),
        "bmp palette": save(palette, "BMP"),
        "webp lossless": save(rgba, "WEBP", lossless=True, exif=exif),
        "webp lossy": save(rgb, "WEBP", quality=80),
        "webp animated": save(rgba, "WEBP", save_all=True, append_images=[rgba.rotate(90)]),
        "tiff": save_tiff(array, **colour),
        "tiff deflate": save_tiff(array, compression="zlib", predictor=True, rowsperstrip=8, **colour),
        "tiff LZW tiles": save_tiff(array, compression="lzw", tile=(16, 16), **colour),
        "tiff zstd 16": save_tiff(wide, compression="zstd", **colour),
        "tiff jpeg tiles": save_tiff(array, compression="jpeg", tile=(16, 16), **colour),
        "tiff packbits": save_tiff(array[..., 0], compression="packbits", photometric="minisblack"),
        "tiff group 3": save(bilevel, "TIFF", compression="group3"),
        "tiff group 4": save(bilevel, "TIFF", compression="group4"),
        "tiff webp": save_tiff(array, compression="webp", **colour),
        "jpeg 12 bits": bytes(imagecodecs.jpeg8_encode(array.astype(np.uint16) * 16, level=90, bitspersample=12)),
        "ppm": save(rgb, "PPM"),
        "pgm 16": b"P5\n# sixteen bits\n64 48\n65535\n" + wide[..., 0].astype(">u2").tobytes(),
        "pbm plain": b"P1\n64 48\n"
        + b"\n".join(b" ".join(b"%d" % (v > 99) for v in row) for row in array[..., 0])
        + b"\n",
        "qoi": bytes(imagecodecs.qoi_encode(array)),
        "qoi RGBA": bytes(imagecodecs.qoi_encode(TEXTURE)),
        "jpeg xr": bytes(imagecodecs.jpegxr_encode(array)),
        "jpeg xr RGBA 16": bytes(imagecodecs.jpegxr_encode(TEXTURE.astype(np.uint16) * 257)),
        "jp2": save(rgb, "JPEG2000"),
        "jp2 RGBA tiles": save(rgba, "JPEG2000", tile_size=(16, 16)),
        "j2k tiles 16": save(
            Image.fromarray(wide[..., 0].copy()), "JPEG2000", no_jp2=True, tile_size=(32, 16), progression="RPCL"
        ),
        "jxl": bytes(imagecodecs.jpegxl_encode(array, distance=1.0)),
        "jxl lossless RGBA 16": bytes(imagecodecs.jpegxl_encode(TEXTURE.astype(np.uint16) * 257, lossless=True)),
        "jxl boxes": bytes(imagecodecs.jpegxl_encode(array, lossless=True, usecontainer=True)),
        "jxl animated": bytes(imagecodecs.jpegxl_encode(np.stack([array, array[::-1], array, array]), lossless=True)),
        "heic": save_heic(array),
        "heic RGBA": save_heic(TEXTURE),
        "heic grid 10 bits": save_heic(wide, tile_size=32),
        "avif": bytes(imagecodecs.avif_encode(array, level=80)),
        "avif RGBA 10 bits": bytes(imagecodecs.avif_encode(TEXTURE.astype(np.uint16) * 4, level=100, bitspersample=10)),
        "avif animated": save(rgba, "AVIF", save_all=True, append_images=[rgba.rotate(180)]),
        "ome-tiff": save_tiff(
            np.moveaxis(array, 2, 0).copy(), ome=True, metadata={"axes": "CYX"}, photometric="minisblack"
        ),
    }


#: A sound file of every format and of the main ways in which each is packed.
SAMPLES = _samples()
