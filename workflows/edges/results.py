"""What finding edges came to: plain values, the same for the terminal, for ``--json`` and for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import NothingReadable, UnreadableImage, facts_of
from kseg_core.inputs.keys import printable_source

from ..planning.notes import Note
from .request import EdgesMade, EdgesRequest


@dataclass(frozen=True, slots=True)
class EdgesResult:
    """The result of ``edges``.

    Parameters
    ----------
    output
        The store.
    settings
        How edges were found.
    total
        Inputs.
    done, reused
        What was made now, and what was there.
    failures
        Every input without edges.
    seconds
        It took.
    notes
        What there is to say of the inputs that were looked at.
    """

    output: str
    settings: EdgeSettings
    total: int
    done: EdgesMade
    reused: EdgesMade
    failures: tuple[UnreadableImage, ...]
    seconds: float
    notes: tuple[Note, ...] = ()

    @property
    def status(self) -> str:
        """``ok``, or ``partial`` (some inputs have no edges)."""
        return "partial" if self.failures else "ok"

    def to_json(self) -> dict[str, Any]:
        """The object ``--json`` prints."""
        return {
            "status": self.status,
            "output": printable_source(self.output),
            "images": {
                "total": self.total,
                "done": self.done.images,
                "reused": self.reused.images,
                "failed": len(self.failures),
            },
            "pixels": {"total": self.done.pixels + self.reused.pixels},
            "edge_pixels": self.done.edge_pixels + self.reused.edge_pixels,
            "settings": self.settings.to_json(),
            "failures": [facts_of(error) for error in self.failures],
            "notes": [note.to_json() for note in self.notes],
            "seconds": {"total": round(self.seconds, 3)},
        }


def nothing_done(request: EdgesRequest) -> EdgesResult:
    """The result of a request with nothing to do: everything that can be made is there."""
    total = len(request.listing.files) + len(request.listing.failures)
    failures = tuple(sorted(request.failures, key=lambda error: (error.source, error.reason)))
    return EdgesResult(request.output, request.config.edges, total, EdgesMade(), request.reused, failures, 0.0)


def failed_edges(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a job that failed: the same keys, and ``error``."""
    unread: tuple[UnreadableImage, ...] = ()
    if isinstance(error, NothingReadable):
        unread = error.failures
    elif isinstance(error, UnreadableImage):
        unread = (error,)
    return {
        "status": "failed",
        "output": None,
        "images": {"total": len(unread), "done": 0, "reused": 0, "failed": len(unread)},
        "pixels": {"total": 0},
        "edge_pixels": 0,
        "settings": None,
        "failures": [facts_of(error) for error in unread],
        "notes": [],
        "seconds": {"total": None},
        "error": str(error),
    }
