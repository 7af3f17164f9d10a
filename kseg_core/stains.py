"""Stains of histology: vectors of optical density, named sets of them, and the way back from colours.

A pixel's optical density is a sum of stains, each a vector (red, green, blue) times how much of it there is (Ruifrok &
Johnston 2001). The sets are scikit-image's, most after G. Landini; of two stains what is left is along their cross
product. Standard library only: settings are checked without NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .errors import UsageError

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

HED: Final = "hed"
_HEMATOXYLIN, _DAB = (0.650, 0.704, 0.286), (0.268, 0.570, 0.776)
#: By scikit-image's names: what each stain is called, and its vector.
NAMED: dict[str, dict[str, Vector]] = {
    HED: {"hematoxylin": (0.65, 0.70, 0.29), "eosin": (0.07, 0.99, 0.11), "dab": (0.27, 0.57, 0.78)},
    "hdx": {"hematoxylin": _HEMATOXYLIN, "dab": _DAB},
    "fgx": {"feulgen": (0.46420921, 0.83008335, 0.30827187), "light_green": (0.94705542, 0.25373821, 0.19650764)},
    "bex": {"methyl_blue": (0.834750233, 0.513556283, 0.196330403), "eosin": (0.092789, 0.954111, 0.283111)},
    "rbd": {
        "fast_red": (0.21393921, 0.85112669, 0.47794022),
        "fast_blue": (0.74890292, 0.60624161, 0.26731082),
        "dab": _DAB,
    },
    "gdx": {"methyl_green": (0.98003, 0.144316, 0.133146), "dab": _DAB},
    "hax": {"hematoxylin": _HEMATOXYLIN, "aec": (0.2743, 0.6796, 0.6803)},
    "bro": {
        "aniline_blue": (0.853033, 0.508733, 0.112656),
        "azocarmine": (0.09289875, 0.8662008, 0.49098468),
        "orange_g": (0.10732849, 0.36765403, 0.9237484),
    },
    "bpx": {"methyl_blue": (0.7995107, 0.5913521, 0.10528667), "ponceau_fuchsin": (0.09997159, 0.73738605, 0.6680326)},
    "ahx": {"alcian_blue": (0.874622, 0.457711, 0.158256), "hematoxylin": (0.552556, 0.7544, 0.353744)},
    "hpx": {"hematoxylin": (0.644211, 0.716556, 0.266844), "pas": (0.175411, 0.972178, 0.154589)},
}
RESIDUAL = "residual"
TAKES = (
    f"--stains takes one of {', '.join(NAMED)}, or two or three vectors of optical density (red,green,blue), as in "
    "'0.65,0.70,0.29;0.07,0.99,0.11'"
)
#: Of the volume that stains of length one span, from 0 (in one plane) to 1 (at right angles): below, a trace of noise
#: is more than the stain. Of two it is the sine of the angle between them; the closest of the named have 0.24.
_LEAST_VOLUME = 0.05
_LONGEST = 100.0


@dataclass(frozen=True, slots=True)
class Stains:
    """Three stains, the third what is left where two are given.

    Attributes
    ----------
    names
        What they are called.
    vectors
        Optical density of each in red, green and blue; a row each.
    """

    names: tuple[str, str, str]
    vectors: Matrix

    def unmixing(self) -> Matrix:
        """The inverse: from optical density (a row) to stains. By cofactors, so the same bits on every machine."""
        a, b, c = self.vectors
        columns = (_cross(b, c), _cross(c, a), _cross(a, b))
        volume = _dot(a, columns[0])
        rows = [tuple(column[row] / volume for column in columns) for row in range(3)]
        return (rows[0], rows[1], rows[2])  # type: ignore[return-value]  # three each


def canonical(text: str) -> str:
    """Return stains as they are told: a name in lower case, or the vectors without blanks.

    Raises
    ------
    UsageError
        If it is neither.
    """
    name = text.strip().lower()
    if name in NAMED:
        return name
    vectors = _vectors(text)
    _checked(vectors, text)
    return ";".join(",".join(repr(value) for value in vector) for vector in vectors)


def stains_of(text: str) -> Stains:
    """Return the stains that a text names or gives; errors are those of `canonical`."""
    text = canonical(text)
    named = NAMED.get(text)
    given = list(named.values()) if named is not None else _vectors(text)
    names = [*(named or (f"stain_{number}" for number in range(1, len(given) + 1)))]
    if len(given) == 2:
        given, names = [*given, _cross(given[0], given[1])], [*names, RESIDUAL]
    return Stains((names[0], names[1], names[2]), (given[0], given[1], given[2]))


def _vectors(text: str) -> list[Vector]:
    try:
        rows = [[float(value) for value in part.split(",")] for part in text.strip(" ;").split(";")]
    except ValueError:
        raise UsageError(f"{TAKES}; got {text!r}") from None
    if len(rows) not in (2, 3) or any(len(row) != 3 for row in rows):
        raise UsageError(f"{TAKES}; got {text!r}")
    return [(row[0], row[1], row[2]) for row in rows]


def _checked(vectors: Sequence[Vector], text: str) -> None:
    lengths = [math.hypot(*vector) for vector in vectors]
    if not all(1 / _LONGEST <= length <= _LONGEST for length in lengths):
        raise UsageError(f"--stains has a vector of no sensible length (about 1 is usual); got {text!r}")
    units = [
        (vector[0] / length, vector[1] / length, vector[2] / length)
        for vector, length in zip(vectors, lengths, strict=True)
    ]
    normal = _cross(units[0], units[1])
    volume = math.hypot(*normal) if len(units) == 2 else abs(_dot(normal, units[2]))
    if volume < _LEAST_VOLUME:
        raise UsageError(f"--stains has vectors too much alike to be told apart: leave one out; got {text!r}")


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
