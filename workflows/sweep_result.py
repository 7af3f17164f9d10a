"""What a sweep came to: plain values, the same for the terminal, for ``--json`` and for ``sweep.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kseg_core.config import FitSettings
from kseg_core.errors import UnreadableImage, facts_of
from kseg_core.inputs.keys import printable_source
from kseg_core.sweep.table import Table

from .planning.notes import Note


@dataclass(frozen=True, slots=True)
class Swept:
    """The sweep of all images together, or of one.

    Parameters
    ----------
    pixels, valid
        Of these images.
    table
        None where not one pixel is valid.
    key, source
        Of the image, where it is one.
    """

    pixels: int
    valid: int
    table: Table | None
    key: str = ""
    source: str = ""

    def to_json(self, *, palette: bool = False) -> dict[str, Any]:
        """The table and the choice, as JSON values."""
        table = self.table
        return {
            "k": None if table is None else table.choice.k,
            "why": "no valid pixel" if table is None else table.choice.why,
            "knee": None if table is None else table.choice.knee,
            "pixels": {"total": self.pixels, "valid": self.valid},
            "sweep": None if table is None else [row.to_json(palette=palette) for row in table.rows],
        }


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep came to.

    Parameters
    ----------
    output
        The folder that was written.
    settings
        Of the fits.
    total
        How many inputs there were.
    together
        The sweep of all images; None where each has its own.
    each
        The images' own sweeps, by key.
    failures
        What could not be read.
    seconds
        ``total``, ``read`` (with ``--scope image`` all of it), ``sweep``.
    space
        What the centroids are in; as a model's attributes have it.
    notes
        What there is to say of inputs that were read, and of all of them.
    """

    output: str
    settings: FitSettings
    total: int
    together: Swept | None
    each: tuple[Swept, ...]
    failures: tuple[UnreadableImage, ...]
    seconds: dict[str, float | None]
    space: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def to_json(self, *, palette: bool = False) -> dict[str, Any]:
        """The object ``--json`` prints; with the clusters for every k what ``sweep.json`` holds."""
        failed = len(self.failures)
        whole = self.together or Swept(sum(s.pixels for s in self.each), sum(s.valid for s in self.each), None)
        told = whole.to_json(palette=palette)
        own = [{"key": swept.key, "source": swept.source, **swept.to_json(palette=palette)} for swept in self.each]
        return {
            "status": "partial" if failed else "ok",
            "output": printable_source(self.output),
            "k": told["k"],
            "k_range": list(self.settings.tried),
            "why": told["why"] if self.together is not None else None,
            "knee": told["knee"],
            "features": self.settings.features,
            "features_why": self.settings.features_why,
            "scope": self.settings.scope,
            "images": {"total": self.total, "swept": self.total - failed, "failed": failed},
            "pixels": told["pixels"],
            "sweep": told["sweep"],
            "each": None if self.together is not None else own,
            "failures": [facts_of(error) for error in self.failures],
            "notes": [note.to_json() for note in self.notes],
            "seconds": self.seconds,
        }
