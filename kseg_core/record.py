"""What a store says of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What a store says of one image.

    Parameters
    ----------
    key, source
        Its name in the store and the path it came from.
    size, modified
        Bytes and modification time (ns) of the file.
    shape
        (height, width).
    counts, invalid
        Pixels of each cluster, and invalid ones.
    inertia
        In squared feature units.
    """

    key: str
    source: str
    size: int
    modified: int
    shape: tuple[int, int]
    counts: tuple[int, ...]
    invalid: int
    inertia: float

    def attributes(self) -> dict[str, Any]:
        """As JSON values."""
        valid = sum(self.counts)
        return {
            "source": self.source,
            "size": self.size,
            "modified": self.modified,
            "shape": list(self.shape),
            "counts": list(self.counts),
            "invalid": self.invalid,
            "inertia": self.inertia,
            "mse": self.inertia / valid if valid else None,
            "status": "complete",
        }
