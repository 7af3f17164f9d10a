"""The errors a job must tell apart. Everything else is a plain ``ValueError``.

Each message is one line that names the thing, what is wrong with it and, where
there is something to be done, what to do. ``jobs`` alone turns errors into exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self


class KsegError(Exception):
    """A failure of the work itself: the job ends with exit code 1."""


class UsageError(KsegError, ValueError):
    """The request makes no sense (a bad value, an unknown name, no such input): exit code 2."""


class StoreError(KsegError):
    """A store or model that is missing, damaged, unfinished or made with other settings."""


class OutputHeld(KsegError):
    """Another run is writing the output: exit code 11."""


class NoValidPixels(KsegError):
    """There are images, but not one pixel to cluster."""


class NothingReadable(KsegError):
    """Not one input could be labelled; ``failures`` has every input with its reason."""

    def __init__(self, message: str, failures: Sequence[UnreadableImage]) -> None:
        super().__init__(message, tuple(failures))
        self.failures = tuple(failures)

    def __str__(self) -> str:
        return str(self.args[0])


class UnreadableImage(KsegError):
    """One input that cannot be labelled; the rest of the run goes on.

    Parameters
    ----------
    source
        The input as the user knows it (a path or a name).
    reason
        What is wrong with it, in one short clause without the path.
    """

    def __init__(self, source: str, reason: str, *more: Any) -> None:
        super().__init__(source, reason, *more)
        self.source = source
        self.reason = reason

    def to_keep(self) -> Self:
        """The same without where it was raised: the frames of a traceback keep the pixels that were being read."""
        return type(self)(*self.args)

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class OtherKind(UnreadableImage):
    """An image that can be read, and is of another ``kind``, as ``--kind`` takes it, than those it would be with."""

    def __init__(self, source: str, reason: str, kind: str) -> None:
        super().__init__(source, reason, kind)
        self.kind = kind


class Unsuited(UnreadableImage):
    """An image that can be read, but with whose pixels an ``option``, as it was typed, cannot be carried out."""

    def __init__(self, source: str, reason: str, option: str) -> None:
        super().__init__(source, reason, option)
        self.option = option


class TooLarge(UnreadableImage):
    """An image that can be read, but not in the memory there is: it ``needs`` so many bytes of a process."""

    def __init__(self, source: str, reason: str, needs: int) -> None:
        super().__init__(source, reason, needs)
        self.needs = needs


class KsegWarning(UserWarning):
    """What there is to say of images that were read and data that was fitted, though nothing failed."""


def facts_of(error: UnreadableImage) -> dict[str, Any]:
    """An input that could not be labelled, as JSON values."""
    more = {name: getattr(error, name) for name in ("kind", "needs", "option") if hasattr(error, name)}
    return {"source": error.source, "reason": error.reason, **more}


def from_facts(facts: dict[str, Any]) -> UnreadableImage:
    """The same the other way."""
    if "needs" in facts:
        return TooLarge(facts["source"], facts["reason"], facts["needs"])
    if "kind" in facts:
        return OtherKind(facts["source"], facts["reason"], facts["kind"])
    if "option" in facts:
        return Unsuited(facts["source"], facts["reason"], facts["option"])
    return UnreadableImage(facts["source"], facts["reason"])


def system_reason(error: OSError) -> str:
    """What the operating system says is wrong, as a clause; what else raised the error where that is all there is."""
    return f"{error.strerror[0].lower()}{error.strerror[1:]}" if error.strerror else str(error)


class BeyondFloats(KsegError):
    """Values, from which to which is said, so large that the squares of their distances are no float64 any more."""

    def __init__(self, values: str) -> None:
        super().__init__(
            f"values of {values}: the squares of their distances are more than float64 holds; if the farthest hold no "
            "data name them with --nodata, else scale the data, or ask for more clusters (--k, --k-range)"
        )


class TooManyColors(KsegError):
    """More distinct colours than memory has room for."""
