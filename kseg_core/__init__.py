"""Pixels, features, K-means, images and the store's layout. Knows neither Dask nor terminals.

``Model`` and ``open_store`` are what most users need; the rest is imported from its module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .store.model import Model
    from .store.opening import open_store

__all__ = ["Model", "open_store"]


def __getattr__(name: str) -> Any:
    """Load on first use: ``import kseg_core`` alone must cost nothing."""
    if name == "Model":
        from .store.model import Model

        return Model
    if name == "open_store":
        from .store.opening import open_store

        return open_store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
