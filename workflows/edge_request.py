"""What ``edges`` is asked to do, checked against what is on disk before anything heavy is loaded; and what it came to.

A store that is there already tells, image by image, what is done; so the same command again does nothing, an
interrupted one goes on where it was, and a folder that has grown costs what is new.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from kseg_core import storage
from kseg_core.choice import InputSelection
from kseg_core.config import EdgesConfig, InputSettings, OutputSettings
from kseg_core.edge_settings import EdgeSettings, edge_facts
from kseg_core.errors import KsegError, NothingReadable, StoreError, UnreadableImage, UsageError, facts_of
from kseg_core.inputs.keys import printable_source
from kseg_core.inputs.listing import InputFile, InputListing
from kseg_core.store import schemas
from kseg_core.store.manifest import FORMAT, differences, read_attributes
from kseg_core.store.record import ImageRecord

from .planning.notes import Note
from .request import default_output, of_earlier_rules, require_mask, require_usable
from .result import in_order, unread_by

State = Literal["new", "to do", "done", "made otherwise", "not there", "changed"]


class EdgesMade(NamedTuple):
    """Images with edges, and the pixels of the images and of their edges."""

    images: int = 0
    pixels: int = 0
    edge_pixels: int = 0


NONE_MADE = EdgesMade()


@dataclass(frozen=True, slots=True)
class EdgesRequest:
    """One job.

    Parameters
    ----------
    listing
        What was pointed at.
    config
        What to do.
    output
        The store.
    tile
        Side of its chunks in pixels.
    exists
        Whether the store is there.
    has_labels
        Whether a run made it: then its images are given, and nothing but edges is added.
    todo
        The files whose edges are to be made.
    reused
        What was made before.
    failures
        Inputs that have no image in the store to add edges to, and those that could not be listed.
    finished
        Whether there is nothing left to do.
    seen
        What the store said of itself when all this was looked up; None: there was none.
    """

    listing: InputListing
    config: EdgesConfig
    output: str
    tile: int
    exists: bool
    has_labels: bool
    todo: tuple[InputFile, ...]
    reused: EdgesMade = NONE_MADE
    failures: tuple[UnreadableImage, ...] = ()
    finished: bool = False
    seen: dict[str, Any] | None = None

    @property
    def store_config(self) -> dict[str, Any]:
        """What a store of edges alone says of the job that made it."""
        return store_config(self.config, self.tile)


def store_config(config: EdgesConfig, tile: int) -> dict[str, Any]:
    """The settings that decide what a store of edges alone holds, as JSON values."""
    mask = config.input.mask
    chosen = {} if config.input.choice.is_default else config.input.choice.to_json()
    given = {"mask": None if mask is None else printable_source(mask), **chosen}
    return {
        "edges": config.edges.to_json(),
        "input": {**_validity(config.input.to_json()), **given},
        "output": {"tile": tile},
    }


def _validity(inputs: dict[str, Any]) -> dict[str, Any]:
    """Of a store's settings of inputs, those that say which values are invalid."""
    told: dict[str, Any] = {name: value for name, value in inputs.items() if name in ("nodata_in", "validity")}
    return {"nodata": inputs.get("nodata", "auto"), **told}


def prepare_edges(selection: InputSelection, config: EdgesConfig, output: str | None) -> EdgesRequest:
    """Check a job against what is on disk.

    ``output`` is a new store, or one made by ``run``, ``apply`` or ``edges``; None for the default name.

    Raises
    ------
    UsageError, KsegError
        If it cannot be done.
    """
    if output is not None and not output.strip():
        raise UsageError("-o is empty: name the output, or leave it out for the default")
    require_usable(output)
    listing = selection.list()
    require_mask(config.input)
    output = default_output(selection) if output is None else output.rstrip("/") or "/"
    failures = tuple(listing.failures)
    if not storage.exists(output):
        tile = OutputSettings().tile if config.tile is None else config.tile
        return EdgesRequest(listing, config, output, tile, False, False, tuple(listing.files), failures=failures)
    attributes = _require_store(output)
    has_labels = "edges" not in (attributes.get("config") or {})
    if of_earlier_rules(attributes):
        config, listing = replace(config, input=config.input.as_before()), listing.without_companions()
    tile = _require_same_ground(output, attributes, config)
    if has_labels and attributes.get("status") != "complete":
        raise StoreError(
            f"{output}: the run that makes it has not finished; finish it with its command, then add edges"
        )
    images = [_look_at(output, file, config, has_labels) for file in listing.files]
    otherwise = [image for image in images if image.state == "made otherwise"]
    if otherwise and not config.overwrite:
        raise StoreError(
            f"{output} has edges made with other settings ({'; '.join(otherwise[0].changed)}); choose another output "
            "with -o, or replace the edges (and nothing else) with --overwrite"
        )
    todo = tuple(image.file for image in images if image.state in ("new", "to do", "made otherwise"))
    done = [image.made for image in images if image.state == "done"]
    failures += tuple(
        UnreadableImage(image.file.source, _REASONS[image.state].format(output))
        for image in images
        if image.state in _REASONS
    )
    if failures and not todo and not done:
        raise nothing_to_do(failures)
    reused = EdgesMade(*map(sum, zip(*done, strict=True))) if done else NONE_MADE
    under_way = (attributes.get("edges") or {}).get("status") if has_labels else attributes.get("status")
    finished = not todo and under_way != "running"
    return EdgesRequest(listing, config, output, tile, True, has_labels, todo, reused, failures, finished, attributes)


def require_unchanged(request: EdgesRequest) -> None:
    """Between the look at an output and its lock, another job may have had it.

    Raises
    ------
    StoreError
        If one had.
    """
    now = read_attributes(request.output) if storage.exists(request.output) else None
    if now != request.seen:
        raise StoreError(f"{request.output}: another run has just been there; give the same command again")


_REASONS: dict[str, str] = {
    "not there": "not in {0}, so there is nothing to add edges to: label it first, or choose another output with -o",
    "changed": "changed since it was labelled in {0}: label it anew, or choose another output with -o",
}


def nothing_to_do(failures: Sequence[UnreadableImage]) -> KsegError:
    """The error of a job all of whose inputs failed."""
    what = "the only input" if len(failures) == 1 else f"all {len(failures)} inputs"
    more = " …" if len(failures) > 1 else ""
    return NothingReadable(f"no edges could be made of {what}: {failures[0]}{more}", sorted(failures, key=str))


def _require_store(output: str) -> dict[str, Any]:
    """The attributes of a kseg store.

    Raises
    ------
    StoreError
        If there is something else.
    """
    attributes = None if storage.is_link(output) else read_attributes(output)
    if attributes is None:
        raise StoreError(f"{output} exists and is not a kseg store; it is left alone. Choose another output with -o")
    if attributes.get("kind") != "store":
        raise StoreError(f"{output} is a kseg {attributes.get('kind')}, not a store; choose another output with -o")
    if attributes.get("format") != FORMAT:
        raise StoreError(f"{output}: a store of format {attributes.get('format')}; this version writes format {FORMAT}")
    return attributes


def _require_same_ground(output: str, attributes: dict[str, Any], config: EdgesConfig) -> int:
    """Labels and edges of one store are of the same pixels in the same chunks; returns the side of these.

    Raises
    ------
    StoreError
        If this job has other ideas of nodata, mask or tile than the one that made the store.
    """
    was = attributes.get("config") or {}
    tile = int((was.get("output") or {}).get("tile", OutputSettings().tile))
    inputs = was.get("input") or {}
    folder = str(attributes.get("folder") or "")
    earlier = {**_validity(inputs), "mask": _real(folder, inputs.get("mask")), "tile": tile}
    mask = None if config.input.mask is None else printable_source(storage.real(config.input.mask))
    now = {**_validity(config.input.to_json()), "mask": mask, "tile": tile if config.tile is None else config.tile}
    chosen = config.input.choice.to_json()
    earlier |= {name: inputs.get(name) for name in chosen}
    changed = differences(earlier, now | chosen)
    if changed:
        raise StoreError(
            f"{output} was made with other settings ({'; '.join(changed)}); give the same, or choose another output "
            "with -o"
        )
    return tile


def _real(folder: str, mask: str | None) -> str | None:
    return None if mask is None else printable_source(storage.real(storage.below(folder, mask)))


# ------------------------------------------------------------------------------------------------- image by image


class _Image(NamedTuple):
    """A file, and what the store has of it."""

    file: InputFile
    state: State
    made: EdgesMade = NONE_MADE
    changed: tuple[str, ...] = ()


def _look_at(output: str, file: InputFile, config: EdgesConfig, has_labels: bool) -> _Image:
    folder = os.path.join(output, "images", file.key)
    try:
        image = read_attributes(folder)
        schemas.require_sound(folder, image or {}, ImageRecord)
    except StoreError:
        if has_labels:  # which are not made here
            raise
        image = None
    if image is None:
        return _Image(file, "not there" if has_labels else "new")
    if not file.is_as(image):
        return _Image(file, "changed" if has_labels else "new")
    edges = _edges_of(folder)
    if edges is None or "shape" not in image:
        return _Image(file, "to do")
    facts = edge_facts(config.edges, file, _mask_of(config.input.mask, file))
    if not file.is_as(edges) or edges.get("mask") != facts["mask"]:
        return _Image(file, "changed" if has_labels else "new")
    changed = differences({name: edges.get(name) for name in facts}, facts)
    if changed:
        return _Image(file, "made otherwise", changed=tuple(changed))
    height, width = image["shape"]
    return _Image(file, "to do" if config.overwrite else "done", EdgesMade(1, height * width, edges["edge_pixels"]))


def _edges_of(image: str) -> dict[str, Any] | None:
    """What is said of an image's edges; None where they are not complete, or it is not sound: they are made again."""
    folder = os.path.join(image, "edges")
    try:
        edges = read_attributes(folder)
        schemas.require_sound(folder, edges or {}, schemas.Edges)
    except StoreError:
        return None
    whole = edges is not None and edges.get("status") == "complete" and "edge_pixels" in edges
    return edges if whole else None


def has_edges(output: str, file: InputFile, settings: EdgeSettings, inputs: InputSettings) -> bool:
    """Whether the store has edges of this very file, made with these settings."""
    return _look_at(output, file, EdgesConfig(settings, inputs), has_labels=True).state == "done"


def _mask_of(mask: str | None, file: InputFile) -> str | None:
    """The file's mask; None where it has none, which is told when the image is looked at."""
    if mask is None:
        return None
    from kseg_core.images.masks import mask_path  # NumPy: only where it is needed

    try:
        return mask_path(mask, file.below, file.source)
    except UnreadableImage:
        return None


# -------------------------------------------------------------------------------------------------- what it came to


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
    failures = in_order(request.failures)
    return EdgesResult(request.output, request.config.edges, total, EdgesMade(), request.reused, failures, 0.0)


def failed_edges(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a job that failed: the same keys, and ``error``."""
    unread = unread_by(error)
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
