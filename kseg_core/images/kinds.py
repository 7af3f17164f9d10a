"""What kind an image is: a picture of 8-bit colours, or so many bands of a type. Told by its header alone.

Images that are clustered together are of one kind. Pictures of every sort (gray, colours, palettes, CMYK, with or
without alpha) are one kind, as they all become 8-bit sRGB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kseg_core.expressions import Bands, called
from kseg_core.images.raster import PictureInfo, Refused
from kseg_core.images.selection import Selection

_INKS = 4
_RGB_AND_MORE = 4  # RGB with a fourth band that is alpha, or that nothing is said of


class Kind(NamedTuple):
    """What images that are clustered together have in common.

    Attributes
    ----------
    dtype
        Of the bands; empty for pictures.
    bands
        How many; 0 for pictures, and where it makes no difference as the bands to cluster are chosen.
    """

    dtype: str = ""
    bands: int = 0

    @property
    def features(self) -> str:
        """The feature space that suits it."""
        return "bands" if self.dtype else "rgb"

    @property
    def name(self) -> str:
        """As ``--kind`` takes it: ``rgb``, ``uint16``, ``uint16x4``."""
        return f"{self.dtype}x{self.bands}" if self.bands > 1 else self.dtype or "rgb"

    @property
    def text(self) -> str:
        """For a person."""
        return f"{self.bands} bands of {self.dtype}" if self.bands > 1 else self.dtype or "8-bit pictures"

    @property
    def why(self) -> str:
        """Why its feature space was taken, in a word or two."""
        return f"{self.bands} of {self.dtype}" if self.bands > 1 else self.dtype or "8-bit"


PICTURE = Kind()


def is_picture(info: PictureInfo) -> bool:
    """Say whether an image is a picture of 8-bit colours: deeper samples, two or five bands, and stacks are not."""
    if info.separate:
        return False
    if info.colours == "palette":
        return True
    if info.colours == "cmyk":
        return info.dtype == "uint8" and info.bands - info.alpha == _INKS
    return info.dtype == "uint8" and (info.bands - info.alpha in (1, 3) or info.bands == _RGB_AND_MORE)


def kind_of_bands(info: PictureInfo, chosen: Bands = ()) -> Kind:
    """Return the kind of an image whose bands are clustered: all but alpha, or those ``chosen``."""
    return Kind(info.dtype, 0 if chosen else info.bands - info.alpha)


def kind_of(info: PictureInfo) -> Kind:
    """Return the kind of an image, by itself."""
    return PICTURE if is_picture(info) else kind_of_bands(info)


def most_frequent(kinds: Iterable[Kind]) -> Kind:
    """Return the kind of most images; of as many of each, pictures, and else the one that comes first."""
    counted = Counter(kinds)
    most = max(counted.values())
    first = next(kind for kind, count in counted.items() if count == most)
    return PICTURE if counted[PICTURE] == most else first


def remarks_of_colours(info: PictureInfo, *, asked_for: bool) -> tuple[str, ...]:
    """What is left out of an image that is brought to 8-bit colours; of its depth only where nobody asked for that."""
    remarks = []
    count = info.bands - info.alpha
    used = 1 if info.colours == "palette" or count < 3 else 4 if info.colours == "cmyk" else 3
    if count > used:
        left = f"band {count} is" if count == used + 1 else f"bands {used + 1} to {count} are"
        remarks.append(f"{left} left out of the colours; --features bands takes all {count}")
    elif info.alpha and info.format == "TIFF":  # where a band that is no transparency may be called alpha
        remarks.append(f"band {_alpha_of(info)} is alpha, by the file's own word: pixels where it is 0 do not count")
    if not asked_for and info.dtype != "uint8":
        remarks.append(f"{info.dtype} brought to 8 bits, as the model is of colours")
    return tuple(remarks)


def remarks_of_bands(info: PictureInfo, chosen: Bands, *, asked_for: bool) -> tuple[str, ...]:
    """The same of an image whose bands are clustered: all but alpha, or those ``chosen``.

    Nothing is said of bands that were ``asked_for``, rather than those of a model that is given.
    """
    if chosen and asked_for:
        return ()
    remarks = []
    try:
        read = Selection.of(chosen, info).numbers
    except Refused:  # which is said where it is read
        return ()
    if info.alpha and _alpha_of(info) not in read:
        every = ",".join(map(str, range(1, info.bands + 1)))
        takes = f"; --bands {every} takes it too" if asked_for and info.block is not None else ""
        remarks.append(
            f"band {_alpha_of(info)} is alpha and no band to cluster: pixels where it is 0 do not count{takes}"
        )
    left = [str(band + 1) for band in info.but_alpha if chosen and band + 1 not in read]
    if left:
        bands = f"band {left[0]} is" if len(left) == 1 else f"bands {', '.join(left)} are"
        of_model = f"band{'s' * (len(chosen) > 1)} {','.join(str(called(band)) for band in chosen)}"
        remarks.append(f"{bands} left out: the model is of {of_model}")
    return tuple(remarks)


def numbered_bands(names: Sequence[str]) -> str:
    """What the bands of stacks are called, by their numbers: ``1 B02, 2 B03``."""
    return ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))


def _alpha_of(info: PictureInfo) -> int:
    """Which band is alpha, from 1."""
    return info.bands if info.alpha_at is None else info.alpha_at + 1
