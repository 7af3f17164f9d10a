"""Which pages of a TIFF make its picture: its largest one of full resolution, never a thumbnail, label, macro or mask.

Files whose metadata say what their pages are (OME, ImageJ, Aperio, Leica, Hamamatsu, Philips, ...) are taken apart by
tifffile; what it calls a series is one image with its channels, slices, points in time and pyramid. Of all others the
pages themselves tell: how large they are, and by NewSubfileType which are reduced in resolution or masks. Of several
that are about as large the first is taken. What was left out is said.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from kseg_core.choice import RULES, PictureChoice
from kseg_core.images import tiff_tags
from kseg_core.images.choosing import axis_notes, note, require_one_picture, taken
from kseg_core.images.raster import NotSupported, Refused
from kseg_core.images.tiff_directories import Directories, Directory, stated_tags, walk
from kseg_core.images.tiff_plausible import check_directory

#: Series of these names are not what was scanned, however large they are.
_ASIDE = re.compile(r"\s*(label|macro|thumbnail|map)([ _-]?image)?\s*", re.IGNORECASE)
_NAMES_OF_PAGES = (270, 285)  # ImageDescription, PageName
_GENERIC = frozenset({"generic", "uniform", "nih", "mdgel", "eer", "scanimage"})  # told by their pages alone
_OME_SIZES = frozenset({"SizeC", "SizeZ", "SizeT", "PlaneCount", "NumPlanes", "FirstC", "FirstZ", "FirstT", "IFD"})
_OME_EACH = re.compile(r"\bSize[CZT]\s*=\s*[\"']([^\"']+)[\"']")
_TOO_MANY_PLANES = "damaged: the metadata of the TIFF state more planes than any file holds"
_IMAGEJ_IMAGES = re.compile(r"\bimages=(\d+)")
_STK_PLANES = 33628  # UIC1Tag of MetaMorph
LIKE_THE_LARGEST = 0.5  # of its pixels: thumbnails have a small part of them, and a level of a pyramid a quarter
_MOST_PLANES = 1 << 22  # that metadata may state: tifffile makes a list of as many


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages that make a picture.

    Parameters
    ----------
    first
        A ``TiffPage`` whose tags say what the samples are.
    bands
        For each page of samples side by side, the pages (of slices) of which the largest value counts; nearly always
        one of one.
    notes
        What is to be said of it.
    rules
        See `PictureInfo`.
    """

    first: Any
    bands: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()
    rules: int = 1


class Plane:
    """One plane of a stack whose only directory is the first plane's: it follows the others without a gap."""

    def __init__(self, page: Any, start: int, layout: tuple[int, int]) -> None:
        rows, row_bytes = layout
        strips = -(-page.imagelength // rows)
        sizes = [min(rows, page.imagelength - strip * rows) * row_bytes for strip in range(strips)]
        self.keyframe, self.parent = page, page.parent
        self.dataoffsets = tuple(start + strip * rows * row_bytes for strip in range(strips))
        self.databytecounts = tuple(sizes)


def picture_pages(tiff: Any, choice: PictureChoice) -> Pages:
    """Return the pages that make the picture of a TIFF.

    Parameters
    ----------
    tiff
        A ``TiffFile``.
    choice
        What was chosen.

    Raises
    ------
    Refused
        Where it has not what was chosen, where planes are missing, and for a camera's raw file.
    """
    try:
        first = tiff.pages.first
    except IndexError:
        raise Refused("damaged: the TIFF has no pages") from None
    _refuse_raw(first)
    codes, following = stated_tags(tiff, first.offset)
    if not following and not first.subifds and not _states_planes(first):
        _require_tags(first, codes)
        require_one_picture(choice, channels=False)
        return Pages(first, ((first,),))
    directories = walk(tiff)
    if choice.page is not None:
        return _checked(tiff, _chosen_page(tiff, directories, choice.page))
    found = _of_series(tiff, directories, choice) if _is_described(tiff, first) else None
    return _checked(tiff, found or _largest(tiff, directories, choice))


def _states_planes(page: Any) -> bool:
    """Say whether a file of one page says that there is more than this page in it."""
    text = str(page.description)
    if not text:
        return _STK_PLANES in page.tags
    if page.is_imagej:
        images = _IMAGEJ_IMAGES.search(str(page.imagej_description or text))
        return images is not None and int(images[1]) > 1
    if page.is_shaped:
        return bool(_shaped_size(page.shaped_description) > math.prod(page.shape))
    if page.is_ome:
        return text.count("Pixels") > 2 or any(_number(size) > 1 for size in _OME_EACH.findall(text))
    return _STK_PLANES in page.tags


def _shaped_size(text: str) -> int:
    try:
        return math.prod(int(size) for size in json.loads(text)["shape"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return 0


def _is_described(tiff: Any, page: Any) -> bool:
    """Say whether metadata tell what the pages are."""
    vendor = tiff.is_svs or tiff.is_scn or tiff.is_philips or tiff.is_ndpi or tiff.is_bif or tiff.is_qpi or tiff.is_avs
    microscope = tiff.is_lsm or tiff.is_stk or tiff.is_fluoview or tiff.is_sis
    return bool(page.is_ome or page.is_imagej or page.is_shaped or vendor or microscope)


# ------------------------------------------------------------------------------------------------ pages by themselves


def _chosen_page(tiff: Any, directories: Directories, number: int) -> Pages:
    """Return one page as it is stored, or one plane of a stack with a single directory."""
    first = tiff.pages.first
    count = len(directories.chain)
    if count == 1 and _states_planes(first) and not first.is_ome:
        series = _series_of(tiff)
        if series and (planes := _planes_of(series[0])) > 1:
            number = taken("page", number, planes)
            return Pages(first, ((_plane(series[0], number),),))
    number = taken("page", number, count)
    page = _load(tiff, directories.chain[number])
    return Pages(page, ((page,),))


def _largest(tiff: Any, directories: Directories, choice: PictureChoice) -> Pages:
    """Return the first of the pages of full resolution that are about as large as the largest."""
    require_one_picture(choice, channels=False)
    pages = [page for page in (*directories.chain, *directories.below) if page.pixels and not page.is_mask]
    full = [page for page in pages if not page.is_reduced]
    if not full and directories.is_broken:
        raise Refused("truncated: the TIFF has a reduced image, and the page of the full one cannot be read")
    alike = _like_the_largest(tiff, full or pages or directories.chain)
    if choice.z is not None and len(alike) > 1:
        raise Refused("its pages are no slices, as far as it says; --page chooses one of them, not --z")
    best = alike[0]
    page = _load(tiff, best)
    count, others = len(directories.chain), [each for each in full if each is not best]
    smaller = any(each.pixels < best.pixels * LIKE_THE_LARGEST for each in (pages if best.number else others))
    is_largest = smaller and not any(each.pixels * LIKE_THE_LARGEST > best.pixels for each in full)
    why = "the largest" if is_largest else ""
    notes: tuple[str, ...] = ()
    if count == 1 and not directories.below:
        elsewhere = page.is_ome and "FileName" in str(page.description)
        holds = "are in other files, inputs of their own" if elsewhere else "are not in the file"
        notes = (f"its metadata state planes that {holds}: only the first is read",)
    elif best.below:
        notes = (f"the image below page {best.number + 1} of {count}, {why or 'the only one of full resolution'}",)
    elif best.number or any(not each.below for each in others):
        notes = (note("page", best.number, count, why=why),)
    rules = 1 if page is tiff.pages.first else RULES
    return Pages(page, ((page,),), notes, rules)


def _like_the_largest(tiff: Any, pages: list[Directory]) -> list[Directory]:
    """Return the pages that are about as large as the largest, the first of which is the picture.

    Scans of several sheets differ by some rows and columns: they are pages, and a person begins with the first. Pages
    whose names say that they are a label or so are passed over, if they are not all.
    """
    left = [*pages]
    while True:
        largest = max(left, key=lambda page: page.pixels)
        alike = [page for page in left if page.pixels >= largest.pixels * LIKE_THE_LARGEST]
        asked = dict.fromkeys((alike[0], largest)) if len(left) > 1 else ()
        aside = next((page for page in asked if _is_aside(_load(tiff, page))), None)
        if aside is None:
            return alike
        left.remove(aside)


def _is_aside(page: Any) -> bool:
    return any(_ASIDE.fullmatch(str(page.tags.valueof(code, ""))) for code in _NAMES_OF_PAGES)


def _load(tiff: Any, directory: Directory) -> Any:
    """Read a page's tags."""
    import tifffile

    if directory.offset == tiff.pages.first.offset:
        return tiff.pages.first
    check_directory(tiff.filehandle, directory.offset)
    tiff.filehandle.seek(directory.offset)
    return tifffile.TiffPage(tiff, index=directory.number)


# ------------------------------------------------------------------------------------------- pages told by metadata


def _of_series(tiff: Any, directories: Directories, choice: PictureChoice) -> Pages | None:
    """Return what metadata say is the picture; None where they say nothing of use."""
    series = _series_of(tiff, directories)
    if not series:
        return None
    aside = [_ASIDE.fullmatch(each.name or "") is not None for each in series]
    pool = [at for at in range(len(series)) if not aside[at]] or [*range(len(series))]
    area = [_size(each, "Y") * _size(each, "X") for each in series]
    best = max(pool, key=lambda at: area[at])
    index = taken("series", choice.series, len(series), best)
    chosen = series[index]
    bands = _bands(chosen, choice, tiff, directories)
    sizes = {axis.lower(): size for axis, size in _outer(chosen)}
    notes: tuple[str, ...] = ()
    if len(series) > 1 and choice.series is None:
        name = f"{chosen.name!r}, " if chosen.name else ""
        largest = area[index] == max(area) and min(area) < max(area)
        why = f"{name}the largest" if largest else name.rstrip(", ")
        notes = (note("series", index, len(series), why=why),)
    notes += axis_notes({axis: size for axis, size in sizes.items() if axis != "c"}, choice)
    page = chosen.keyframe
    same = _was_read_so(tiff, page, bands, index)
    return Pages(page, bands, notes, 1 if same else RULES)


def _was_read_so(tiff: Any, page: Any, bands: tuple[tuple[Any, ...], ...], index: int) -> bool:
    """Say whether release 0.1.0 read the same pages: the first, or the channels of OME's first image."""
    if len(bands) > 1:
        return bool(tiff.pages.first.is_ome and index == 0 and page.samplesperpixel == 1)
    only = bands[0][0]
    first = tiff.pages.first
    return not isinstance(only, Plane) and tuple(only.dataoffsets) == tuple(first.dataoffsets)


def _series_of(tiff: Any, directories: Directories | None = None) -> list[Any]:
    """Return tifffile's series that are told by metadata and lie in this file; none where they cannot be had."""
    if tiff.pages.first.is_ome:
        _require_plausible(tiff.ome_metadata or "", min(_MOST_PLANES, tiff_size(tiff.pages.first)))
        tiff._multifile = False  # the others of a set are inputs of their own
    _require_room(tiff.pages.first)
    if tiff.is_mmstack:
        return []
    try:
        series = list(tiff.series)
    except (OSError, MemoryError):
        raise
    except Exception:  # of any class: metadata are read by whoever made them
        series = []
    found = [each for each in series if each.kind not in _GENERIC and _size(each, "Y") and _size(each, "X")]
    if tiff.pages.first.is_shaped:
        # Written by tifffile: an array whose axes nobody named is a number of pages, unless there is but one of them.
        several = directories is not None and len(directories.chain) > 1
        named = [each for each in found if set("CZT") & {axis for axis, size in _outer(each) if size > 1}]
        return found if named or not several else []
    return found


def _require_plausible(xml: str, most: int) -> None:
    """Refuse OME metadata that state more planes than a file holds: lists are made of as many."""
    from xml.etree import ElementTree

    try:
        elements = list(ElementTree.fromstring(xml).iter())
    except ElementTree.ParseError:
        return  # tifffile reads them no better
    planes = 0
    for element in elements:
        stated = {name: _number(text) for name, text in element.attrib.items() if name in _OME_SIZES}
        if max(stated.values(), default=0) > most:
            raise Refused(_TOO_MANY_PLANES)
        if element.tag.rpartition("}")[2] == "Pixels":
            planes += math.prod(stated.get(name, 1) for name in ("SizeC", "SizeZ", "SizeT"))
    if planes > most:
        raise Refused(_TOO_MANY_PLANES)


def _number(text: str) -> int:
    """Return a number as tifffile reads it: signs, spaces and underscores too."""
    try:
        return int(text)
    except ValueError:
        return 0


def _require_room(page: Any) -> None:
    """Refuse metadata of ImageJ and of tifffile that state more planes than the file holds, as above."""
    size = _shaped_size(page.shaped_description) if page.is_shaped else 0
    images = _IMAGEJ_IMAGES.search(str(page.imagej_description or page.description)) if page.is_imagej else None
    planes = max(size // max(1, math.prod(page.shape)), int(images[1]) if images else 0)
    if planes > min(_MOST_PLANES, tiff_size(page)):  # less than a byte for each
        raise Refused(_TOO_MANY_PLANES)


def _size(series: Any, axis: str) -> int:
    axes = series.get_axes(False)
    return int(series.get_shape(False)[axes.index(axis)]) if axis in axes else 0


def _outer(series: Any) -> list[tuple[str, int]]:
    """Return the axes, and their sizes, along which a series has pages."""
    axes, shape = series.get_axes(False), [int(size) for size in series.get_shape(False)]
    page = math.prod(series.keyframe.shape)
    inside = next((at for at in range(len(axes)) if math.prod(shape[at:]) == page), None)
    if inside is None:
        raise Refused("damaged: the TIFF's metadata do not fit its pages")
    return list(zip(axes[:inside], shape[:inside], strict=True))


def _planes_of(series: Any) -> int:
    return math.prod(size for _, size in _outer(series))


def _bands(series: Any, choice: PictureChoice, tiff: Any, directories: Directories) -> tuple[tuple[Any, ...], ...]:
    """Return the planes of each channel; with ``z="max"`` those of all slices."""
    outer = _outer(series)
    sizes = dict(outer)
    slices = sizes.get("Z", 1)
    z = range(slices) if choice.z == "max" else (taken("z", choice.z, slices),)
    t = taken("t", choice.t, sizes.get("T", 1))
    steps: dict[str, int] = {}
    step = 1
    for axis, size in reversed(outer):
        steps.setdefault(axis, step)
        step *= size
    numbers = [
        [channel * steps.get("C", 0) + each * steps.get("Z", 0) + t * steps.get("T", 0) for each in z]
        for channel in range(sizes.get("C", 1))
    ]
    layouts = {directory.offset: directory.layout for directory in (*directories.chain, *directories.below)}
    return tuple(tuple(_page_of(series, number, tiff, layouts) for number in band) for band in numbers)


def _page_of(series: Any, number: int, tiff: Any, layouts: dict[int, tuple[int, ...]]) -> Any:
    """Return a plane of a series.

    Raises
    ------
    Refused
        Where it is not in the file, or not what the others are.
    """
    stated = _planes_of(series)
    if len(series) < stated:
        if len(series) == 1 and not isinstance(series[0], type(None)) and series.is_truncated:
            return _plane(series, number)
        if number >= len(series):
            raise Refused(f"truncated or damaged: the TIFF states {stated} planes but holds {len(series)}")
    page = series[number]
    if page is None:
        raise Refused(f"truncated or damaged: plane {number + 1} of the {stated} that the TIFF states is missing")
    if page.parent is not tiff:
        raise Refused(f"plane {number + 1} of the {stated} that the TIFF states is in another file")
    mine, other = layouts.get(page.offset), layouts.get(series.keyframe.offset)
    if mine != other:
        raise Refused("damaged: planes of one image of the TIFF are stored differently")
    return page


def _plane(series: Any, number: int) -> Plane:
    """Return a plane of a stack that has one directory."""
    page = series.keyframe
    start = page.dataoffsets[0] if page.dataoffsets else 0
    whole = page.compression == tiff_tags.UNCOMPRESSED and page.is_contiguous and not page.is_tiled
    if not whole or not start or page.dtype is None or page.bitspersample != page.dtype.itemsize * 8:
        raise NotSupported("a stack of one directory that is compressed or packed: save it with a page for each plane")
    if page.planarconfig != tiff_tags.CONTIGUOUS and page.samplesperpixel > 1:
        raise NotSupported("a stack of one directory whose samples are apart: save it with a page for each plane")
    row_bytes = page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    rows = min(page.rowsperstrip or page.imagelength, page.imagelength)
    begin = start + number * page.imagelength * row_bytes
    if begin + page.imagelength * row_bytes > tiff_size(page):
        raise Refused(f"truncated: plane {number + 1} of the TIFF reaches beyond the file's end")
    return Plane(page, begin, (rows, row_bytes))


def tiff_size(page: Any) -> int:
    """Return the bytes of a page's file."""
    return int(page.parent.filehandle.size)


# -------------------------------------------------------------------------------------------------- what is refused


def _checked(tiff: Any, pages: Pages) -> Pages:
    """Refuse a picture whose page lacks tags that are stated, and a camera's raw data."""
    page = pages.first
    _require_tags(page, stated_tags(tiff, page.offset)[0])
    if page is not tiff.pages.first:
        _refuse_raw(page)
    return pages


def _require_tags(page: Any, stated: set[int]) -> None:
    """Refuse a page of whose tags one that means something cannot be read."""
    lost = tiff_tags.MEANINGFUL.intersection(stated).difference(page.tags.keys())
    if lost:
        raise Refused(f"truncated or damaged: tag {min(lost)} of the TIFF cannot be read")


def _refuse_raw(page: Any) -> None:
    """Refuse a camera's raw file by name."""
    # Raw files of most cameras are TIFFs whose first page is a small preview of the raw data in a sub-page.
    preview = page.subfiletype & 1 and tiff_tags.SUB_IFDS in page.tags and tiff_tags.MAKE in page.tags
    is_dng = tiff_tags.DNG_VERSION in page.tags
    if is_dng or preview or page.photometric in tiff_tags.RAW_PHOTOMETRICS:
        name = "DNG" if is_dng else str(page.tags.valueof(tiff_tags.MAKE, "")).strip() or "TIFF"
        raise NotSupported(
            f"camera RAW ({name}): not supported here; develop it to TIFF or JPEG first, "
            "e.g. with `darktable-cli` or `dcraw -T`"
        )
