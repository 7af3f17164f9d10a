"""Logarithm and exponential of float64 that are the same bits on every machine.

Those of NumPy and of C libraries differ in the last bit between processors and releases. These are made of operations
that IEEE 754 rounds in one way (+, -, *, /, and powers of two), in one order; they are right within two units in the
last place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: The natural logarithm of 2 in two parts (fdlibm): the first has 32 bits, so that a multiple of it is exact.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SQRT_HALF = 0.7071067811865476
#: 2/3, 2/5, ...: of log((1 + s) / (1 - s)) = 2 s + 2 s^3 / 3 + ...; |s| is below 0.172, so s^24 / 25 is beyond float64.
_LOG_TERMS = tuple(2.0 / odd for odd in range(3, 27, 2))
#: 1 / n! for n from 2: |x| is below 0.347, and x^15 / 15! beyond float64.
_FACTORIALS = (2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0, 39916800.0, 479001600.0,
               6227020800.0, 87178291200.0)  # fmt: skip
_MOST, _LEAST = 709.782712893384, -745.1332191019412  # beyond them exp is infinite, and 0


def log(x: F64) -> F64:
    """The natural logarithm: of 0 minus infinity, of less and of NaN NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mantissa, exponent = np.frexp(x)
        small = mantissa < _SQRT_HALF
        mantissa, power = np.where(small, mantissa * 2.0, mantissa), exponent - small.astype(np.float64)
        f = mantissa - 1.0
        s = f / (mantissa + 1.0)
        z = s * s
        series = np.zeros_like(z)
        for term in reversed(_LOG_TERMS):
            series = (series + term) * z
        # log(1 + f) = f - s * (f - series): the leading part is exact, so that little is lost near 1
        made = power * _LN2_HIGH + (f - (s * (f - series) - power * _LN2_LOW))
        return np.where((x > 0) & (x < np.inf), made, np.where(x == 0, -np.inf, np.where(x > 0, x, np.nan)))


def exp(x: F64) -> F64:
    """The exponential; infinite where float64 ends."""
    inside = np.clip(np.where(np.isnan(x), 0.0, x), _LEAST, _MOST)
    power = np.rint(inside * 1.4426950408889634)
    r = (inside - power * _LN2_HIGH) - power * _LN2_LOW
    series = np.zeros_like(r)
    for factorial in reversed(_FACTORIALS):
        series = (series + 1.0 / factorial) * r
    half = power // 2  # in two steps: 2^1024 is no float, and the least numbers are not normal
    made = np.ldexp(np.ldexp(1.0 + (r + series * r), half.astype(np.int32)), (power - half).astype(np.int32))
    return np.where(np.isnan(x), x, np.where(x > _MOST, np.inf, np.where(x < _LEAST, 0.0, made)))
