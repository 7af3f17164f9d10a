"""What a store says of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..inputs.listing import FACTS
from .schemas import Count, Mask, Side, Sums, require_sound

if TYPE_CHECKING:
    from ..clustering.outliers import Fill
    from ..clustering.sums import ClusterSums
    from ..reading.sources import ImageSource


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What a store says of one image: each field but ``key`` is an attribute, in this order, checked by its type.

    An attribute that is at its default is left out. To add one, add a field with a default, which images of earlier
    stores have, and its value where records are made.

    Parameters
    ----------
    key, source
        Its name in the store and the path it came from.
    size, modified, beside
        Bytes and modification time (ns) of the file, and the state of those that belong to it, as `InputFile` has it.
    shape
        (height, width).
    counts, invalid
        Pixels of each cluster, and invalid ones.
    inertia, mse
        In squared feature units: of all valid pixels, and of one.
    sums
        Exact sums over its clusters, where all images share a model: what a job that goes on from here adds up.
    checksum
        Of the file's content, where it was asked for.
    mask
        As `mask_facts` tells it.
    notes
        What there was to say of the file, a line each.
    smooth
        The scale in pixels at which it was smoothed before it was labelled; 0: not.
    min_region, raw_counts
        Where small regions went to their neighbours: the fewest pixels of one that did not; and ``counts`` before that,
        which the inertia and the sums are of.
    """

    key: str = field(metadata={"json": None})
    source: str
    size: Count
    modified: int  # of archives often before 1970
    beside: str = field(default="", kw_only=True)
    shape: tuple[Side, Side]
    counts: tuple[Count, ...]
    invalid: Count
    inertia: float
    mse: float | None = field(init=False)
    sums: ClusterSums | None = field(default=None, metadata={"json": Sums})  # beside `counts`, which are theirs
    checksum: str | None = field(default=None, metadata={"json": str})
    mask: dict[str, Any] | None = field(default=None, metadata={"json": Mask})
    notes: tuple[str, ...] = ()
    smooth: Count = 0
    min_region: Count | None = field(default=None, metadata={"json": Count})
    raw_counts: tuple[Count, ...] | None = field(default=None, metadata={"json": tuple[Count, ...]})
    status: str = field(default="complete", init=False)

    def __post_init__(self) -> None:
        valid = sum(self.counts)
        object.__setattr__(self, "mse", self.inertia / valid if valid else None)

    @classmethod
    def from_attributes(cls, key: str, facts: dict[str, Any]) -> ImageRecord:
        """What `attributes` gave, but for the status.

        Raises
        ------
        StoreError, TypeError, ValueError
            If something is not of its kind or is missing, or the sums are not those of the counts.
        """
        require_sound(key, facts, cls)
        values = {each.name: facts[each.name] for each in fields(cls) if each.init and each.name in facts}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        if "sums" in values:
            from ..clustering.sums import ClusterSums  # with NumPy, which those who look at documents alone do without

            values["sums"] = ClusterSums.from_json(values["sums"], facts.get("raw_counts", facts["counts"]))
        return cls(**{**values, "key": key})

    def cleaned(self, min_region: int, moved: Sequence[int]) -> ImageRecord:
        """The same of an image whose regions below so many pixels went to their neighbours.

        Parameters
        ----------
        moved
            By how many pixels each cluster has grown.
        """
        counts = tuple(count + int(more) for count, more in zip(self.counts, moved, strict=True))
        return replace(self, counts=counts, min_region=min_region, raw_counts=self.counts)

    @property
    def assigned(self) -> tuple[int, ...]:
        """Pixels that are nearest to each centroid."""
        return self.counts if self.raw_counts is None else self.raw_counts

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
            and told["kseg"] == self.with_labels()
            and sum(self.assigned) == sum(self.counts)
            and len(self.assigned) == len(self.counts)
        )

    def origin(self) -> dict[str, Any]:
        """Which file it is of, as JSON values: told once more with its labels, for a store that is to be repaired."""
        return as_attributes({name: getattr(self, name) for name in ("source", *FACTS)})

    def with_labels(self) -> dict[str, Any]:
        """What is said with its labels: which file they are of, and how they were cleaned."""
        cleaned = {} if self.min_region is None else {"cleaned": {"min_region": self.min_region}}
        return self.origin() | cleaned

    def attributes(self) -> dict[str, Any]:
        """As JSON values."""
        return as_attributes({each.name: getattr(self, each.name) for each in fields(self)})


@dataclass(frozen=True, slots=True)
class PieceLabelled:
    """What labelling a piece came to; those of all pieces of an image, merged, are what its record has from pixels.

    A field that is added has a default, is merged, and is noted and read here: of a large image that a job goes on
    with, the pieces that are written are known by these notes alone.

    Parameters
    ----------
    sums
        Exact, over its clusters.
    fills
        What of its values lies beyond all others.
    """

    sums: ClusterSums
    fills: tuple[Fill, ...] = ()

    def merge(self, other: PieceLabelled) -> PieceLabelled:
        from ..clustering.outliers import merged

        return PieceLabelled(self.sums.merge(other.sums), merged((*self.fills, *other.fills), of_bands=False))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        fills = {"fills": [list(fill) for fill in self.fills]} if self.fills else {}
        return {"counts": self.sums.counts.tolist(), "sums": self.sums.to_json(), **fills}

    @classmethod
    def from_json(cls, noted: dict[str, Any]) -> PieceLabelled:
        """What `to_json` gave.

        Raises
        ------
        KeyError, TypeError, ValueError, OverflowError
            If it is something else.
        """
        from ..clustering.outliers import Fill
        from ..clustering.sums import ClusterSums

        sums = ClusterSums.from_json(noted["sums"], noted["counts"])
        fills = (Fill(float(value), tuple(bands), pixels, far) for value, bands, pixels, far in noted.get("fills", ()))
        return cls(sums, tuple(fills))


def as_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of some fields of a record as JSON values, by which a store says them."""
    told = {}
    for each in fields(ImageRecord):
        of_document = each.name in values and each.metadata.get("json", ...) is not None
        if of_document and (each.default is MISSING or not each.init or values[each.name] != each.default):
            value = values[each.name]
            plain = value.to_json() if hasattr(value, "to_json") else value
            told[each.name] = list(plain) if isinstance(plain, tuple) else plain
    return told


def of_source(source: ImageSource) -> dict[str, Any]:
    """What is said of an image whether it is labelled or not, by the fields of a record."""
    return {
        "source": source.file.source,
        **source.file.facts,
        "shape": source.shape,
        "notes": source.info.notes,
        "smooth": 0 if source.smoothing is None else source.smoothing.pixels,
    }
