"""Files in a folder that are plainly not images, by their names: passed over and counted, never opened."""

from __future__ import annotations

_TEXT = "txt text md rst tex rtf csv tsv json jsonl geojson xml yaml yml toml ini cfg conf log html htm css"
_BESIDE_PHOTOS = "xmp aae pp3 dop cos lrcat"
_BESIDE_MAPS = "gpx kml prj shp shx dbf cpg qgs qgz gpkg qix sbn sbx"
_WORLD_FILES = "wld tfw jgw pgw bpw gfw wpw j2w jpw tifw tiffw jpgw jpegw pngw bmpw gifw webpw jp2w tfwx jgwx pgwx"
_COMPANIONS = "ovr msk aux rrd rpb imd enp"  # overviews, masks, statistics: of the image beside them
_DOCUMENTS = "pdf doc docx xls xlsx ppt pptx odt ods odp"
_PACKED = "zip tar gz tgz bz2 xz 7z rar zst md5 sha1 sha256 part crdownload"
_VIDEO_AND_SOUND = "mp4 m4v mov avi mkv webm wmv mpg mpeg mts m2ts 3gp mp3 m4a aac wav flac ogg"
_PROGRAMS = "py pyc pyi ipynb js sh bat ps1 c h cpp hpp rs go java exe dll so db sqlite pkl pt pth onnx lnk url"

NOT_IMAGE_SUFFIXES = frozenset(
    suffix
    for suffixes in (
        _TEXT,
        _BESIDE_PHOTOS,
        _BESIDE_MAPS,
        _WORLD_FILES,
        _COMPANIONS,
        _DOCUMENTS,
        _PACKED,
        _VIDEO_AND_SOUND,
        _PROGRAMS,
    )
    for suffix in suffixes.split()
)
"""Suffixes, in lower case and without the dot, of what is plainly not an image."""

NOT_IMAGE_NAMES = frozenset(["readme", "license", "licence", "copying", "makefile", "thumbs.db", "desktop.ini"])
"""Whole names, in lower case, of what is plainly not an image."""


def is_plainly_no_image(name: str) -> bool:
    """Whether a file's name alone says that it is no picture."""
    name = name.lower()
    _, dot, suffix = name.rpartition(".")
    return name in NOT_IMAGE_NAMES or (dot == "." and suffix in NOT_IMAGE_SUFFIXES)
