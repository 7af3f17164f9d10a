"""What a command that adds a layer to images is asked to do (``edges``), checked against what is on disk before
anything heavy is loaded; and what it came to.

A store that is there already tells, image by image, what is done (`markers.added_to`); so the same command again does
nothing, an interrupted one goes on where it was, and a folder that has grown costs what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from kseg_core import storage
from kseg_core.choice import InputSelection
from kseg_core.config import AskedLayer, EdgesConfig, OutputSettings
from kseg_core.errors import KsegError, NothingReadable, StoreError, UnreadableImage, facts_of
from kseg_core.inputs.keys import printable_source
from kseg_core.inputs.listing import InputFile, InputListing
from kseg_core.store.manifest import FORMAT, added_alone, differences, read_attributes
from kseg_core.store.markers import added_to, is_complete

from .planning.notes import Note
from .request import inputs_and_output, of_earlier_rules, require_kseg
from .result import in_order, unread_by


class Made(NamedTuple):
    """Images with a layer, the pixels of the images, and those of them that are not 0 in the layer."""

    images: int = 0
    pixels: int = 0
    layer_pixels: int = 0


NONE_MADE = Made()


@dataclass(frozen=True, slots=True)
class LayerRequest:
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
    todo
        The files whose layer is to be made.
    reused
        What was made before.
    failures
        Inputs that have no image in the store to add to, and those that could not be listed.
    seen
        What the store said of itself when all this was looked up; None: there was none.
    """

    listing: InputListing
    config: EdgesConfig
    output: str
    tile: int
    todo: tuple[InputFile, ...]
    reused: Made = NONE_MADE
    failures: tuple[UnreadableImage, ...] = ()
    seen: dict[str, Any] | None = None

    @property
    def layer(self) -> AskedLayer:
        """What is added."""
        return self.config.layer

    @property
    def labelled(self) -> bool:
        """Whether a run made the store: then its images are given, and nothing but the layer is added."""
        return self.seen is not None and added_alone(self.seen) is None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        under_way = (self.seen or {}).get(self.layer.name) if self.labelled else self.seen
        return not self.todo and (under_way or {}).get("status") != "running"

    @property
    def total(self) -> int:
        """How many inputs there are."""
        return len(self.listing.files) + len(self.listing.failures)

    @property
    def store_config(self) -> dict[str, Any]:
        """The settings that decide what a store of this layer alone holds, as JSON values."""
        inputs, choice = self.config.input, self.config.input.choice
        beside = ("mask", "max_pixels", *choice.to_json())
        told = {name: value for name, value in inputs.to_json().items() if name not in beside}
        told["mask"] = None if inputs.mask is None else printable_source(inputs.mask)
        told |= {} if choice.is_default else choice.to_json()
        return {self.layer.name: self.layer.settings, "input": told, "output": {"tile": self.tile}}


NO_IMAGE = {  # by what an image has of the layer
    "not there": "not in {0}, so there is nothing to add {1} to: label it first, or choose another output with -o",
    "changed": "changed since it was labelled in {0}: label it anew, or choose another output with -o",
}


def prepare_layer(selection: InputSelection, config: EdgesConfig, output: str | None) -> LayerRequest:
    """Check a job against what is on disk.

    ``output`` is a new store, or one made by ``run``, ``apply`` or such a job; None for the default name.

    Raises
    ------
    UsageError, KsegError
        If it cannot be done.
    """
    listing, output = inputs_and_output(selection, config.input, output)
    failures = tuple(listing.failures)
    if not storage.exists(output):
        tile = OutputSettings().tile if config.tile is None else config.tile
        return LayerRequest(listing, config, output, tile, tuple(listing.files), failures=failures)
    attributes = _require_store(output)
    labelled, layer = added_alone(attributes) is None, config.layer
    if of_earlier_rules(attributes):
        config, listing = replace(config, input=config.input.as_before()), listing.without_companions()
    tile = _require_same_ground(output, attributes, config)
    if labelled and not is_complete(attributes):
        raise StoreError(
            f"{output}: the run that makes it has not finished; finish it with its command, then add {layer.name}"
        )
    images = [added_to(output, file, layer, config.input.mask, labelled=labelled) for file in listing.files]
    otherwise = [image for image in images if image.state == "made otherwise"]
    if otherwise and not config.overwrite:
        raise StoreError(
            f"{output} has {layer.name} made with other settings ({'; '.join(otherwise[0].changed)}); choose another "
            f"output with -o, or replace the {layer.name} (and nothing else) with --overwrite"
        )
    done = [image for image in images if image.state == "done" and not config.overwrite]
    settled = {*NO_IMAGE, *(() if config.overwrite else ("done",))}
    todo = tuple(image.file for image in images if image.state not in settled)
    failures += tuple(
        UnreadableImage(image.file.source, NO_IMAGE[image.state].format(output, layer.name))
        for image in images
        if image.state in NO_IMAGE
    )
    if failures and not todo and not done:
        raise nothing_to_do(layer, failures)
    reused = Made(len(done), sum(image.pixels for image in done), sum(image.layer_pixels for image in done))
    return LayerRequest(listing, config, output, tile, todo, reused, failures, attributes)


def require_unchanged(request: LayerRequest) -> None:
    """Between the look at an output and its lock, another job may have had it.

    Raises
    ------
    StoreError
        If one had.
    """
    now = read_attributes(request.output) if storage.exists(request.output) else None
    if now != request.seen:
        raise StoreError(f"{request.output}: another run has just been there; give the same command again")


def nothing_to_do(layer: AskedLayer, failures: Sequence[UnreadableImage]) -> KsegError:
    """The error of a job all of whose inputs failed."""
    what = "the only input" if len(failures) == 1 else f"all {len(failures)} inputs"
    more = " …" if len(failures) > 1 else ""
    text = f"no {layer.name} could be made of {what}: {failures[0]}{more}"
    return NothingReadable(text, sorted(failures, key=str))


def _require_store(output: str) -> dict[str, Any]:
    """The attributes of a kseg store.

    Raises
    ------
    StoreError
        If there is something else.
    """
    attributes = require_kseg(output, "store", links=False)
    if attributes.get("format") != FORMAT:
        raise StoreError(f"{output}: a store of format {attributes.get('format')}; this version writes format {FORMAT}")
    return attributes


def _require_same_ground(output: str, attributes: dict[str, Any], config: EdgesConfig) -> int:
    """All layers of one store are of the same pixels in the same chunks; returns the side of these.

    Raises
    ------
    StoreError
        If this job has other ideas of nodata, mask or tile than the one that made the store.
    """
    was = attributes.get("config") or {}
    tile = int((was.get("output") or {}).get("tile", OutputSettings().tile))
    inputs = was.get("input") or {}
    mask = inputs.get("mask")
    if mask is not None:
        mask = printable_source(storage.real(storage.below(str(attributes.get("folder") or ""), mask)))
    given = None if config.input.mask is None else printable_source(storage.real(config.input.mask))
    anyhow = {"max_pixels": None, "smooth": None}  # the one decides no pixel, the other none of those they are found in
    earlier = {**inputs, **anyhow, "mask": mask, "tile": tile}
    now = {**config.input.to_json(), **anyhow, "mask": given, "tile": config.tile or tile}
    if changed := differences(earlier, now):
        raise StoreError(
            f"{output} was made with other settings ({'; '.join(changed)}); give the same, or choose another output "
            "with -o"
        )
    return tile


# -------------------------------------------------------------------------------------------------- what it came to


@dataclass(frozen=True, slots=True)
class LayerResult:
    """The result of such a job.

    Parameters
    ----------
    output, layer
        The store, and what was added.
    total
        Inputs.
    done, reused
        What was made now, and what was there.
    failures
        Every input without the layer.
    seconds
        It took.
    notes
        What there is to say of the inputs that were looked at.
    """

    output: str
    layer: AskedLayer
    total: int
    done: Made
    reused: Made
    failures: tuple[UnreadableImage, ...]
    seconds: float
    notes: tuple[Note, ...] = ()

    @property
    def status(self) -> str:
        """``ok``, or ``partial`` (some inputs have no such layer)."""
        return "partial" if self.failures else "ok"

    def to_json(self) -> dict[str, Any]:
        """The object ``--json`` prints."""
        counted = self.layer.counted
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
            **({} if counted is None else {counted: self.done.layer_pixels + self.reused.layer_pixels}),
            "settings": self.layer.settings,
            "failures": [facts_of(error) for error in self.failures],
            "notes": [note.to_json() for note in self.notes],
            "seconds": {"total": round(self.seconds, 3)},
        }


def nothing_done(request: LayerRequest) -> LayerResult:
    """The result of a request with nothing to do: everything that can be made is there."""
    failures = in_order(request.failures)
    return LayerResult(request.output, request.layer, request.total, Made(), request.reused, failures, 0.0)


def failed_layer(error: Exception, layer: AskedLayer) -> dict[str, Any]:
    """What ``--json`` prints of a job that failed: the same keys, and ``error``."""
    unread = unread_by(error)
    told = LayerResult("", layer, len(unread), Made(), Made(), unread, 0.0).to_json()
    blank = {"status": "failed", "output": None, "settings": None, "seconds": {"total": None}}
    return {**told, **blank, "error": str(error)}
