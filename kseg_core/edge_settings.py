"""How edges are found. Light on purpose (standard library only), as `kseg_core.config` is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import UsageError
from .options import joined, option

EdgesOn = Literal["color", "gray"]

EDGES_ON: tuple[str, ...] = get_args(EdgesOn)
APERTURES = (3, 5, 7)
MAX_THRESHOLD = 1_000_000  # no gradient is larger; far above, OpenCV's whole numbers would overflow
MAX_BLUR = 50.0  # reaches 150 pixels: what is read around every window stays small beside it


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """How edges are found: the parameters of OpenCV's ``Canny``, and of a Gaussian blur before it.

    Parameters
    ----------
    low, high
        Thresholds of the gradient's magnitude, 0 to a million. Given the other way round they are exchanged, as OpenCV
        does. Without ``l2`` they are rounded down.
    blur
        0 (none) to 50.
    on
        ``color``: each pixel's channel (R, G, B order) of the largest gradient; ``gray``: the luma of Pillow's ``L``.
    """

    low: float = option(150.0, "Gradients above it are edges where they go on to a strong one.", "Edges", "T")
    high: float = option(200.0, "Gradients above it are strong.", "Edges", "T")
    aperture: int = option(3, "Side of the Sobel operator: 3, 5 or 7.", "Edges", "N")
    l2: bool = option(False, "Gradients by the root of squares, not by the sum of absolute values.", "Edges")
    blur: float = option(0.0, "Blur with a Gaussian of this standard deviation first; 0: not.", "Edges", "PX")
    on: EdgesOn = option("color", "Edges of the channel of largest gradient, or of luma.", "Edges", "color|gray")

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= MAX_THRESHOLD:
                raise UsageError(f"--{name} is a number from 0 to {MAX_THRESHOLD}; got {value!r}")
        low, high = sorted((float(self.low), float(self.high)))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if type(self.aperture) is not int or self.aperture not in APERTURES:
            raise UsageError(f"--aperture is 3, 5 or 7; got {self.aperture!r}")
        if not _is_number(self.blur) or not 0 <= self.blur <= MAX_BLUR:
            raise UsageError(f"--blur is a number of pixels from 0 to {MAX_BLUR:g}; got {self.blur!r}")
        object.__setattr__(self, "blur", float(self.blur))
        if self.on not in EDGES_ON:
            raise UsageError(f"--on is one of {', '.join(EDGES_ON)}; got {self.on!r}")

    @property
    def halo(self) -> int:
        """How many pixels around a pixel decide whether it is a maximum of the gradient.

        The blur's kernel has ``round(6 blur + 1) | 1`` pixels, the Sobel operator ``aperture``, and a maximum is larger
        than its neighbours.
        """
        kernel = round(self.blur * 6 + 1) | 1 if self.blur else 1
        return kernel // 2 + self.aperture // 2 + 1

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


def edge_thresholds(pair: object) -> tuple[float, float]:
    """The low and the high threshold of ``--edges``, in this order.

    Raises
    ------
    UsageError
        If they are not two such numbers.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(_is_number(value) for value in pair):
        told = ",".join(map(str, pair)) if isinstance(pair, tuple | list) else str(pair)
        raise UsageError(f"--edges takes two numbers, LOW,HIGH, as in 150,200; got {told!r}")
    settings = EdgeSettings(*pair)
    return settings.low, settings.high


def parse_thresholds(values: Sequence[str]) -> tuple[float, float]:
    """``150,200`` as numbers.

    Raises
    ------
    UsageError
        If they are not two.
    """
    try:
        low, high = (float(value) for value in joined(values).split(","))
    except ValueError:
        raise UsageError(f"--edges takes two numbers, LOW,HIGH, as in 150,200; got {joined(values)!r}") from None
    return low, high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
