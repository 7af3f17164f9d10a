"""JPEG 2000 (JP2 and JPX files, bare code streams), by OpenJPEG (imagecodecs), tile by tile.

The boxes are read here: colour space, palette, which channel is which. The decoder is given code streams alone. It is
strict where data ends early, and so is `jpeg2000_stream`; the codes themselves have no redundancy: a changed byte is
often seen by no decoder.

Why not by rasterio: GDAL's driver takes streams that end early, and costs a large file in memory a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.choosing import require_one_picture
from kseg_core.images.decoder import USE_BANDS, Decoder, Opening, require_integers
from kseg_core.images.gdal import gdal
from kseg_core.images.isobmff import Fields, boxes, inner_boxes, payload
from kseg_core.images.jpeg2000_stream import START, CodeStream, Component, read_stream
from kseg_core.images.raster import (
    MAX_TILE_PX,
    Colours,
    Cost,
    NotSupported,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_size,
    undivided,
)
from kseg_core.images.windows import Window

_NAME = "JPEG 2000"
_SRGB, _GRAY, _SYCC, _CMYK = 16, 17, 18, 12  # EnumCS (T.800, table I.10; T.801, table M.25)
_COLOUR, _ALPHA, _PREMULTIPLIED = 0, 1, 2  # types of channels (T.800, table I.16)
_CONVERT = "convert it to TIFF first, e.g. with `opj_decompress` or `gdal_translate`"
_WORKING_BYTES = 4
_MOST_PX_A_BYTE = 1_000_000  # of a file that is read by windows: an empty tile of a million pixels takes 30 bytes


class _Palette(NamedTuple):
    """What the indices stand for: uint8 (n, 3), and which are not wholly transparent."""

    colours: NDArray[np.uint8]
    opaque: NDArray[np.bool_] | None


@dataclass(slots=True)
class _Boxes:
    """What the boxes around the code stream say."""

    space: int | None = None
    icc: bytes | None = None
    columns: NDArray[np.uint8] | None = None  # of the palette, (n, channels)
    mapped: list[tuple[int, int, int]] | None = None  # component, whether by the palette, its column
    channels: dict[int, tuple[int, int]] | None = None  # type and colour of each, by its number


class Jpeg2000(Decoder):
    """A JPEG 2000 opened for reading by windows; of one tile, and where components are subsampled, only whole."""

    name, gdal_driver, only_gdal_finds_place = _NAME, "JP2OpenJPEG", True
    magic = (b"\0\0\0\x0cjP  \r\n\x87\n", START)

    def __init__(self, opening: Opening) -> None:
        require_one_picture(opening.choice, self.name, channels=False)
        self._file, max_pixels = opening.file, opening.max_pixels
        said, self._stream = _opened(self._file)
        grid, components = self._stream.grid, self._stream.components
        self.stored_shape: tuple[int, int] = grid.shape
        tile = min(grid.tile[1], grid.shape[0]), min(grid.tile[0], grid.shape[1])
        whole = grid.across * grid.down == 1 or self._stream.is_subsampled or self._stream.packed_headers
        if not whole and tile[0] * tile[1] > MAX_TILE_PX:
            raise Refused(f"damaged, or a decompression bomb: a JPEG 2000 of tiles of {tile[1]} x {tile[0]}")
        self._block = None if whole else tile
        if whole:
            check_size(*self.stored_shape, max_pixels)
        elif grid.shape[0] * grid.shape[1] > _MOST_PX_A_BYTE * (self._stream.end - self._stream.start):
            raise Refused(f"damaged, or a decompression bomb: {grid.shape[1]} x {grid.shape[0]} in so few bytes")
        self._dtype = _dtype_of(components)
        self._palette = _palette_of(said)
        self._order, self._alpha, self._premultiplied = _channel_order(said, len(components))
        self._space, self._icc = said.space, said.icc
        self._kept: Samples | None = None
        bands, size = len(self._order), self._dtype.itemsize
        self.info = PictureInfo(
            _NAME,
            self.stored_shape,
            bands,
            str(self._dtype),
            self._block,
            alpha=self._alpha,
            colours="palette" if self._palette is not None else "cmyk" if self._space == _CMYK else None,
            # OpenJPEG works with 32 bits a sample; of a tile there is also what it becomes, in the order of its colours
            cost=Cost(2, 2, _WORKING_BYTES * bands + 0.5, block_px=(_WORKING_BYTES + size) * bands),
        )

    def raster(self, window: Window) -> Raster:
        require_integers(str(self._dtype))
        samples = self._read(window)
        maximum = (1 << self._stream.components[self._order[0]].bits) - 1
        if self._palette is not None:
            indices = np.ascontiguousarray(samples[..., 0])
            opaque = self._palette.opaque
            valid = None if opaque is None else np.take(opaque, indices, mode="clip")
            return Raster(indices, "palette", palette=self._palette.colours, valid=valid, icc=self._icc)
        colours = samples.shape[2] - self._alpha
        if colours not in (1, 3) and not (colours == 4 and self._space == _CMYK):
            if colours != 4:
                raise Refused(f"{colours} bands: neither gray nor RGB; {USE_BANDS}")
            colours = 3  # a fourth band that is no alpha is left out, as in a TIFF
        if len({self._stream.components[number].bits for number in self._order[:colours]}) > 1:
            raise Refused(f"colours of different depths: not an 8- or 16-bit image; {USE_BANDS}")
        names: dict[int, Colours] = {1: "gray", 3: "rgb", 4: "cmyk"}
        name = names[colours]
        valid = samples[..., -1] != 0 if self._alpha else None
        kept = samples[..., 0] if colours == 1 else samples[..., :colours]
        return Raster(np.ascontiguousarray(kept), name, maximum, valid=valid, icc=self._icc)

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        samples = self._read(window)
        valid = samples[..., -1] != 0 if self._alpha else None
        return np.ascontiguousarray(samples[..., list(bands)]), valid

    def close(self) -> None:
        """Let go of the pixels."""
        self._kept = None

    def _read(self, window: Window) -> Samples:
        """Decode a window, (height, width, channels), colours first; what is decoded whole is kept for the next one."""
        if self._block is None:
            if self._kept is None:
                whole = self._ordered(_decoded(self._stream.whole(self._file), self._stream.components))
                if whole.shape[:2] != self.stored_shape:
                    raise Refused(f"damaged: the {_NAME} has two sizes")
                self._kept = whole
            return self._kept[window.slices].copy()
        out: Samples | None = None
        for number in self._stream.grid.overlapping(window):
            place = self._stream.grid.window_of(number)
            tile = self._ordered(_decoded(self._stream.of_tile(self._file, number), self._stream.components))
            if tile.shape[:2] != place.shape:
                raise Refused(f"damaged: tile {number + 1} of the {_NAME} has two sizes")
            if out is None:
                out = np.empty((*window.shape, tile.shape[2]), tile.dtype)
            here, there = window.shared_with(place)
            out[here] = tile[there]
        assert out is not None  # a window has pixels
        return out

    def _ordered(self, samples: Samples) -> Samples:
        """Put the channels into the order of their colours, alpha last; undo sYCC and premultiplication."""
        if samples.dtype != self._dtype or samples.shape[2] != len(self._stream.components):
            raise Refused(f"damaged: the {_NAME} is not what its header says")
        if self._order != [*range(samples.shape[2])]:
            samples = samples[..., self._order]
        if self._space == _SYCC and not self._stream.is_subsampled and samples.shape[2] - self._alpha == 3:
            samples = _from_sycc(samples)
        if self._premultiplied:
            samples = undivided(samples, (1 << self._stream.components[0].bits) - 1)
        return samples


def _decoded(stream: bytes, components: list[Component]) -> Samples:
    """Decode a code stream, (height, width, components)."""
    if len(set(components)) > 1 and all(each.dx == each.dy == 1 for each in components):
        return _decoded_by_gdal(stream)
    import imagecodecs

    try:
        samples: Samples = imagecodecs.jpeg2k_decode(stream, numthreads=1)
    except NotImplementedError as error:
        raise NotSupported(f"a {_NAME} of unusual components ({error}): not supported here; {_CONVERT}") from error
    return samples[..., None] if samples.ndim == 2 else samples


def _decoded_by_gdal(stream: bytes) -> Samples:
    """Decode components of different depths, such as 8 bits and an alpha of one, which imagecodecs does not."""
    from rasterio.io import MemoryFile

    with gdal(_NAME), MemoryFile(stream) as file, file.open(driver="JP2OpenJPEG") as dataset:
        samples: Samples = dataset.read()
    return np.moveaxis(samples, 0, 2)


def _from_sycc(samples: Samples) -> Samples:
    """Convert luma and chroma to RGB, by Pillow; further channels stay."""
    from PIL import Image

    if samples.dtype != np.uint8:
        raise NotSupported(f"sYCC of more than 8 bits: not supported here; {_CONVERT}")
    height, width = samples.shape[:2]
    out = samples.copy()
    ycc = Image.frombytes("YCbCr", (width, height), np.ascontiguousarray(samples[..., :3]).tobytes())
    out[..., :3] = np.asarray(ycc.convert("RGB"))
    return out


def _dtype_of(components: list[Component]) -> np.dtype[Any]:
    """Return the dtype that holds the samples of all components."""
    bits, signed = max(each.bits for each in components), components[0].signed
    if any(each.signed != signed for each in components):
        raise NotSupported(f"a {_NAME} whose components have different signs: not supported here; {_CONVERT}")
    if bits > 32:
        raise NotSupported(f"a {_NAME} of {bits} bits a sample: not supported here; {_CONVERT}")
    size = 1 if bits <= 8 else 2 if bits <= 16 else 4
    return np.dtype(f"{'i' if signed else 'u'}{size}")


def _opened(file: BinaryIO) -> tuple[_Boxes, CodeStream]:
    """Read the boxes, where there are such, and the code stream's header."""
    size = file.seek(0, 2)
    file.seek(0)
    if file.read(4) == START:
        return _Boxes(), read_stream(file, 0, size)
    said, stream = _Boxes(), None
    for box in boxes(file, 0, size, _NAME):
        if box.kind == b"jp2h":
            try:
                _read_header(said, payload(file, box, _NAME))
            except IndexError:
                raise Refused(f"damaged: a box of the {_NAME} ends early") from None
        elif box.kind == b"jp2c" and stream is None:
            stream = read_stream(file, box.start, box.end)
    if stream is None:
        raise Refused(f"truncated or damaged: the {_NAME} has no code stream")
    return said, stream


def _read_header(said: _Boxes, data: bytes) -> None:
    for kind, body in inner_boxes(data, 0, _NAME):
        of = Fields(body)
        if kind == b"colr" and said.space is None and said.icc is None:
            method = of.number(1)
            of.number(2)
            if method == 1:
                said.space = of.number(4)
            elif method in (2, 3):
                said.icc = of.rest
        elif kind == b"pclr":
            entries, columns = of.number(2), of.number(1)
            if any(of.number(1) != 7 for _ in range(columns)) or not columns:
                raise NotSupported(f"a {_NAME} with a palette of other than 8 bits: not supported here; {_CONVERT}")
            said.columns = np.frombuffer(of.take(entries * columns), np.uint8).reshape(entries, columns)
        elif kind == b"cmap":
            said.mapped = [(of.number(2), of.number(1), of.number(1)) for _ in range(len(body) // 4)]
        elif kind == b"cdef":
            said.channels = {of.number(2): (of.number(2), of.number(2)) for _ in range(of.number(2))}


def _palette_of(said: _Boxes) -> _Palette | None:
    """Return the palette, where the one component is an index."""
    if said.columns is None:
        return None
    mapped = said.mapped or [(0, 1, column) for column in range(said.columns.shape[1])]
    if any(component or by_palette != 1 or column >= said.columns.shape[1] for component, by_palette, column in mapped):
        raise NotSupported(f"a {_NAME} of palette and plain channels together: not supported here; {_CONVERT}")
    channels = np.ascontiguousarray(said.columns[:, [column for _, _, column in mapped]])
    order, alpha, _ = _channel_order(said, channels.shape[1])
    channels = channels[:, order]
    colours = channels.shape[1] - alpha
    if colours not in (1, 3):
        raise NotSupported(f"a {_NAME} with a palette of {colours} colours: not supported here; {_CONVERT}")
    rgb = np.repeat(channels[:, :1], 3, axis=1) if colours == 1 else channels[:, :3]
    return _Palette(np.ascontiguousarray(rgb), channels[:, -1] != 0 if alpha else None)


def _channel_order(said: _Boxes, count: int) -> tuple[list[int], bool, bool]:
    """Return the channels in the order of their colours, alpha last, whether there is alpha, and premultiplied."""
    if said.channels is None or any(number >= count for number in said.channels):
        return [*range(count)], False, False
    kinds = {number: said.channels.get(number, (_COLOUR, number + 1)) for number in range(count)}
    alphas = [number for number, (kind, _) in kinds.items() if kind in (_ALPHA, _PREMULTIPLIED)]
    colours = sorted(kinds.keys() - set(alphas), key=lambda number: (kinds[number][1], number))
    if len(alphas) != 1:
        return [*range(count)], False, False
    return [*colours, *alphas], True, kinds[alphas[0]][0] == _PREMULTIPLIED
