"""Small pictures as files, and files inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kseg_core.clustering.labelling import UINT8_LABELS, Labels, invalid_label

U8 = NDArray[np.uint8]
QUALITY = 80  # of photographs a few hundred pixels wide: no difference is seen, and a PNG is eight times as large


def original_file(cells: U8) -> bytes:
    """A photograph (y, x, 4) as WebP; where pixels do not count it is transparent."""
    image = Image.fromarray(cells) if (cells[..., 3] < 255).any() else Image.fromarray(cells[..., :3].copy())
    return _saved(image, "WEBP", quality=QUALITY, method=4)


def segmented_file(labels: Labels, colors: U8) -> bytes:
    """Labels (y, x) in the colours (k, 3) of their clusters as PNG, exactly; invalid pixels are transparent."""
    k = len(colors)
    invalid = labels == invalid_label(k)
    if k > UINT8_LABELS:
        painted = np.zeros((*labels.shape, 4), np.uint8)
        painted[..., :3][~invalid] = colors[labels[~invalid]]
        painted[..., 3] = np.where(invalid, 0, 255)
        return _saved(Image.fromarray(painted), "PNG", optimize=True)
    image = Image.fromarray(np.where(invalid, k, labels).astype(np.uint8))
    image = _with_palette(image, np.vstack([colors, np.zeros((1, 3), np.uint8)]))
    bits = next(bits for bits in (1, 2, 4, 8) if k < 1 << bits)
    return _saved(image, "PNG", bits=bits, transparency=bytes([255] * k + [0]), optimize=False)


def _with_palette(gray: Image.Image, palette: U8) -> Image.Image:
    image = Image.frombytes("P", gray.size, gray.tobytes())
    image.putpalette(palette.tobytes())
    return image


def mask_file(mask: NDArray[np.bool_]) -> bytes:
    """Bool (y, x) as PNG of one bit; white is inside."""
    return _saved(Image.fromarray(mask), "PNG", optimize=True)


def gray_file(gray: U8) -> bytes:
    """uint8 (y, x) as PNG."""
    return _saved(Image.fromarray(gray), "PNG", optimize=True)


def pixels_of(file: bytes) -> U8:
    """A file of these as uint8: (y, x) where it is gray, (y, x, 3), or (y, x, 4) where parts are transparent."""
    with Image.open(io.BytesIO(file)) as image:
        if image.mode in ("L", "1"):
            return np.array(image.convert("L"))
        transparent = "transparency" in image.info or image.mode == "RGBA"
        return np.array(image.convert("RGBA" if transparent else "RGB"))


def size_of(file: bytes) -> tuple[int, int]:
    """(width, height) of a picture's file."""
    with Image.open(io.BytesIO(file)) as image:
        return image.size


def data_uri(file: bytes) -> str:
    """The file as an address that holds it."""
    kind = "webp" if file[:4] == b"RIFF" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
