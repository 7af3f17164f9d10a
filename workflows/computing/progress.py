"""How a workflow tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Listens to a job."""

    def stage(self, name: str, images: int, pixels: int) -> None:
        """A new stage begins, with so much to do."""
        ...

    def advance(self, images: int, pixels: int) -> None:
        """So much more of the stage is done."""
        ...


class Silent:
    """Nobody listens."""

    def stage(self, name: str, images: int, pixels: int) -> None:
        pass

    def advance(self, images: int, pixels: int) -> None:
        pass
