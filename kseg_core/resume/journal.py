"""Which pieces of a large image are written, told beside its arrays until the image is complete.

A line a piece, with its exact sums and a digest, after its pixels. Every process has a file of its own and adds whole
lines (in an object store each line is an object), so nobody waits for anybody; a line that was cut short or damaged is
a piece that is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from .. import storage
from ..clustering.outliers import Fill, merged
from ..clustering.sums import ClusterSums
from ..inputs.companions import mask_facts
from ..reading.sources import Piece
from ..store.writing import image_folder

PREFIX = ".pieces-"
_writer = uuid.uuid4().hex  # of this process

PieceSums = dict[tuple[int, int], ClusterSums]  # by top and left


def note_piece(store: str, piece: Piece, sums: ClusterSums, fills: Sequence[Fill] = ()) -> None:
    """Tell that a piece is written, all of its arrays; ``fills``: what of its values lies beyond all others."""
    told = {"piece": _identity(piece), "counts": sums.counts.tolist(), "sums": sums.to_json()}
    told |= {"fills": [list(fill) for fill in fills]} if fills else {}
    line = json.dumps({**told, "digest": _digest(told)})
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


def pieces_written(store: str, pieces: Sequence[Piece]) -> PieceSums:
    """Of the pieces of one image those that are written, with their sums."""
    found: dict[tuple[str | int, ...], ClusterSums] = {}
    for told in _told(store, pieces):
        with suppress(ValueError, KeyError, TypeError, OverflowError):
            found[tuple(told["piece"])] = ClusterSums.from_json(told["sums"], told["counts"])
    if not found:
        return {}
    return {(p.top, p.left): found[_identity(p)] for p in pieces if _identity(p) in found}


def _told(store: str, pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
    """The lines of one image that are whole."""
    for line in _lines(image_folder(store, pieces[0].source.file.key)):
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # cut short
            told = json.loads(line)
            if told.pop("digest") == _digest(told):
                yield told


def fills_written(store: str, pieces: Sequence[Piece]) -> tuple[Fill, ...]:
    """What of the values of those pieces of one image that are written lies beyond all others."""
    known = {_identity(piece) for piece in pieces}
    found: dict[tuple[str | int, ...], list[Fill]] = {}
    for told in _told(store, pieces):
        if told.get("fills") and tuple(told["piece"]) in known:
            fills = [Fill(float(value), tuple(bands), pixels, far) for value, bands, pixels, far in told["fills"]]
            found[tuple(told["piece"])] = fills
    return merged((fill for fills in found.values() for fill in fills), of_bands=False)


def end_journal(store: str, key: str) -> None:
    """Forget it: the image is about to be declared complete."""
    storage.remove_files(_files(image_folder(store, key)))


def _identity(piece: Piece) -> tuple[str | int, ...]:
    """The state of the file and its mask, and the window: of a file that has changed no piece is known."""
    state = {**piece.source.file.facts, "mask": mask_facts(piece.source.mask)}
    return (json.dumps(state), piece.top, piece.left, piece.height, piece.width)


def _digest(told: dict[str, Any]) -> str:
    """What tells a line from a damaged one: sums that are nearly right look like any others."""
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _files(folder: str) -> list[str]:
    return sorted(os.path.join(folder, name) for name in storage.names(folder) if name.startswith(PREFIX))


def _lines(folder: str) -> Iterator[str]:
    try:
        files = _files(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for file in files:
        yield from storage.read(file).decode(errors="replace").split("\n")
