"""What a store says of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..clustering.sums import ClusterSums
from ..inputs.listing import file_facts


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
            sums=ClusterSums.from_json(facts["sums"], counts) if "sums" in facts else None,
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
        return {"source": self.source, **file_facts(self.size, self.modified, self.beside)}

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
            **({} if self.sums is None else {"sums": self.sums.to_json()}),  # beside `counts`, which are theirs
            **({} if self.checksum is None else {"checksum": self.checksum}),
            **({} if self.mask is None else {"mask": self.mask}),
            **({"notes": list(self.notes)} if self.notes else {}),
            "status": "complete",
        }
