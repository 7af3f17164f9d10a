"""Which pages of a TIFF make its picture: its largest one of full resolution, never a thumbnail, label, macro or mask.

Files whose metadata say what their pages are (OME, ImageJ, Aperio, Leica, Philips, ...) are taken apart by tifffile;
what it calls a series is one image with its channels, slices, points in time and pyramid. Of all others the pages
themselves tell: how large they are, and by NewSubfileType which are reduced in resolution or masks. Of several that are
about as large the first is taken. What was left out is said.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from tifffile import COMPRESSION, PLANARCONFIG, TiffFrame, TiffPage

from kseg_core.choice import RULES, PictureChoice
from kseg_core.images import tiff_directory as tags
from kseg_core.images.choosing import axis_notes, note, require_one_picture, taken
from kseg_core.images.raster import NotSupported, Refused
from kseg_core.images.tiff_directory import Directories, Page

#: Series and pages of these names are not what was scanned, however large they are.
_ASIDE = re.compile(r"\s*(label|macro|thumbnail|map)([ _-]?image)?\s*", re.IGNORECASE)
_GENERIC = frozenset({"generic", "uniform", "nih", "mdgel", "eer", "scanimage"})  # series told by their pages alone
_IMAGEJ_IMAGES = re.compile(r"\bimages=(\d+)")
_OME_COUNTS = frozenset({"SizeC", "SizeZ", "SizeT", "PlaneCount", "NumPlanes", "FirstC", "FirstZ", "FirstT", "IFD"})
LIKE_THE_LARGEST = 0.5  # of its pixels: thumbnails have a small part of them, and a level of a pyramid a quarter
_MOST_PLANES = 1 << 22  # that metadata may state: tifffile makes a list of as many
_FARTHEST_MASK = 256  # pages between a picture and its mask: overviews and their masks
_RAW_PHOTOMETRICS = frozenset({32803, 34892})  # colour filter array, linear raw


@dataclass(frozen=True, slots=True)
class Chosen:
    """The pages that make a picture.

    Parameters
    ----------
    first
        A ``TiffPage`` whose tags say what the samples are.
    bands
        For each page of samples side by side, the pages (of slices) of which the largest value counts; nearly always
        one of one.
    notes, rules
        See `PictureInfo`.
    image
        Which of the images that metadata describe, from 0.
    """

    first: Any
    bands: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()
    rules: int = 1
    image: int = 0


def picture_pages(tiff: Any, directories: Directories, choice: PictureChoice) -> Chosen:
    """Return the pages that make the picture of a ``TiffFile``.

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
    stated = _stated_planes(first)
    if not directories.first.following and not first.subifds and stated <= 1:
        require_one_picture(choice, channels=False)
        chosen = Chosen(first, ((first,),))
    else:
        chosen = _Choice(tiff, directories, stated).of(choice)
    page = chosen.first
    directory = directories.first if page is first else directories.at(page.offset)
    lost = tags.MEANINGFUL.intersection(directory.tags).difference(page.tags.keys())
    if lost:
        raise Refused(f"truncated or damaged: tag {min(lost)} of the TIFF cannot be read")
    if page is not first:
        _refuse_raw(page)
    return chosen


def _refuse_raw(page: Any) -> None:
    # Raw files of most cameras are TIFFs whose first page is a small preview of the raw data in a sub-page.
    preview = page.subfiletype & 1 and tags.SUB_IFDS in page.tags and tags.MAKE in page.tags
    is_dng = tags.DNG_VERSION in page.tags
    if is_dng or preview or page.photometric in _RAW_PHOTOMETRICS:
        name = "DNG" if is_dng else str(page.tags.valueof(tags.MAKE, "")).strip() or "TIFF"
        raise NotSupported(
            f"camera RAW ({name}): not supported here; develop it to TIFF or JPEG first, "
            "e.g. with `darktable-cli` or `dcraw -T`"
        )


def _stated_planes(page: Any) -> int:
    """How many planes of its size a page's metadata state; 1 where they state none."""
    stated = [2 if tags.STK_PLANES in page.tags else 1]
    if page.is_imagej and (images := _IMAGEJ_IMAGES.search(str(page.imagej_description))):
        stated.append(int(images[1]))
    if page.is_shaped:
        stated.append(-(-_shaped_size(page.shaped_description) // max(1, math.prod(page.shape))))
    if page.is_ome:
        stated.append(_ome_planes(str(page.description)))
    return max(stated)


def _shaped_size(text: str) -> int:
    try:
        return math.prod(int(size) for size in json.loads(text)["shape"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return 0


def _ome_planes(xml: str) -> int:
    """How many planes OME's metadata state, or the largest of the numbers that planes are told by."""
    try:
        elements = [*ElementTree.fromstring(xml).iter()]
    except ElementTree.ParseError:
        return 1  # tifffile reads them no better
    planes, largest = 0, 0
    for element in elements:
        stated = {name: _number(text) for name, text in element.attrib.items() if name in _OME_COUNTS}
        largest = max(largest, *stated.values(), 0)
        if element.tag.rpartition("}")[2] == "Pixels":
            planes += math.prod(stated.get(name, 1) for name in ("SizeC", "SizeZ", "SizeT"))
    return largest if largest > _MOST_PLANES else planes


def _number(text: str) -> int:
    """Return a number as tifffile reads it: signs, spaces and underscores too."""
    try:
        return int(text)
    except ValueError:
        return 0


class _Choice:
    """The pages of a file that has several, or whose metadata state several planes."""

    def __init__(self, tiff: Any, directories: Directories, stated_planes: int) -> None:
        self._tiff, self._directories, self._stated_planes = tiff, directories, stated_planes
        self._first, self._pages = tiff.pages.first, directories.walk()

    def of(self, choice: PictureChoice) -> Chosen:
        """Return the pages of the picture that was chosen, or is chosen by default."""
        if choice.page is not None:
            return self._as_stored(choice.page)
        return self._of_series(choice) or self._largest(choice)

    def _load(self, directory: Page) -> Any:
        if directory.offset == self._first.offset:
            return self._first
        directory.check()
        self._tiff.filehandle.seek(directory.offset)
        return TiffPage(self._tiff, index=directory.number)

    def _as_stored(self, number: int) -> Chosen:
        """Return one page, or one plane of a stack with a single directory."""
        count = len(self._pages.chain)
        if count == 1 and self._stated_planes > 1 and not self._first.is_ome:
            series = self._series()
            if series and (planes := _planes_of(series[0])) > 1:
                return Chosen(self._first, ((_plane(series[0], taken("page", number, planes)),),))
        page = self._load(self._pages.chain[taken("page", number, count)])
        return Chosen(page, ((page,),))

    # ------------------------------------------------------------------------------------------ pages by themselves

    def _largest(self, choice: PictureChoice) -> Chosen:
        """Return the first of the pages of full resolution that are about as large as the largest."""
        require_one_picture(choice, channels=False)
        chain, below, is_broken = self._pages
        pages = [page for page in (*chain, *below) if page.pixels and not page.is_mask]
        full = [page for page in pages if not page.is_reduced]
        if not full and is_broken:
            raise Refused("truncated: the TIFF has a reduced image, and the page of the full one cannot be read")
        alike = self._like_the_largest(full or pages or chain)
        if choice.z is not None and len(alike) > 1:
            raise Refused("its pages are no slices, as far as it says; --page chooses one of them, not --z")
        best = alike[0]
        page = self._load(best)
        others = [each for each in full if each is not best]
        smaller = any(each.pixels < best.pixels * LIKE_THE_LARGEST for each in (pages if best.number else others))
        is_largest = smaller and not any(each.pixels * LIKE_THE_LARGEST > best.pixels for each in full)
        why = "the largest" if is_largest else ""
        notes: tuple[str, ...] = ()
        if len(chain) == 1 and not below:
            elsewhere = page.is_ome and "FileName" in str(page.description)
            holds = "are in other files, inputs of their own" if elsewhere else "are not in the file"
            notes = (f"its metadata state planes that {holds}: only the first is read",)
        elif best.is_below:
            why = why or "the only one of full resolution"
            notes = (f"the image below page {best.number + 1} of {len(chain)}, {why}",)
        elif best.number or any(not each.is_below for each in others):
            notes = (note("page", best.number, len(chain), why=why),)
        return Chosen(page, ((page,),), notes, 1 if page is self._first else RULES)

    def _like_the_largest(self, pages: list[Page]) -> list[Page]:
        """Return the pages that are about as large as the largest, the first of which is the picture.

        Scans of several sheets differ by some rows and columns: they are pages, and a person begins with the first.
        Pages whose names say that they are a label or so are passed over, if they are not all.
        """
        left = [*pages]
        while True:
            largest = max(left, key=lambda page: page.pixels)
            alike = [page for page in left if page.pixels >= largest.pixels * LIKE_THE_LARGEST]
            named = dict.fromkeys((alike[0], largest)) if len(left) > 1 else ()
            aside = next((page for page in named if _is_aside(self._load(page))), None)
            if aside is None:
                return alike
            left.remove(aside)

    # ---------------------------------------------------------------------------------------- pages told by metadata

    def _of_series(self, choice: PictureChoice) -> Chosen | None:
        """Return what metadata say is the picture; None where they say nothing of use."""
        tiff, first = self._tiff, self._first
        vendor = tiff.is_svs or tiff.is_scn or tiff.is_philips or tiff.is_qpi or tiff.is_avs
        microscope = tiff.is_lsm or tiff.is_stk or tiff.is_fluoview or tiff.is_sis
        described = first.is_ome or first.is_imagej or first.is_shaped or vendor or microscope
        series = self._series() if described else []
        if not series:
            return None
        pool = [at for at, each in enumerate(series) if not _ASIDE.fullmatch(each.name or "")] or [*range(len(series))]
        area = [_size(each, "Y") * _size(each, "X") for each in series]
        index = taken("series", choice.series, len(series), max(pool, key=lambda at: area[at]))
        chosen = series[index]
        bands = self._bands(chosen, choice)
        notes: tuple[str, ...] = ()
        if len(series) > 1 and choice.series is None:
            name = f"{chosen.name!r}, " if chosen.name else ""
            is_largest = area[index] == max(area) and min(area) < max(area)
            notes = (note("series", index, len(series), why=f"{name}the largest" if is_largest else name.rstrip(", ")),)
        notes += axis_notes({axis.lower(): size for axis, size in _outer(chosen) if axis != "C"}, choice)
        return Chosen(chosen.keyframe, bands, notes, self._rules(chosen.keyframe, bands, index), index)

    def _rules(self, page: Any, bands: tuple[tuple[Any, ...], ...], index: int) -> int:
        """By which rules the pages were read: release 0.1.0 had the first, or the channels of OME's first image."""
        only = bands[0][0]
        same = bool(only.offset) and tuple(only.dataoffsets) == tuple(self._first.dataoffsets)
        if len(bands) > 1:
            same = self._first.is_ome and index == 0 and page.samplesperpixel == 1
        return 1 if same else RULES

    def _series(self) -> list[Any]:
        """Return tifffile's series that are told by metadata and lie in this file; none where they cannot be had.

        Raises
        ------
        Refused
            Where metadata state more planes than the file can hold: tifffile makes lists of as many.
        """
        if self._stated_planes > min(_MOST_PLANES, self._directories.size):  # less than a byte for each
            raise Refused("damaged: the metadata of the TIFF state more planes than any file holds")
        if self._tiff.is_mmstack:
            return []
        try:
            series = list(self._tiff.series)
        except (OSError, MemoryError):
            raise
        except Exception:  # of any class: metadata are read by whoever made them
            series = []
        told = [each for each in series if each.kind not in _GENERIC and _size(each, "Y") and _size(each, "X")]
        if self._first.is_shaped and len(self._pages.chain) > 1:
            # Written by tifffile: an array whose axes nobody named is a number of pages.
            is_named = any(set("CZT") & {axis for axis, size in _outer(each) if size > 1} for each in told)
            return told if is_named else []
        return told

    def _bands(self, series: Any, choice: PictureChoice) -> tuple[tuple[Any, ...], ...]:
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
        directories = {each.offset: each for each in (*self._pages.chain, *self._pages.below)}
        return tuple(tuple(self._plane_of(series, number, directories) for number in band) for band in numbers)

    def _plane_of(self, series: Any, number: int, directories: dict[int, Page]) -> Any:
        """Return a plane of a series; Refused where it is not in the file, or not what the others are."""
        stated = _planes_of(series)
        if len(series) == 1 < stated and series[0] is not None and series.is_truncated:
            return _plane(series, number)
        if number >= len(series):
            raise Refused(f"truncated or damaged: the TIFF states {stated} planes but holds {len(series)}")
        page = series[number]
        if page is None:
            raise Refused(f"truncated or damaged: plane {number + 1} of the {stated} that the TIFF states is missing")
        if page.parent is not self._tiff:
            raise Refused(f"plane {number + 1} of the {stated} that the TIFF states is in another file")
        mine, other = directories.get(page.offset), directories.get(series.keyframe.offset)
        if mine is not other and (mine is None or other is None or mine.layout != other.layout):
            raise Refused("damaged: planes of one image of the TIFF are stored differently")
        return page


def _is_aside(page: Any) -> bool:
    return any(_ASIDE.fullmatch(str(page.tags.valueof(tag, ""))) for tag in (tags.DESCRIPTION, tags.PAGE_NAME))


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


def _plane(series: Any, number: int) -> TiffFrame:
    """Return a plane of a stack that has one directory: it follows the others without a gap."""
    page = series.keyframe
    start = page.dataoffsets[0] if page.dataoffsets else 0
    whole = page.compression == COMPRESSION.NONE and page.is_contiguous and not page.is_tiled
    if not whole or not start or page.dtype is None or page.bitspersample != page.dtype.itemsize * 8:
        raise NotSupported("a stack of one directory that is compressed or packed: save it with a page for each plane")
    if page.planarconfig != PLANARCONFIG.CONTIG and page.samplesperpixel > 1:
        raise NotSupported("a stack of one directory whose samples are apart: save it with a page for each plane")
    row = page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    start += number * page.imagelength * row
    if start + page.imagelength * row > page.parent.filehandle.size:
        raise Refused(f"truncated: plane {number + 1} of the TIFF reaches beyond the file's end")
    tops = range(0, page.imagelength, min(page.rowsperstrip or page.imagelength, page.imagelength))
    offsets = tuple(start + top * row for top in tops)
    sizes = tuple(min(tops.step, page.imagelength - top) * row for top in tops)
    return TiffFrame(page.parent, index=number, keyframe=page, dataoffsets=offsets, databytecounts=sizes)


def mask_page(tiff: Any, directories: Directories, page: Any) -> Any | None:
    """Return the ``TiffPage`` of a page's mask: the first of its size before the next picture, and no overview's."""
    is_first = page.offset == directories.first.offset
    following = (directories.first if is_first else directories.at(page.offset)).following
    seen = {page.offset}
    while following and following not in seen and len(seen) < _FARTHEST_MASK:
        seen.add(following)
        found = directories.page(following, len(seen) - 1)
        if found is None:
            return None
        if (
            found.is_mask
            and not found.is_reduced
            and (found.height, found.width) == (page.imagelength, page.imagewidth)
        ):
            found.check()
            tiff.filehandle.seek(found.offset)
            return TiffPage(tiff, index=len(seen))
        if not found.is_mask and not found.is_reduced:
            return None
        following = found.following
    return None
