"""The one way kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.np import linalg

from ._cache import cache_of

F = TypeVar("F", bound=Callable[..., Any])


def _without_blas() -> None:
    """Load Numba's array functions without the look for a BLAS that loading them begins with.

    That look imports SciPy's linear algebra and with it half of NumPy's test tools, a quarter of a second at every
    start. No kernel multiplies matrices, and whose does is looked at again by Numba when it is compiled.
    """
    look = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        linalg.ensure_blas = look


_without_blas()


def kernel(function: F) -> F:
    """Compile on first use, keep the machine code on disk, let other threads run meanwhile."""
    return _kept(numba.njit(nogil=True, fastmath=False)(function), function)


def inlined(function: F) -> F:
    """A helper of kernels: compiled into its callers."""
    return _kept(numba.njit(nogil=True, fastmath=False, inline="never")(function), function)


def _kept(compiled: Any, function: F) -> F:
    """Numba's compiled function with our way of keeping it; the function itself where Numba is told to do nothing."""
    if compiled is not function:
        compiled._cache = cache_of(function)  # as Numba's own ``cache=True`` sets it
    return compiled  # type: ignore[no-any-return]
