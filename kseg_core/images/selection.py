"""Which bands of a file are clustered, and what is worked out of them: numbers, names and expressions become samples.

Names are those of each file, so a band is the right one in whatever order a file has it. Expressions are worked out
pixel by pixel in float64, each operation as IEEE 754 rounds it and logarithms by `kseg_core.elementary`, then rounded
once to the type of `derived_dtype`: the same bits whatever is read at once, and on every machine. What is no finite
number, a division by zero above all, is no pixel that counts.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kseg_core import elementary
from kseg_core.expressions import (
    Band,
    Bands,
    Derived,
    Loose,
    Reference,
    band_of,
    called,
    parsed,
    power_of,
    references,
    settled,
)
from kseg_core.images.raster import PictureInfo, Pixels, Refused
from kseg_core.images.validity import Nodata, combine

F64 = NDArray[np.float64]
Values: TypeAlias = Mapping[Reference, F64]

_BLOCK_PX = 1 << 14  # worked on at once: a dozen intermediate results of them stay in the second-level cache
_SHOWN = 12  # names in a message

_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": lambda x: elementary.log(np.asarray(x, np.float64)),
    "exp": lambda x: elementary.exp(np.asarray(x, np.float64)),
    "min": lambda *each: reduce(np.minimum, each),
    "max": lambda *each: reduce(np.maximum, each),
}


def derived_dtype(dtype: str) -> str:
    """Return the type of samples where bands of ``dtype`` are among derived ones: float32 where that holds them."""
    return np.promote_types(dtype, np.float32).name


def taken_dtype(bands: Bands | None, dtype: str) -> str:
    """Return the type of the samples of ``bands`` of a file of ``dtype``."""
    return derived_dtype(dtype) if any(isinstance(band, Derived) for band in bands or ()) else dtype


def number_of(band: Reference, info: PictureInfo) -> int:
    """Return which band of a file is meant, from 1.

    Raises
    ------
    Refused
        Where there is none of that name, or there are several, naming those that are there.
    """
    if isinstance(band, int):
        return band
    name = band.name if isinstance(band, Loose) else band
    wanted = name.strip().casefold()
    found = [number for number, own in enumerate(info.band_names, start=1) if own.casefold() == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(f"its bands {', '.join(map(str, found))} are all called {name!r}: give the number of one")
    if isinstance(band, Loose):
        return band.number
    raise Refused(f"it has no band {name!r}; {_names_of(info)}")


def names_of(bands: Bands, info: PictureInfo) -> tuple[str, ...]:
    """Return what a file calls these bands, empty where it says nothing of one; none where it says nothing of any."""
    own = dict(enumerate(info.band_names, start=1))
    names = tuple(own.get(band, "") if isinstance(band, int) else str(called(band)) for band in bands)
    return names if any(names) else ()


def _names_of(info: PictureInfo) -> str:
    names = [own or f"b{number}" for number, own in enumerate(info.band_names, start=1)]
    if not names:
        last = "" if info.bands == 1 else f" to b{info.bands}"
        return f"its bands have no names: they are b1{last}"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"its bands are {', '.join(names[:_SHOWN])}{more}"


def settle(bands: Bands, info: PictureInfo) -> Bands:
    """Return the same bands, each named in one way only, as a file has them: for a model, which is of many files.

    Raises
    ------
    Refused
        Where the file lacks one.
    """

    def one_way(band: Reference) -> Reference:
        number = number_of(band, info)
        if isinstance(band, int):
            return band
        by_name = isinstance(band, str) or (
            info.band_names and info.band_names[number - 1].casefold() == band.name.casefold()
        )
        return info.band_names[number - 1] if by_name else number

    return tuple(settled(band, one_way) if isinstance(band, Derived) else one_way(band) for band in bands)


@dataclass(frozen=True, slots=True)
class Selection:
    """The bands of one file that are clustered.

    Parameters
    ----------
    bands
        In the order wanted; none: all but alpha.
    numbers
        Of the bands of the file that are read for them, from 1.
    meant
        Which number each way to name a band stands for.
    """

    bands: Bands
    numbers: tuple[int, ...]
    meant: Mapping[Reference, int]

    @classmethod
    def of(cls, bands: Bands, info: PictureInfo) -> Selection:
        """Of a file; errors are those of `number_of`."""
        meant = {each: number_of(each, info) for band in bands for each in _needs(band)}
        numbers = tuple(meant[each] for band in bands for each in _needs(band))
        selection = cls(bands, numbers, meant)
        if selection.is_derived:
            return replace(selection, numbers=tuple(dict.fromkeys(numbers)))
        if len(set(numbers)) < len(numbers):
            twice = [
                str(called(band)) for band, number in zip(bands, numbers, strict=True) if numbers.count(number) > 1
            ]
            raise Refused(f"{' and '.join(twice)} are one band of it; give each once")
        return selection

    @property
    def is_derived(self) -> bool:
        """Whether any band is worked out from others."""
        return any(isinstance(band, Derived) for band in self.bands)

    def nodata(self, nodata: Nodata | None) -> Nodata | None:
        """What stands for no data: where bands are derived, in any band that is read."""
        if not self.is_derived or nodata is None or nodata.within != "all":
            return nodata
        return replace(nodata, within="any")

    def of_samples(self, samples: NDArray[Any]) -> NDArray[Any]:
        """The bands (y, x, d) of samples of `numbers` (y, x, c)."""
        if not self.is_derived:
            return samples
        height, width = samples.shape[:2]
        flat = samples.reshape(-1, samples.shape[2])
        made = np.empty((len(flat), len(self.bands)), derived_dtype(samples.dtype.name))
        at = {each: self.numbers.index(number) for each, number in self.meant.items()}
        trees = [parsed(band.text) if isinstance(band, Derived) else None for band in self.bands]
        for start in range(0, len(flat), _BLOCK_PX):
            block = flat[start : start + _BLOCK_PX]
            columns = [block[:, column].astype(np.float64) for column in range(flat.shape[1])]
            values = {each: columns[column] for each, column in at.items()}
            with np.errstate(all="ignore"):
                for band, (wanted, tree) in enumerate(zip(self.bands, trees, strict=True)):
                    found = values[wanted] if tree is None else _worked_out(tree, values)  # type: ignore[index]
                    made[start : start + _BLOCK_PX, band] = found + 0.0  # there is one zero
        return made.reshape(height, width, len(self.bands))

    def of_pixels(self, pixels: Pixels) -> Pixels:
        """The same of pixels: those of which a band is no finite number do not count."""
        if not self.is_derived:
            return pixels
        samples = self.of_samples(pixels.samples)
        finite = np.isfinite(samples).all(axis=2)
        valid = pixels.valid if finite.all() else combine(finite, pixels.valid)
        original = None if pixels.original is None else self.of_samples(pixels.original)
        return pixels._replace(samples=samples, valid=valid, original=original)


def _needs(band: Band) -> Sequence[Reference]:
    return references(parsed(band.text)) if isinstance(band, Derived) else (band,)


def _worked_out(node: ast.expr, values: Values) -> Any:
    """The value of a node that `parsed` let through: float64 (n,), or a number."""
    band = band_of(node)
    if band is not None:
        return values[band]
    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]  # a number, as `parsed` made sure
    if isinstance(node, ast.UnaryOp):
        value = _worked_out(node.operand, values)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left = _worked_out(node.left, values)
        if isinstance(node.op, ast.Pow):
            power = power_of(node.right)
            assert power is not None
            return _power(left, power)
        return _OPERATORS[type(node.op)](left, _worked_out(node.right, values))
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    return _FUNCTIONS[node.func.id](*(_worked_out(each, values) for each in node.args))


def _power(value: Any, power: int) -> Any:
    """By squares, from the lowest bit: NumPy's own power differs between machines."""
    product, square, left = np.float64(1.0), value, abs(power)
    while left:
        if left & 1:
            product = product * square
        square, left = square * square, left >> 1
    return 1.0 / product if power < 0 else product
