"""Colour spaces that a file names by numbers (ITU-T H.273) instead of by a profile, as ICC profiles."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


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


def gray_profile_of(colour: Colour) -> bytes:
    """Return an ICC profile of grays with the curve of a colour space."""
    return _assembled({**_said(), b"wtpt": _xyz(_D50), b"kTRC": _curve(colour)}, b"GRAY")


@lru_cache(maxsize=16)
def profile_of(colour: Colour) -> bytes:
    """Return an ICC profile (version 4, a matrix and a curve) of a colour space."""
    matrix = _adapted(colour.primaries)
    tags = {**_said(), b"wtpt": _xyz(_D50)}
    tags |= {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(colour))
    return _assembled(tags, b"RGB ")


def _said() -> dict[bytes, bytes]:
    """Return what a profile has to say of itself."""
    text = "by its primaries".encode("utf-16-be")
    said = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    return {b"desc": said, b"cprt": said}


def _curve(colour: Colour) -> bytes:
    curve = (colour.gamma,) if colour.gamma is not None else _SRGB_CURVE
    return b"para" + bytes(4) + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + b"".join(map(_fixed, curve))


def _adapted(primaries: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Return the matrix from linear RGB to XYZ, adapted to D50 (Bradford)."""
    columns = np.array([[x, y, 1 - x - y] for x, y in primaries[:3]]).T
    x, y = primaries[3]
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    matrix = columns * np.linalg.solve(columns, white)
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ matrix
    return adapted


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(float(value)) for value in values)


def _assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    """Return a profile of these tags."""
    at = 128 + 4 + 12 * len(tags)
    table, body = [struct.pack(">I", len(tags))], []
    for name, data in tags.items():
        table.append(struct.pack(">4sII", name, at, len(data)))
        body.append(data + bytes(-len(data) % 4))
        at += len(body[-1])
    head = struct.pack(">I4sI4s4s4s", at, bytes(4), 0x04200000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(_fixed(float(v)) for v in _D50)
    return (head + bytes(128 - len(head))) + b"".join(table) + b"".join(body)
