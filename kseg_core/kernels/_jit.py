"""The one way kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile on first use, keep the machine code on disk, let other threads run meanwhile."""
    return numba.njit(cache=True, nogil=True, fastmath=False)(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """A helper of kernels: compiled into its callers."""
    return numba.njit(cache=True, nogil=True, fastmath=False, inline="never")(function)  # type: ignore[no-any-return]
