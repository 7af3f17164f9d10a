"""Are the segments of a stored image those of its contours? Counted window by window, and judged of all.

Two neighbouring pixels are in one segment exactly where the boundary between them has vanished at the level: that a
window tells by itself. That segments which do not touch have numbers of their own, a sum over all pixels tells, in
which each number has a weight: it must be that of the table's areas. An image of one window is cut once more as well,
and held against that, numbers and table.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..inputs.listing import FACTS
from ..layers.segments import CONTOURS, SegmentLayer
from ..layers.tiles import Region, tile_windows
from ..segment_settings import SegmentSettings
from ..segments.cutting import Segments
from ..segments.hierarchy import BESIDE_INVALID, INVALID
from .cuts import (
    Cut,
    StoredPixels,
    contours_of_image,
    hierarchy_facts,
    level_of,
    same_parts,
    same_segments,
    stored_layout,
    table_of,
)
from .manifest import differences
from .nodes import DAMAGE, read_document
from .opening import StoredImage
from .segments import described

SIDE = 1024  # of the parts of a window that are looked at: some megabytes each
LAYER = SegmentLayer()
WEIGHTS = "segments, by weight"  # by which name the sum over all pixels is counted
MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: numbers that are near get weights that are not
WEIGHT_BITS = np.uint64(24)  # less than 64: of a part of a window the sum stays below 2^64


def tally_segments(image: StoredImage, window: Region) -> Counter[str]:
    """How many pixels of a window are not as the contours have them, and the sum of the weights of their numbers.

    Raises
    ------
    StoreError
        If something cannot be read.
    """
    level = level_of(image)
    if level is None:
        raise StoreError(f"{image.path}: its segments do not say at which level they are cut")
    most = SegmentSettings(level).most
    found, (rows, columns) = Counter[str](), window
    for down, across in tile_windows(rows.stop - rows.start, columns.stop - columns.start, SIDE):
        part = (
            slice(rows.start + down.start, rows.start + down.stop),
            slice(columns.start + across.start, columns.start + across.stop),
        )
        found += _tally_part(image, part, most)
    return found


def _tally_part(image: StoredImage, part: Region, most: int) -> Counter[str]:
    rows, columns = part
    height, width = image.attributes["shape"]
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    segments = _segments(
        image, (slice(rows.start, min(rows.stop + 1, height)), slice(columns.start, min(columns.stop + 1, width)))
    )
    contours = contours_of_image(image, part)
    own = segments[: shape[0], : shape[1]]
    wrong = np.zeros(shape, np.bool_)
    for plane, (down, right) in enumerate(((0, 1), (1, 0))):
        there = segments[down : down + shape[0], right : right + shape[1]]  # less by one at the image's edge
        here = (slice(0, there.shape[0]), slice(0, there.shape[1]))
        mine, step = own[here], contours[plane][here]
        expected = np.where(there == 0, step == BESIDE_INVALID, (mine == there) == (step <= most))
        wrong[here] |= (mine > 0) & ~expected
        wrong |= (own == 0) != (contours[plane] == INVALID)
    weights = int(weights_of(own).sum(dtype=np.uint64))
    return Counter({LAYER.name: int(np.count_nonzero(wrong)), WEIGHTS: weights})


def _segments(image: StoredImage, window: Region) -> NDArray[np.uint32]:
    try:
        return np.asarray(image.array(LAYER.path())[window], np.uint32)
    except DAMAGE as error:
        raise StoreError(f"{image.path}: its segments cannot be read ({error})") from error


def weights_of(numbers: NDArray[Any]) -> NDArray[np.uint64]:
    """Of each number of a segment: of 0, which is none, 0."""
    return (numbers.astype(np.uint64) * MIXER) >> WEIGHT_BITS


def wrong_segments(image: StoredImage, counted: Counter[str], *, is_whole: bool) -> Iterator[str]:
    """What is wrong with the segments of an image whose windows are counted; ``is_whole``: they are one.

    Raises
    ------
    StoreError
        If something cannot be read.
    """
    if counted[LAYER.name]:
        yield f"{counted[LAYER.name]} pixels of its segments are not those of its contours"
    stated: Any = image.array(LAYER.path()).attrs.get("kseg")
    facts, basis = dict(stated or {}), hierarchy_facts(image.store, image.key)
    if basis is None or any(facts.get(name) != value for name, value in basis.items()):
        yield f"its {CONTOURS}, from which other levels are cut, are missing, or of another file"
        return
    if not _is_described(image):
        yield "what is said with its segments is not what they are"
    table = table_of(image)
    if not counted[LAYER.name] and counted[WEIGHTS] % (1 << 64) != _weight(table):
        yield "its segments are not numbered as their table has them"
    elif is_whole:
        cut = Cut.of(image, facts["level"], StoredPixels(image))
        if not same_segments(cut.segments, table):
            yield "the table of its segments is not of them"
    elif not _is_plausible(table, image.attributes["shape"]):
        yield "the table of its segments is not of them"


def contours_are_right(image: StoredImage, layer: SegmentLayer) -> bool:
    """Whether an image's contours can be relied on where something else of its segments is damaged: they are of its
    file, and what is cut from them are the segments of the label image, or those of the table; where neither can be
    read, their own checksums must do.

    Raises
    ------
    StoreError
        If they are missing or damaged.
    """
    basis = hierarchy_facts(image.store, image.key) or {}
    expected = {name: value for name, value in layer.to_json().items() if name not in layer.free}
    expected |= {name: image.attributes[name] for name in FACTS if name in image.attributes}
    if not basis or differences({name: basis[name] for name in expected if name in basis}, expected):
        return False
    cut = Cut.of(image, layer.settings.level, StoredPixels(image))
    witnesses = []
    for agrees in (_agrees_with_table, _agrees_with_labels):
        with contextlib.suppress(StoreError):
            witnesses.append(agrees(image, cut))
    return any(witnesses) or not witnesses


def _agrees_with_table(image: StoredImage, cut: Cut) -> bool:
    return same_parts(cut.segments, table_of(image))


def _agrees_with_labels(image: StoredImage, cut: Cut) -> bool:
    if not image.has_layer(LAYER):
        raise StoreError(f"{image.path}: its segments are missing")
    return all(np.array_equal(cut.read(image, *window), _segments(image, window)) for window in cut.windows)


def _is_described(image: StoredImage) -> bool:
    """Whether what is said with the label image is what its arrays are."""
    try:
        said = read_document(os.path.join(image.path, LAYER.node))["attributes"]
        return bool(said == described(stored_layout(image, SIDE)))
    except (*DAMAGE, StoreError):
        return False


def _weight(table: Segments) -> int:
    """The sum of weights that its areas make."""
    numbers = np.arange(1, table.area.size + 1)
    return int((table.area.astype(np.uint64) * weights_of(numbers)).sum(dtype=np.uint64))


def _is_plausible(table: Segments, shape: tuple[int, int]) -> bool:
    """Whether areas fit into boxes, these into the image, and their first rows are in order."""
    top, left, bottom, right = table.box.T
    fits = (top >= 0) & (left >= 0) & (bottom <= shape[0]) & (right <= shape[1])
    fits &= (table.area >= 1) & (table.area <= (bottom - top) * (right - left))
    return bool(fits.all()) and bool((np.diff(top) >= 0).all())
