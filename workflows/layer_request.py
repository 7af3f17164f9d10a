"""What a command that adds a layer to images is asked to do (``edges``, ``segments``), checked against what is on disk
before anything heavy is loaded; and what it came to.

A store that is there already tells, image by image, what is done (`markers.added_to`); so the same command again does
nothing, an interrupted one goes on where it was, and a folder that has grown costs what is new. The images may also be
those of a store, by itself: what they were made of is found by what it says of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from operator import add
from typing import Any, NamedTuple

from kseg_core import storage
from kseg_core.choice import InputSelection
from kseg_core.command_lines import made_anew_by
from kseg_core.config import AskedLayer, InputSettings, LayerConfig, OutputSettings
from kseg_core.errors import KsegError, NothingReadable, StoreError, UnreadableImage, UsageError, facts_of
from kseg_core.inputs.keys import printable_source
from kseg_core.inputs.listing import InputFile, InputListing
from kseg_core.inputs.zarr_images import is_kseg_store
from kseg_core.store.manifest import (
    FORMAT,
    added_alone,
    differences,
    image_facts,
    image_folder,
    images_of,
    names_in,
    read_attributes,
)
from kseg_core.store.markers import COMPLETE, AddedTo, added_to, is_complete, layer_is_complete

from .planning.notes import Note
from .request import inputs_and_output, of_earlier_rules, require_kseg
from .result import in_order, unread_by


class Made(NamedTuple):
    """Images with a layer, the pixels of the images, and those of them that are not 0 in the layer."""

    images: int = 0
    pixels: int = 0
    layer_pixels: int = 0

    def merge(self, other: Made) -> Made:
        """Both together."""
        return Made(*map(add, self, other))


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
    of_store
        Whether the images are those of the store, whatever they were made of.
    gone
        Names of the images whose files are not what they were, to be made of what the store has.
    without_file
        How many images have no such file.
    """

    listing: InputListing
    config: LayerConfig
    output: str
    tile: int
    todo: tuple[InputFile, ...]
    reused: Made = NONE_MADE
    failures: tuple[UnreadableImage, ...] = ()
    seen: dict[str, Any] | None = None
    of_store: bool = False
    gone: tuple[str, ...] = ()
    without_file: int = 0

    @property
    def layer(self) -> AskedLayer:
        """What is added."""
        return self.config.layer

    @property
    def labelled(self) -> bool:
        """Whether a run made the store: then its images are given, and nothing but the layer is added."""
        return self.seen is not None and added_alone(self.seen) is None

    @property
    def told_apart(self) -> bool:
        """Whether what becomes of the layer is told apart from what becomes of the store."""
        return self.labelled or self.of_store

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        under_way = (self.seen or {}).get(self.layer.name) if self.told_apart else self.seen
        return not self.todo and not self.gone and (under_way or {}).get("status") != "running"

    @property
    def total(self) -> int:
        """How many inputs there are."""
        return len(self.listing.files) + len(self.listing.failures) + self.without_file

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


def prepare_layer(selection: InputSelection, config: LayerConfig, output: str | None) -> LayerRequest:
    """Check a job against what is on disk.

    ``output`` is a new store, or one made by ``run``, ``apply`` or such a job; None for the default name. Where the one
    input is such a store itself, the layer is added to its images.

    Raises
    ------
    UsageError, KsegError
        If it cannot be done.
    """
    if (store := _store_among(selection)) is not None:
        return _of_store(store, selection, config, output)
    listing, output = inputs_and_output(selection, config.input, output)
    failures = tuple(listing.failures)
    if not storage.exists(output):
        tile = OutputSettings().tile if config.tile is None else config.tile
        return LayerRequest(listing, config, output, tile, tuple(listing.files), failures=failures)
    attributes = _require_store(output)
    config, listing = config.beside(attributes), listing.as_named(names_in(output, attributes))
    alone, layer = added_alone(attributes), config.layer
    labelled = alone is None
    if alone not in (None, layer.name):
        raise StoreError(f"{output} was made for {alone} alone; choose another output with -o")
    if of_earlier_rules(attributes):
        config, listing = replace(config, input=config.input.as_before()), listing.without_companions()
    tile = _require_same_ground(output, attributes, config)
    if labelled:
        _require_finished(output, attributes, layer)
    images = [added_to(output, file, layer, config.input.mask, labelled=labelled) for file in listing.files]
    return _sorted_out(LayerRequest(listing, config, output, tile, (), Made(), failures, attributes), images)


def _require_finished(output: str, attributes: dict[str, Any], layer: AskedLayer) -> None:
    if not is_complete(attributes):
        raise StoreError(
            f"{output}: the run that makes it has not finished; finish it with its command, then add {layer.name}"
        )


def _sorted_out(request: LayerRequest, images: Sequence[AddedTo]) -> LayerRequest:
    """The request, by what its images have of the layer.

    Raises
    ------
    KsegError
        If nothing can be done, or what is there must be replaced and that is not asked for.
    """
    config, layer, output = request.config, request.layer, request.output
    otherwise = [image for image in images if image.state == "made otherwise"]
    if otherwise and not config.overwrite:
        elsewhere = "" if request.of_store else "choose another output with -o, or "
        raise StoreError(
            f"{output} has {layer.name} made with other settings ({'; '.join(otherwise[0].changed)}); {elsewhere}"
            f"replace the {layer.name} (and nothing else) with --overwrite"
        )
    done = [image for image in images if image.state == "done" and not config.overwrite]
    settled = {*NO_IMAGE, *(() if config.overwrite else ("done",))}
    todo = tuple(image.file for image in images if image.state not in settled)
    failures = request.failures + tuple(
        UnreadableImage(image.file.source, NO_IMAGE[image.state].format(output, layer.name))
        for image in images
        if image.state in NO_IMAGE
    )
    reused = Made(len(done), sum(image.pixels for image in done), sum(image.layer_pixels for image in done))
    reused = request.reused.merge(reused)
    if failures and not todo and not request.gone and not reused.images:
        raise nothing_to_do(layer, failures)
    return replace(request, todo=todo, reused=reused, failures=failures)


# ------------------------------------------------------------------------------------------- the images of a store


def _store_among(selection: InputSelection) -> str | None:
    """The store that is the one input of a job; None: there is no such."""
    if len(selection.inputs) != 1 or selection.from_file is not None:
        return None
    path = selection.inputs[0].rstrip("/")
    return path if path and is_kseg_store(path) else None


def _of_store(store: str, selection: InputSelection, config: LayerConfig, output: str | None) -> LayerRequest:
    """A job of the images of a store, read as they were when it was made."""
    if output is not None and storage.real(output.rstrip("/")) != storage.real(store):
        raise UsageError(f"{store} is a store, to whose images {config.layer.name} are added: leave out -o")
    if selection.include or selection.exclude:
        raise UsageError(f"--include and --exclude choose among files; {store} is a store, all of whose images count")
    if replace(config.input, max_pixels=InputSettings().max_pixels) != InputSettings():
        raise UsageError(f"{store} says itself how its images are read: leave out --nodata, --mask and the like")
    attributes = _require_store(store)
    config = config.beside(attributes)
    layer = config.layer
    alone = added_alone(attributes)
    if alone not in (None, layer.name):
        raise StoreError(
            f"{store} was made for {alone} alone; {layer.name} need a store of their own, made of its inputs"
        )
    _require_finished(store, attributes, layer)
    from kseg_core.store.originals import Originals  # NumPy: only where it is needed

    tile = _tile_of(attributes)
    if config.tile not in (None, tile):
        raise UsageError(f"--tile is {tile} in {store}: leave it out")
    originals = Originals.of(attributes)
    inputs = replace(originals.settings, max_pixels=config.input.max_pixels, smooth=None)
    files, failures, images, gone = [], [], [], {}
    for key in sorted(images_of(store)):
        facts = image_facts(image_folder(store, key))
        if facts is None or "source" not in facts:
            failures.append(UnreadableImage(key, f"damaged in {store}; {made_anew_by(store)}"))
            continue
        try:
            file = originals.find(OfImage(key, facts))
            inputs = replace(inputs, mask=originals.mask_of(file))
        except UnreadableImage as error:
            gone[key] = (facts, error)
            continue
        files.append(file)
        images.append(added_to(store, file, layer, inputs.mask, labelled=True))
    listing = InputListing(tuple(files), 0, tuple(failures))
    request = LayerRequest(
        listing, replace(config, input=inputs), store, tile, (), Made(), tuple(failures), attributes, of_store=True
    )
    return _sorted_out(_without_files(request, gone), images)


class OfImage(NamedTuple):
    """An image of a store, as far as it says of which file it is."""

    key: str
    attributes: dict[str, Any]


def _without_files(request: LayerRequest, gone: dict[str, tuple[dict[str, Any], UnreadableImage]]) -> LayerRequest:
    """The request, with images whose files are gone, or are others now: what the store has of some is enough."""
    layer, store = request.layer, request.output
    todo, done, failures = [], Made(), []
    for key, (facts, error) in gone.items():
        folder = image_folder(store, key)
        stated = image_facts(os.path.join(folder, layer.path)) or {}
        basis = image_facts(os.path.join(folder, layer.made_from)) if layer.made_from else None
        wanted = {name: value for name, value in layer.settings.items() if name not in layer.free}
        if layer_is_complete(stated, layer.counted) and not differences(_named(stated, layer.settings), layer.settings):
            height, width = facts["shape"]
            done = done.merge(Made(1, height * width, stated.get(layer.counted or "", 0)))
        elif basis is not None and basis.get("status") == COMPLETE and not differences(_named(basis, wanted), wanted):
            todo.append(key)
        else:
            failures.append(error)
    told = request.failures + tuple(failures)
    return replace(request, reused=done, failures=told, gone=tuple(todo), without_file=len(gone))


def _named(stated: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What is stated of some settings."""
    return {name: stated[name] for name in names if name in stated}


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


def _tile_of(attributes: dict[str, Any]) -> int:
    """The side of a store's chunks."""
    output = (attributes.get("config") or {}).get("output") or {}
    return int(output.get("tile", OutputSettings().tile))


def _require_same_ground(output: str, attributes: dict[str, Any], config: LayerConfig) -> int:
    """All layers of one store are of the same pixels in the same chunks; returns the side of these.

    Raises
    ------
    StoreError
        If this job has other ideas of nodata, mask or tile than the one that made the store.
    """
    was = attributes.get("config") or {}
    tile = _tile_of(attributes)
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
