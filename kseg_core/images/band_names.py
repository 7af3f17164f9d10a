"""What files call their bands: GDAL's descriptions, channels of OME, attributes and coordinates of Zarr, colours.

Everywhere a tuple with a name for each band as stored, alpha among them; empty where the file says nothing of one; of a
file that says nothing at all the empty tuple.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from kseg_core.images.raster import PictureInfo

#: Of a name that a person reads and types; what is longer is no name.
MOST_CHARACTERS = 64
#: What GDAL calls bands by their colours that is a name for them.
_COLOURS = ("red", "green", "blue", "rededge", "nir", "swir", "pan", "coastal", "cyan", "magenta", "yellow", "black")
#: Attributes of a Zarr array that name its channels: the last is GDAL's and rioxarray's.
_ATTRIBUTES = ("band_names", "channel_names", "bands", "channels", "long_name")


def cleaned(stated: Sequence[object], count: int) -> tuple[str, ...]:
    """Return names for ``count`` bands of what a file states, which may be anything; none where it states others."""
    if len(stated) != count:
        return ()
    names = tuple(_cleaned(name) for name in stated)
    return names if any(names) else ()


def of_samples(descriptions: Mapping[int, str], roles: Mapping[int, str], count: int) -> tuple[str, ...]:
    """Return names by GDAL's description of each band, from 0, else by its colour."""
    return cleaned([descriptions.get(band) or colour_name(roles.get(band, "")) for band in range(count)], count)


def roles_of(roles: Mapping[int, str], count: int) -> tuple[str, ...]:
    """Return which of GDAL's colours each band is, empty where it is none; none where no band is one."""
    return cleaned([colour_name(roles.get(band, "")) for band in range(count)], count)


def colour_name(role: str) -> str:
    """Return the name of a band of a colour as GDAL calls it; empty where it says no more than how it is shown."""
    return role if role in _COLOURS else ""


def of_colours(info: PictureInfo) -> tuple[str, ...]:
    """Return ``red, green, blue`` of a picture that has such bands."""
    bands = info.but_alpha
    if info.colours is not None or len(bands) != 3:
        return ()
    names = dict(zip(bands, ("red", "green", "blue"), strict=True))
    return tuple(names.get(band, "alpha") for band in range(info.bands))


def of_ome(xml: str, image: int, count: int) -> tuple[str, ...]:
    """Return the names of an image's channels in OME's metadata; a channel may have several samples."""
    try:
        images = [each for each in ElementTree.fromstring(xml).iter() if _local(each) == "Image"]
        channels = [each.attrib for each in images[image].iter() if _local(each) == "Channel"]
        stated = [each.get("Name", "") for each in channels for _ in range(int(each.get("SamplesPerPixel", "1")) == 1)]
    except (ElementTree.ParseError, IndexError, ValueError):
        return ()
    return cleaned(stated, count)


def of_omero(attributes: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Return the labels of the channels in the attributes of an OME-Zarr image."""
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return ()
    return cleaned([each.get("label") if isinstance(each, dict) else None for each in channels], count)


def of_attributes(attributes: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Return what the attributes of a Zarr array call its channels."""
    for key in _ATTRIBUTES:
        stated = attributes.get(key)
        names = cleaned(stated, count) if isinstance(stated, list) else ()
        if names:
            return names
    return ()


def _cleaned(name: object) -> str:
    if not isinstance(name, str):
        return ""
    text = " ".join(name.split())
    return text if text.isprintable() and len(text) <= MOST_CHARACTERS else ""


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
