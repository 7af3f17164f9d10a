"""What counts as finished: the one place that decides it, of a store, an image, a layer that was added, and a piece.

An image is done when the attributes of its group say so: complete, and of the very file; or it is done again. A layer
that is added to it later is done when its own array says so, with the settings and the file it was made of. Of a large
image that is under way a line a piece, with its exact sums and a digest, is written after the piece's pixels. Every
process has a file of its own for these and adds whole lines (in an object store each line is an object), so nobody
waits for anybody; a line that was cut short or damaged is a piece that is done again.

What needs NumPy is imported where it is needed: that a job is done already is seen before it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .. import storage
from ..config import LABELS, AskedLayer, OutputSettings
from ..errors import StoreError, UnreadableImage
from ..inputs.companions import content_digest
from ..inputs.listing import FACTS, InputFile
from . import schemas
from .manifest import (
    INCOMPLETE,
    KEYS,
    differences,
    image_facts,
    image_folder,
    images_of,
    lost_images,
    read_attributes,
)
from .record import ImageRecord, PieceLabelled

if TYPE_CHECKING:
    from ..reading.sources import Piece

# ------------------------------------------------------------------------------------------------------- a store


COMPLETE = "complete"  # the status of what is


def is_complete(attributes: Mapping[str, Any] | None) -> bool:
    """Whether a store says that the job that made it has finished."""
    return was_complete(attributes) and (attributes or {}).get("status") == COMPLETE


def was_complete(attributes: Mapping[str, Any] | None) -> bool:
    """Whether that job had finished, whatever has become of the store since."""
    told = attributes or {}
    return told.get("status") in (COMPLETE, INCOMPLETE) and isinstance(told.get("result"), dict)


def looks_whole(store: str, attributes: dict[str, Any], output: OutputSettings) -> bool:
    """Whether a complete store has its model, and all images with their arrays, as far as one glance tells."""
    if lost_images(store, attributes):
        return False
    if storage.is_remote(store):
        return True  # there each look would be a request
    result = attributes["result"]
    if result["k"] is not None and not storage.is_file(os.path.join(store, "model", "zarr.json")):
        return False
    arrays = output.arrays(result["k"] or 0, added=not result["failures"])
    folders = (image_folder(store, key) for key in attributes.get(KEYS, ()))
    return all(storage.is_file(os.path.join(folder, name, "zarr.json")) for folder in folders for name in ("", *arrays))


# ------------------------------------------------------------------------------------------------------ an image


def image_is_complete(facts: Mapping[str, Any] | None) -> bool:
    """Whether an image says that it is whole."""
    return (facts or {}).get("status") == COMPLETE


def is_written(store: str, record: ImageRecord) -> bool:
    """Whether an image is in a store, complete, with this very record: then its labels are those of the record too."""
    facts = image_facts(image_folder(store, record.key))
    wanted = record.attributes()
    return facts is not None and {name: facts.get(name) for name in wanted} == wanted


def finished_image(
    store: str, file: InputFile, output: OutputSettings, mask: str | None = None, *, shared: bool, mends: bool = True
) -> ImageRecord | None:
    """What the store says of a file's image; None where that is nothing, or not whole, or of another content.

    Parameters
    ----------
    store, file
        Which.
    output
        What there must be of it; with ``checksum`` content decides what is the same, where the store knows it, else
        size and time do.
    mask
        The mask, or the folder of masks.
    shared
        Whether all images have one model: then the record has exact sums.
    mends
        Whether the store may say what was found out: that an image is not whole, or that its file was touched.
    """
    folder = image_folder(store, file.key)
    facts = image_facts(folder)
    if facts is None or not image_is_complete(facts) or not _same_content(facts, file, output.checksum):
        return None
    try:
        if facts.get("mask") != file.facts_with(_mask_path(mask, file))["mask"]:
            return None
        record = _record(folder, facts, file.key, output, shared=shared)
        if record is None:
            if mends:
                storage.remove_file(os.path.join(folder, "zarr.json"))  # what is not whole must not say that it is
            return None
        if mends and not file.is_as(facts):
            _note_touched(folder, file)
    except (OSError, UnreadableImage):
        return None  # without its mask, or not to be had
    return record


def _record(
    folder: str, facts: dict[str, Any], key: str, output: OutputSettings, *, shared: bool
) -> ImageRecord | None:
    """What is said of an image that is whole; None where it is not, or where that is damaged or of an older version."""
    from .nodes import read_document

    try:
        record = ImageRecord.from_attributes(key, facts)
        noted = read_document(os.path.join(folder, LABELS))["attributes"]
        whole = record.agrees_with(noted) and (record.sums is not None or not shared)
        (described,) = noted["ome"]["multiscales"]
        arrays = output.arrays(len(record.counts), levels=len(described["datasets"]))
    except (StoreError, KeyError, TypeError, ValueError, OverflowError, FileNotFoundError):
        return None
    documents = (os.path.join(folder, name, "zarr.json") for name in arrays)
    return record if whole and all(map(storage.is_file, documents)) else None


def _mask_path(mask: str | None, file: InputFile) -> str | None:
    """The file's own mask, of one mask or a folder of them."""
    if mask is None:
        return None
    from ..images.masks import mask_path

    return mask_path(mask, file.below, file.source)


def _same_content(facts: dict[str, Any], file: InputFile, checksum: bool) -> bool:
    known = facts.get("checksum")
    if not checksum or not isinstance(known, str):
        return file.is_as(facts)
    try:
        return facts.get("beside", "") == file.beside and content_digest(file.path) == known
    except OSError:
        return False  # the error that says why comes where it is read


def _note_touched(folder: str, file: InputFile) -> None:
    """Of an image whose file was touched, or copied anew: from now on its size and time are these."""
    from .nodes import read_document, write_group

    for group in (os.path.join(folder, LABELS), folder):  # both say it
        attributes = read_document(group)["attributes"]
        noted = {name: value for name, value in attributes["kseg"].items() if name not in FACTS} | file.facts
        write_group(group, {**attributes, "kseg": noted})


def unfinished_images(store: str, besides: Collection[str] = ()) -> list[str]:
    """Names of the images that are there without being complete; those in ``besides`` are not looked at.

    One whose document cannot be read is not among them: it was complete, and `check` can have it repaired.
    """
    folder = os.path.join(store, "images")
    return sorted(name for name in images_of(store).difference(besides) if _is_unfinished(os.path.join(folder, name)))


def _is_unfinished(folder: str) -> bool:
    try:
        return (read_attributes(folder) or {}).get("status") is None
    except StoreError:
        return False


def has_changed(store: str, file: InputFile, mask: str | None = None, *, checksum: bool = False) -> bool:
    """Whether a store has labels of a file that was another then, rather than none, or none that are whole.

    Parameters are those of `finished_image`.
    """
    folder = image_folder(store, file.key)
    facts = image_facts(folder)
    if facts is None or "size" not in facts:  # damaged: the labels say it once more
        facts = image_facts(os.path.join(folder, LABELS)) or {}
    if "size" in facts and not _same_content(facts, file, checksum):
        return True
    try:
        return "shape" in facts and facts.get("mask") != file.facts_with(_mask_path(mask, file))["mask"]
    except (OSError, UnreadableImage):
        return True  # the mask it had is not to be had any more


# ------------------------------------------------------------------------------------------ a layer that was added

State = Literal["new", "to do", "done", "made otherwise", "not there", "changed"]


class AddedTo(NamedTuple):
    """A file, and what its image has of a layer that is to be added.

    Attributes
    ----------
    state
        ``not there`` and ``changed``: the image, of labels that are not made here, is not that of the file; ``made
        otherwise``: with other settings, which ``changed`` tells, unless nothing is lost by changing them.
    pixels, layer_pixels
        Of one that is done, and how many of them are not 0.
    """

    file: InputFile
    state: State
    pixels: int = 0
    layer_pixels: int = 0
    changed: tuple[str, ...] = ()


def added_to(store: str, file: InputFile, layer: AskedLayer, mask: str | None, *, labelled: bool) -> AddedTo:
    """What an image has of a layer.

    Parameters
    ----------
    store, file, mask
        As `finished_image` has them.
    layer
        What it is to have.
    labelled
        Whether a run made the store: then its images are given. Otherwise an image is there for the layer alone.

    Raises
    ------
    StoreError
        If a labelled image is damaged.
    """
    folder = image_folder(store, file.key)
    try:
        image = read_attributes(folder)
        schemas.require_sound(folder, image or {}, ImageRecord)
    except StoreError:
        if labelled:
            raise
        image = None
    if image is None:
        return AddedTo(file, "not there" if labelled else "new")
    if not file.is_as(image):
        return AddedTo(file, "changed" if labelled else "new")
    stated = image_facts(os.path.join(folder, layer.path))
    if stated is None or not layer_is_complete(stated, layer.counted) or "shape" not in image:
        return AddedTo(file, "to do")
    try:
        now = file.facts_with(_mask_path(mask, file))
    except UnreadableImage:
        now = file.facts_with(None)  # that it has no mask is told when it is read
    if not file.is_as(stated) or stated.get("mask") != now["mask"]:
        return AddedTo(file, "changed" if labelled else "new")
    facts = {**layer.settings, **now}
    if differences({name: stated[name] for name in facts if name in stated}, facts):
        lost = {name: value for name, value in facts.items() if name not in layer.free}
        changed = differences({name: stated[name] for name in lost if name in stated}, lost)
        return AddedTo(file, "made otherwise" if changed else "to do", changed=tuple(changed))
    height, width = image["shape"]
    return AddedTo(file, "done", height * width, stated.get(layer.counted or "", 0))


def layer_is_complete(stated: object, counted: str | None) -> bool:
    """Whether an array of a layer that was added says that it is whole, with its count where the layer has one; where
    that is damaged it does not, and is made again.
    """
    try:
        schemas.require_sound("", stated if isinstance(stated, dict) else {}, schemas.Added)
    except StoreError:
        return False
    return isinstance(stated, dict) and stated.get("status") == COMPLETE and (counted or "status") in stated


# ------------------------------------------------------------------------------------------------------- a piece

PREFIX = ".pieces-"
_writer = uuid.uuid4().hex  # of this process


def note_piece(store: str, piece: Piece, part: PieceLabelled) -> None:
    """Tell that a piece is written, all of its arrays, and what it came to."""
    noted = {"piece": _identity(piece), **part.to_json()}
    line = json.dumps({**noted, "digest": _digest(noted)})
    folder = image_folder(store, piece.source.file.key)
    if storage.is_remote(folder):  # no line can be added to an object: each is one
        storage.put(os.path.join(folder, f"{PREFIX}{uuid.uuid4().hex}.jsonl"), [line.encode()])
        return
    path = os.path.join(folder, f"{PREFIX}{os.getpid()}-{_writer}.jsonl")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, f"\n{line}\n".encode())  # a line that a full disk cut short must not spoil the next
    finally:
        os.close(file)


def pieces_written(store: str, pieces: Sequence[Piece]) -> dict[tuple[int, int], PieceLabelled]:
    """Of the pieces of one image those that are written, with what they came to, by top and left."""
    found: dict[tuple[str | int, ...], PieceLabelled] = {}
    for line in _lines(image_folder(store, pieces[0].source.file.key)):
        with suppress(ValueError, KeyError, TypeError, AttributeError, OverflowError):  # cut short
            noted = json.loads(line)
            if noted.pop("digest") == _digest(noted):
                found[tuple(noted["piece"])] = PieceLabelled.from_json(noted)
    if not found:
        return {}
    return {(p.top, p.left): found[_identity(p)] for p in pieces if _identity(p) in found}


def end_journal(store: str, key: str) -> None:
    """Forget it: the image is about to be declared complete."""
    storage.remove_files(_files(image_folder(store, key)))


def _identity(piece: Piece) -> tuple[str | int, ...]:
    """The state of the file and its mask, and the window: of a file that has changed no piece is known."""
    state = piece.source.file.facts_with(piece.source.mask)
    return (json.dumps(state), piece.top, piece.left, piece.height, piece.width)


def _digest(noted: dict[str, Any]) -> str:
    """What tells a line from a damaged one: sums that are nearly right look like any others."""
    return hashlib.sha256(json.dumps(noted).encode()).hexdigest()[:16]


def _files(folder: str) -> list[str]:
    return sorted(os.path.join(folder, name) for name in storage.names(folder) if name.startswith(PREFIX))


def _lines(folder: str) -> Iterator[str]:
    try:
        files = _files(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for file in files:
        yield from storage.read(file).decode(errors="replace").split("\n")
