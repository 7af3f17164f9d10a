"""What a store says of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clustering.sums import ClusterSums


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
    sums
        Exact sums over its clusters, where all images share a model: what a job that goes on from here adds up.
    checksum
        Of the file's content, where it was asked for.
    mask
        As `mask_facts` tells it.
    notes
        What there was to say of the file, a line each.
    beside
        The state of the files that belong to it, as `InputFile` has it.
    """

    key: str
    source: str
    size: int
    modified: int
    shape: tuple[int, int]
    counts: tuple[int, ...]
    invalid: int
    inertia: float
    sums: ClusterSums | None = None
    checksum: str | None = None
    mask: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    beside: str = ""

    @classmethod
    def from_attributes(cls, key: str, facts: dict[str, Any]) -> ImageRecord:
        """What `attributes` gave, but for the status.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or is not of its kind.
        """
        height, width = facts["shape"]
        counts = tuple(facts["counts"])
        return cls(
            key=key,
            source=facts["source"],
            size=facts["size"],
            modified=facts["modified"],
            shape=(height, width),
            counts=counts,
            invalid=facts["invalid"],
            inertia=facts["inertia"],
            sums=sums_from_json(facts["sums"], counts) if "sums" in facts else None,
            checksum=facts.get("checksum"),
            mask=facts.get("mask"),
            notes=tuple(facts.get("notes", ())),
            beside=facts.get("beside", ""),
        )

    def agrees_with(self, told: dict[str, Any]) -> bool:
        """Whether it makes sense, and what is said with the labels says the same; told twice, damage is seen.

        Parameters
        ----------
        told
            The attributes of the image's label group.

        Raises
        ------
        KeyError, TypeError
            If something is missing there.
        """
        height, width = self.shape
        areas = [entry["area"] for entry in told["ome"]["image-label"]["properties"]]
        return (
            self.invalid == height * width - sum(self.counts)
            and areas == [*self.counts, self.invalid]
            and told["kseg"] == self.origin()
        )

    def origin(self) -> dict[str, Any]:
        """Which file it is of, as JSON values: told once more with its labels, for a store that is to be repaired."""
        told = {"source": self.source, "size": self.size, "modified": self.modified}
        return {**told, "beside": self.beside} if self.beside else told

    def attributes(self) -> dict[str, Any]:
        """As JSON values."""
        valid = sum(self.counts)
        return {
            **self.origin(),
            "shape": list(self.shape),
            "counts": list(self.counts),
            "invalid": self.invalid,
            "inertia": self.inertia,
            "mse": self.inertia / valid if valid else None,
            **({} if self.sums is None else {"sums": sums_to_json(self.sums)}),  # beside `counts`, which are theirs
            **({} if self.checksum is None else {"checksum": self.checksum}),
            **({} if self.mask is None else {"mask": self.mask}),
            **({"notes": list(self.notes)} if self.notes else {}),
            "status": "complete",
        }


def sums_to_json(sums: ClusterSums) -> dict[str, Any]:
    """As JSON values; numbers of any size as texts, since many readers of JSON lose digits of those above 2**53."""
    squares = sums.squares
    told = [str(int(square)) for square in squares] if isinstance(squares, np.ndarray) else str(int(squares))
    linear = sums.sums if sums.sums.dtype != object else sums.sums.astype(str)
    return {"linear": linear.tolist(), "squares": told}


def _linear_of(told: list[list[int | str]]) -> NDArray[Any]:
    """Sums (k, d): int64, or told as texts and whole numbers of any size."""
    of_any_size = any(isinstance(number, str) for row in told for number in row)
    if not of_any_size:
        return np.asarray(told, np.int64)
    whole = np.empty((len(told), len(told[0])), np.object_)
    whole[:] = [[int(number) for number in row] for row in told]
    return whole


def sums_from_json(told: dict[str, Any], of_clusters: Sequence[int]) -> ClusterSums:
    """The sums that `sums_to_json` told, and the clusters' counts.

    Raises
    ------
    KeyError, TypeError, ValueError
        If they are none.
    """
    counts = np.asarray(of_clusters, np.int64)
    linear = _linear_of(told["linear"])
    if counts.ndim != 1 or linear.ndim != 2 or len(linear) != len(counts):
        raise ValueError(f"expected sums of {counts.shape} clusters, got {linear.shape}")
    squares = told["squares"]
    if isinstance(squares, list):
        return ClusterSums(counts, linear, np.array([int(square) for square in squares], object))
    return ClusterSums(counts, linear, int(squares))
