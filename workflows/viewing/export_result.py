"""What came of an export."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from kseg_core.errors import UnreadableImage
from kseg_core.export.files import ExportFile
from kseg_core.inputs.keys import printable_source


@dataclass(frozen=True, slots=True)
class Failed:
    """An image of which not everything could be made."""

    key: str
    what: tuple[str, ...]
    error: UnreadableImage


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of it.

    Parameters
    ----------
    folder
        Where the files are.
    images
        How many were asked for.
    files
        Made, in the order of images.
    kept
        How many were there already and were left alone.
    failures
        In the order of images.
    """

    folder: str
    images: int
    files: tuple[ExportFile, ...]
    kept: int
    failures: tuple[Failed, ...]

    @property
    def failed(self) -> int:
        """Images of which not everything could be made."""
        return len({failure.key for failure in self.failures})

    @property
    def status(self) -> str:
        """``ok``, ``partial``, or ``failed`` where nothing was made."""
        return "ok" if not self.failures else "partial" if self.files or self.kept else "failed"

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "status": self.status,
            "output": self.folder,
            "images": {"total": self.images, "done": self.images - self.failed, "failed": self.failed},
            "files": [
                {
                    "image": file.key,
                    "source": printable_source(file.source),
                    "what": file.what,
                    "clusters": None if file.clusters is None else list(file.clusters),
                    "path": os.path.join(self.folder, file.name),
                }
                for file in self.files
            ],
            "kept": self.kept,
            "failures": [
                {
                    "image": failure.key,
                    "what": list(failure.what),
                    "source": failure.error.source,
                    "reason": failure.error.reason,
                }
                for failure in self.failures
            ],
        }
