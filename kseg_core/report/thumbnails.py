"""Small pictures of pictures of any size, made window by window; and the files they become.

A small picture is a level of a pyramid: each of its pixels stands for a cell of ``2**level`` by ``2**level`` pixels.
Windows that begin on whole cells give parts of it that do not overlap, so where the windows are cut changes nothing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kseg_core.clustering.labelling import UINT8_LABELS, Labels, invalid_label
from kseg_core.layers.pyramid import mean_of_blocks, mode_of_blocks
from kseg_core.layers.tiles import level_shape

U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]

INVALID = 255  # in contours: the pixel does not count
LEVELS_IN_WINDOW = 10  # windows are cut on a grid of 1024 pixels; what is left to halve is done on the small picture
NO_PIXEL = 0.5 / 255  # less than this share of a cell's pixels counts: it cannot be seen
QUALITY = 80  # of photographs a few hundred pixels wide: no difference is seen, and a PNG is eight times as large


def level_for(shape: tuple[int, int], longest: int) -> int:
    """The first level no side of which is longer than ``longest`` pixels."""
    level = 0
    while max(level_shape(shape, level)) > longest:
        level += 1
    return level


@dataclass(frozen=True, slots=True)
class Patch:
    """A part of a small picture: where it lies in it, and its pixels (y, x) or (y, x, c)."""

    top: int
    left: int
    pixels: NDArray[Any]


def put_together(patches: Iterable[Patch], shape: tuple[int, int], fill: int) -> NDArray[Any]:
    """The whole from its parts; what no part covers is ``fill``.

    Raises
    ------
    ValueError
        If there is no part.
    """
    whole: NDArray[Any] | None = None
    for patch in patches:
        if whole is None:
            whole = np.full((*shape, *patch.pixels.shape[2:]), fill, patch.pixels.dtype)
        height, width = patch.pixels.shape[:2]
        whole[patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels
    if whole is None:
        raise ValueError("expected at least one part, got none")
    return whole


def mean_cells(rgb: U8, valid: Bools | None, level: int) -> U8:
    """The mean colour of every cell's valid pixels, and how many of them count.

    Parameters
    ----------
    rgb
        uint8 (y, x, 3), from the beginning of a cell.
    valid
        bool (y, x), or None where all pixels are.

    Returns
    -------
    uint8 (y, x, 4): sRGB, and as alpha the share of valid pixels, 255 for all. A cell cut short by the picture's edge
    is completed by repeating its last row or column.
    """
    if valid is None:
        mean = _shrunk(rgb, level)
        return np.dstack([mean, np.full(mean.shape[:2], 255, np.uint8)])
    weight = valid.astype(np.float32)
    share = _shrunk(weight, level)
    total = _shrunk(rgb * weight[..., None], level)
    seen = share > NO_PIXEL
    mean = np.where(seen[..., None], total / np.where(seen, share, 1.0)[..., None], 0.0)
    return np.dstack([np.rint(mean), np.rint(share * 255.0)]).astype(np.uint8)


def shades_of_cells(values: U8 | Bools, level: int) -> U8:
    """The mean shade of every cell, uint8 (y, x); of bool how dense thin lines are in it, 255 where a line crosses it,
    or more than one.
    """
    if values.dtype != np.bool_:
        return _shrunk(values, level)
    share = _shrunk(values.astype(np.float32), level)
    return np.rint(np.minimum(share * float(1 << level), 1.0) * 255.0).astype(np.uint8)


def mode_cells(labels: Labels, invalid: int, level: int) -> Labels:
    """The labels of a level ``level`` times halved, as the levels of a store are."""
    for _ in range(level):
        labels = mode_of_blocks(labels, invalid)
    return labels


def halved_contours(contours: U8, level: int) -> U8:
    """Contours of a hierarchy at a level ``level`` times halved, uint8 (y, x, 2), from windows on whole cells.

    A cell stands for its first pixel, and its boundary with the next for the highest of those between their pixels:
    they are then in one segment where no higher one is left. 254 is beside an invalid one, 255 at one.
    """
    for _ in range(level):
        first = contours[::2, ::2]
        right, below = first[..., 0].copy(), first[..., 1].copy()
        np.maximum(right[:, : contours.shape[1] // 2], contours[::2, 1::2, 0], out=right[:, : contours.shape[1] // 2])
        np.maximum(below[: contours.shape[0] // 2], contours[1::2, ::2, 1], out=below[: contours.shape[0] // 2])
        halved = np.minimum(np.stack([right, below], axis=-1), INVALID - 1)
        contours = np.where(first == INVALID, np.uint8(INVALID), halved)
    return contours


def finish_mean(cells: U8, level: int) -> U8:
    """The rest of the halving of `mean_cells`, on the whole small picture."""
    for _ in range(level):
        cells = np.dstack([mean_of_blocks(cells[..., channel]) for channel in range(cells.shape[2])])
    return cells


def _shrunk(image: NDArray[Any], level: int) -> NDArray[Any]:
    """Area means of whole cells, in the dtype of the image."""
    side = 1 << level
    height, width = image.shape[:2]
    down, across = -height % side, -width % side
    if down or across:
        image = cv2.copyMakeBorder(image, 0, down, 0, across, cv2.BORDER_REPLICATE)
    size = (image.shape[1] // side, image.shape[0] // side)
    return image if level == 0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


# ----------------------------------------------------------------------------------------------------------- files


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
    image = Image.frombytes("P", labels.shape[::-1], np.where(invalid, k, labels).astype(np.uint8).tobytes())
    image.putpalette(np.vstack([colors, np.zeros((1, 3), np.uint8)]).tobytes())
    bits = next(bits for bits in (1, 2, 4, 8) if k < 1 << bits)
    return _saved(image, "PNG", bits=bits, transparency=bytes([255] * k + [0]), optimize=False)


def hierarchy_file(contours: U8) -> bytes:
    """Contours (y, x, 2) as PNG: as red those with the next pixel in the row, as green with the next in the column."""
    return _saved(Image.fromarray(np.dstack([contours, np.zeros(contours.shape[:2], np.uint8)])), "PNG", optimize=True)


def segments_file(segments: NDArray[Any], cells: U8) -> bytes:
    """Segments (y, x), 0 where there is none, each in the mean colour of its cells (y, x, 3 or 4) as PNG."""
    numbers = segments.ravel()
    count = int(numbers.max(initial=0)) + 1
    weight = cells[..., 3].ravel() / 255.0 if cells.shape[2] == 4 else np.ones(numbers.size)
    total = np.maximum(np.bincount(numbers, weight, count), 1e-9)
    colors = [np.bincount(numbers, weight * cells[..., c].ravel(), count) / total for c in range(3)]
    shown = np.rint(np.stack(colors, axis=-1)).astype(np.uint8)[segments]
    visible = segments > 0
    if not visible.all():
        shown = np.dstack([shown * visible[..., None], np.uint8(255) * visible])
    return _saved(Image.fromarray(shown), "PNG", optimize=True)


def painted_file(cells: U8) -> bytes:
    """Colours (y, x, 4) as PNG, exactly; transparent where the last is 0."""
    return _saved(Image.fromarray(cells), "PNG", optimize=True)


def gray_file(gray: U8 | Bools) -> bytes:
    """uint8 (y, x) as PNG; bool as one of one bit, white where true."""
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
