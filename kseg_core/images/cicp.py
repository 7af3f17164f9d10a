"""Colour spaces that a file names by numbers (ITU-T H.273) instead of by a profile, as ICC profiles."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

_D65, _C, _E, _DCI = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)

#: x and y of red, green, blue and white (H.273, table 2).
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), _E),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}  # table 3; video's other curves are shown as sRGB's, as viewers do
HDR = {16: "PQ", 18: "HLG"}
_WHEN = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # or no two profiles were the same


class Colour(NamedTuple):
    """A colour space: red, green, blue and white as (x, y), and the curve: a power, or None for that of sRGB."""

    primaries: tuple[tuple[float, float], ...]
    gamma: float | None = None


def space_of(primaries: int, transfer: int) -> Colour | None:
    """Return the colour space of two numbers of H.273; None where that is sRGB, or not known."""
    if primaries not in PRIMARIES or (primaries == 1 and transfer not in _GAMMAS):
        return None
    return Colour(PRIMARIES[primaries], _GAMMAS.get(transfer))


def hdr_note(transfer: int) -> tuple[str, ...]:
    """Return what is to be said of a picture of high dynamic range."""
    if transfer not in HDR:
        return ()
    return (f"high dynamic range ({HDR[transfer]}): its values are taken as they are stored, without tone mapping",)


@lru_cache(maxsize=16)
def profile_of(colour: Colour, *, gray: bool = False) -> bytes:
    """Return an ICC profile (version 4) of a colour space: a matrix and a curve, or of its grays the curve alone."""
    import imagecodecs  # LittleCMS, which adapts the white to D50

    kind, tags = ("gray", (b"kTRC",)) if gray else ("rgb", (b"rTRC", b"gTRC", b"bTRC"))
    corners = {} if gray else {"primaries": [value for x, y in colour.primaries[:3] for value in (x, y, 1.0)]}
    white = {} if gray else {"whitepoint": [*colour.primaries[3], 1.0]}
    made = bytearray(imagecodecs.cms_profile(kind, gamma=colour.gamma or 1.0, **corners, **white))
    made[24:36] = _WHEN
    if colour.gamma is None:  # LittleCMS has curves by formula, its binding tables, whose last bits differ
        curve = struct.pack(">4sIHH5i", b"para", 0, 3, 0, *(round(value * 65536) for value in _SRGB_CURVE))
        for tag in tags:
            entry = made.index(tag)
            made[entry + 4 : entry + 12] = struct.pack(">II", len(made), len(curve))
        made[:4] = struct.pack(">I", len(made) + len(curve))
        made += curve
    return bytes(made)
