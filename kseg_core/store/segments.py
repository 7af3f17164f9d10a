"""Segments of an image in a store: what is written, what is written in between, and what is read again.

In order: the layer's arrays (`adding.create_layer`); contours, complete by their own attributes; the numbered parts,
the table of them, and that the layer is complete (`finish_segments`). While the hierarchy of a large image is made,
``contours.partial`` has what its blocks tell (`Unfinished`).
"""

from __future__ import annotations

import io
import json
import os
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..errors import StoreError
from ..expressions import Bands
from ..images.kinds import is_picture
from ..joining import Rim
from ..layers.layer import ArraySpec, Layout
from ..layers.segments import CONTOURS, TABLE, SegmentLayer, contours_spec
from ..layers.tiles import Region
from ..reading.sources import ImageSource, Piece
from ..segment_settings import SegmentSettings
from ..segments.blocks import Block, BlockPixels, blocks_in, through
from ..segments.cutting import Segments, WindowPixels
from ..segments.graph import Graph
from ..segments.hierarchy import Hierarchy
from ..segments.lifting import factor_of
from ..segments.shared import SharedPalette
from . import ome
from .adding import read_labels
from .manifest import image_facts, read_attributes
from .nodes import create_array, put_file, read_plane, write_array, write_group, write_plane
from .opening import update_attributes
from .writing import image_folder, placed, write_labels_index

PALETTE = "segment_palette"  # the attribute of a store that has the palette which its images share
ROWS = 1 << 16  # of the table, a chunk


class Ground(NamedTuple):
    """What of an image is segmented.

    Attributes
    ----------
    bands
        Those of samples, none for all but alpha; None: 8-bit colours.
    factor
        The side of the blocks of pixels that become one.
    """

    bands: Bands | None
    factor: int


def ground_of(
    source: ImageSource, settings: SegmentSettings, clustered: Bands | Literal[False] | None, layout: Layout
) -> Ground:
    """Colours or bands, and at what scale.

    Parameters
    ----------
    clustered
        The bands that its model is of, None where that is of colours; False without a model, where the header decides.
    layout
        Of the image, which tells whether it is known how large a pixel is.
    """
    bands = bands_of(source, clustered)
    has_size = layout.geo is not None or layout.unit is not None
    if bands is not None or settings.scale == "native" or (settings.scale == "auto" and has_size):
        return Ground(bands, 1)
    return Ground(bands, factor_of(source.shape))


def bands_of(source: ImageSource, clustered: Bands | Literal[False] | None) -> Bands | None:
    """Which bands of an image are segmented, as `Ground` has them; ``clustered`` as `ground_of` does."""
    return (None if is_picture(source.info) else ()) if clustered is False else clustered


def read_palette(path: str) -> SharedPalette | None:
    """The palette that images of a store share; None: there is none.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    told = (read_attributes(path) or {}).get(PALETTE)
    try:
        return None if told is None else SharedPalette.from_json(told)
    except ValueError as error:
        raise StoreError(f"{path}: a damaged zarr.json: its {PALETTE} cannot be read ({error})") from error


def write_palette(path: str, palette: SharedPalette) -> None:
    """Have a store keep it."""
    update_attributes(path, {PALETTE: palette.to_json()})


# ------------------------------------------------------------------------------------------------------- contours


def contours_facts(layer: SegmentLayer, source: ImageSource) -> dict[str, Any]:
    """What decides the contours of an image: all that decides its segments, but the level."""
    facts = layer.facts(source.file, source.mask)
    del facts["level"]
    return facts


def has_contours(path: str, layer: SegmentLayer, source: ImageSource) -> bool:
    """Whether an image has them, complete, of the same pixels and the same scale."""
    stated = image_facts(os.path.join(image_folder(path, source.file.key), CONTOURS))
    return stated == {**contours_facts(layer, source), "status": "complete"}


def is_known(path: str, source: ImageSource) -> bool:
    """Whether an image says that it is of this very file: that stays known while its segments are made anew."""
    stated = image_facts(image_folder(path, source.file.key))
    return stated is not None and "source" in stated and source.file.is_as(stated)


def create_contours(path: str, key: str, layout: Layout) -> None:
    """The array, without a pixel; an earlier one is removed."""
    folder = os.path.join(image_folder(path, key), CONTOURS)
    if storage.is_dir(folder):
        storage.remove_tree(folder)
    create_array(folder, contours_spec(layout), placed(layout))


def write_contours(path: str, key: str, region: Region, contours: NDArray[np.uint8], layout: Layout) -> None:
    """A window (2, y, x) of whole tiles."""
    folder = os.path.join(image_folder(path, key), CONTOURS)
    for plane in range(2):
        write_plane(folder, contours_spec(layout), region, contours[plane], (plane,))


def finish_contours(path: str, layer: SegmentLayer, source: ImageSource, layout: Layout) -> None:
    """Declare them complete."""
    folder = os.path.join(image_folder(path, source.file.key), CONTOURS)
    facts = {**contours_facts(layer, source), "status": "complete"}
    create_array(folder, contours_spec(layout), {**placed(layout), "kseg": facts})


def read_contours(path: str, key: str, region: Region, layout: Layout) -> NDArray[np.uint8]:
    """A window (2, y, x)."""
    folder, spec = os.path.join(image_folder(path, key), CONTOURS), contours_spec(layout)
    return np.stack([read_plane(folder, spec, region, (plane,)) for plane in range(2)])


# ------------------------------------------------------------------------------------------------------- segments


def measured_in(path: str, piece: Piece, samples: NDArray[Any], layout: Layout) -> WindowPixels:
    """What the segments in a piece with these samples are made of."""
    if layout.k == 0:
        return WindowPixels(samples, None, 0)
    return WindowPixels(samples, read_labels(path, piece, layout), layout.k)


def write_segments(
    path: str, key: str, layer: SegmentLayer, region: Region, segments: NDArray[np.uint32], layout: Layout
) -> None:
    """A window (y, x) of whole tiles."""
    write_plane(os.path.join(image_folder(path, key), layer.path()), layer.spec(layout), region, segments)


def finish_segments(path: str, layer: SegmentLayer, key: str, layout: Layout, segments: Segments) -> None:
    """The table, what is said of the label image, and last that the layer is complete."""
    folder = image_folder(path, key)
    table = os.path.join(folder, TABLE)
    if storage.is_dir(table):
        storage.remove_tree(table)
    write_group(table)
    for name, values in segments._asdict().items():
        columns = ("segment", *(("edge", "channel")[name == "mean"],) * (values.ndim - 1))
        chunks = (max(1, min(ROWS, len(values))), *values.shape[1:])
        spec = ArraySpec(values.shape, chunks, values.dtype.name, 0, columns, "numbers")
        if len(values):
            write_array(os.path.join(table, name), values, spec)
    write_group(os.path.join(folder, layer.node), described(layout))
    write_labels_index(folder)


def described(layout: Layout) -> dict[str, Any]:
    """The attributes of the label image."""
    pyramid = ome.multiscales("segments", layout.levels, layout.scale, layout.unit)
    label = {"version": ome.VERSION, "source": {"image": "../../"}}
    return {"ome": {"version": ome.VERSION, "multiscales": pyramid, "image-label": label}}


# ------------------------------------------------------------------------------------------ of large images, between


class Unfinished:
    """What is kept of a large image until its contours are complete: what its blocks tell, and its hierarchy.

    A block whose file is there is done, and so is the hierarchy; a job that goes on begins behind them.

    Parameters
    ----------
    path, key
        The store and the image's name in it.
    shape
        Of the image.
    """

    def __init__(self, path: str, key: str, shape: tuple[int, int]) -> None:
        self.folder = os.path.join(image_folder(path, key), f"{CONTOURS}.partial")
        self._image, self._facts = shape, os.path.join(self.folder, "facts.json")

    def is_of(self, facts: dict[str, Any]) -> bool:
        """Whether something is there, of the same pixels and scale."""
        try:
            return bool(json.loads(storage.read(self._facts)) == facts)
        except (OSError, ValueError):
            return False

    def begin(self, facts: dict[str, Any], specs: dict[str, ArraySpec]) -> None:
        """Make its arrays, unless it is there already; what is of other pixels or of another scale is removed."""
        if self.is_of(facts):
            return
        self.remove()
        storage.make_folder(self.folder)
        for name, spec in specs.items():
            create_array(os.path.join(self.folder, name), spec)
        put_file(self._facts, json.dumps(facts).encode())

    def remove(self) -> None:
        if storage.is_dir(self.folder):
            storage.remove_tree(self.folder)

    def has(self, name: str) -> bool:
        """Whether arrays were kept under a name."""
        return storage.is_file(os.path.join(self.folder, f"{name}.npz"))

    def put(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep some arrays in a file; it appears whole."""
        packed = io.BytesIO()
        np.savez(packed, **arrays)  # type: ignore[arg-type]  # its annotation takes them for an option
        put_file(os.path.join(self.folder, f"{name}.npz"), packed.getvalue())

    def get(self, name: str) -> dict[str, NDArray[Any]]:
        """What `put` kept."""
        with np.load(io.BytesIO(storage.read(os.path.join(self.folder, f"{name}.npz")))) as arrays:
            return dict(arrays)

    # ---------------------------------------------------------------------------------------------------- blocks

    def has_blocks(self, region: Region, side: int) -> bool:
        """Whether all blocks in a region are done."""
        return all(self.has(f"block-{at}") for at, _ in blocks_in(region, self._image, side))

    def put_block(self, at: int, window: Region, block: Block, pixels: BlockPixels, side: int) -> None:
        """Keep what a block tells, its regions and the contours within them; its file comes last."""
        specs, contours = block_specs(self._image, side), pixels.contours()
        write_plane(os.path.join(self.folder, "regions"), specs["regions"], window, pixels.region)
        for plane in range(2):
            write_plane(os.path.join(self.folder, "contours"), specs["contours"], window, contours[plane], (plane,))
        arrays = {**block.graph._asdict(), "exits": block.exits}
        for name, rim in (("regions", block.regions), ("gradient", block.gradient)):
            arrays |= {f"{name}_{line}": values for line, values in rim._asdict().items()}
        self.put(f"block-{at}", arrays)

    def get_block(self, at: int) -> Block:
        """What `put_block` kept of a block, without its pixels."""
        arrays = self.get(f"block-{at}")
        graph = Graph(*(arrays[name] for name in Graph._fields))
        rims = (Rim(*(arrays[f"{name}_{line}"] for line in Rim._fields)) for name in ("regions", "gradient"))
        return Block(graph, arrays["exits"], *rims)

    def block_bytes(self, count: int) -> int:
        """How large the files of so many blocks are, which hold little but their graphs."""
        return sum(storage.stat(os.path.join(self.folder, f"block-{at}.npz")).st_size for at in range(count))

    def read_regions(self, region: Region, numbers: dict[str, NDArray[Any]], side: int) -> NDArray[np.int32]:
        """int32 (y, x): a region of the image, by the numbers that are kept with its hierarchy."""
        array = read_plane(os.path.join(self.folder, "regions"), block_specs(self._image, side)["regions"], region)
        begins, number = numbers["begins"], numbers["number"]
        for at, window in blocks_in(region, self._image, side):
            rows, columns = (
                slice(max(own.start, part.start) - part.start, min(own.stop, part.stop) - part.start)
                for own, part in zip(window, region, strict=True)
            )
            array[rows, columns] = through(array[rows, columns], number[begins[at] : begins[at + 1]])
        return array

    def read_contours(self, region: Region, side: int) -> NDArray[np.uint8]:
        """uint8 (2, y, x): the contours within the regions of blocks."""
        folder, spec = os.path.join(self.folder, "contours"), block_specs(self._image, side)["contours"]
        return np.stack([read_plane(folder, spec, region, (plane,)) for plane in range(2)])

    # ------------------------------------------------------------------------------------------------- hierarchy

    @property
    def has_hierarchy(self) -> bool:
        return self.has("hierarchy")

    def put_hierarchy(self, hierarchy: Hierarchy, more: dict[str, NDArray[Any]]) -> None:
        """Keep an image's hierarchy, and what goes with it."""
        self.put("hierarchy", {**hierarchy._asdict(), **more})

    def get_hierarchy(self) -> tuple[Hierarchy, dict[str, NDArray[Any]]]:
        """What `put_hierarchy` kept."""
        arrays = self.get("hierarchy")
        return Hierarchy(*(arrays.pop(name) for name in Hierarchy._fields)), arrays


def block_specs(shape: tuple[int, int], side: int) -> dict[str, ArraySpec]:
    """Arrays of the regions of blocks, and of the contours within them: a chunk is a block."""
    chunks = (min(side, shape[0]), min(side, shape[1]))
    return {
        "regions": ArraySpec(shape, chunks, "int32", -1, ("y", "x"), "numbers"),
        "contours": ArraySpec((2, *shape), (1, *chunks), "uint8", 0, ("boundary", "y", "x")),
    }
