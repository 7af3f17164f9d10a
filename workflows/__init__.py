"""Dask: which chunk runs where, and how the partial results merge. Holds no arithmetic on pixels.

``segment`` is the way in from Python; `workflows.run` holds the jobs behind the commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .segmentation import Segmentation, segment

__all__ = ["Segmentation", "segment"]

#: Another package on PyPI also installs a top-level ``workflows``; the command line looks for this before anything
#: else.
BELONGS_TO = "kseg-batch"


def __getattr__(name: str) -> Any:
    """Load on first use: ``import workflows`` alone must cost nothing."""
    if name in __all__:
        from . import segmentation

        return getattr(segmentation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
