"""Pieces of a large image that are written: what is noted is found; what was cut short or is of another file is not."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from pathlib import Path

import numpy as np
import pytest

from kseg_core.clustering.outliers import Fill
from kseg_core.clustering.sums import ClusterSums
from kseg_core.images import PictureInfo
from kseg_core.inputs.listing import InputFile
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.markers import end_journal, note_piece, pieces_written
from kseg_core.store.record import PieceLabelled
from kseg_core.store.writing import image_folder


def pieces() -> list[Piece]:
    file = InputFile("/a.tif", "a.tif", "a.tif", 1000, 5)
    info = PictureInfo("TIFF", (64, 128), 3, "uint8", (64, 64), None)
    source = ImageSource(file, info)
    return [Piece(source, 0, 0, 64, 64), Piece(source, 0, 64, 64, 64)]


def sums(n: int) -> ClusterSums:
    return ClusterSums(np.array([n, 1]), np.array([[n, 2, 3], [4, 5, 6]]), 2**70 + n)


@pytest.fixture
def store(tmp_path: Path) -> str:
    Path(image_folder(str(tmp_path), "a.tif")).mkdir(parents=True)
    return str(tmp_path)


def test_what_is_noted_is_found_with_all_that_its_piece_came_to(store: str) -> None:
    both = pieces()
    assert pieces_written(store, both) == {}
    fills = (Fill(-9999.0, (1, 3), 5, 2.5), Fill(7.0, (2,), 1, 9.0))
    note_piece(store, both[1], PieceLabelled(sums(7), fills))
    found = pieces_written(store, both)
    assert list(found) == [(0, 64)]
    assert found[0, 64].sums.same_as(sums(7))
    assert (found[0, 64].sums.squares, found[0, 64].fills) == (2**70 + 7, fills)
    note_piece(store, both[0], PieceLabelled(sums(8)))
    assert len(pieces_written(store, both)) == 2
    end_journal(store, "a.tif")
    assert pieces_written(store, both) == {}
    assert list(Path(image_folder(store, "a.tif")).iterdir()) == []


def test_a_line_that_was_cut_short_is_a_piece_to_be_done_and_spoils_no_other(store: str) -> None:
    both = pieces()
    note_piece(store, both[0], PieceLabelled(sums(7)))
    (journal,) = Path(image_folder(store, "a.tif")).iterdir()
    journal.write_bytes(journal.read_bytes()[:-9])
    assert pieces_written(store, both) == {}
    note_piece(store, both[1], PieceLabelled(sums(8)))
    assert list(pieces_written(store, both)) == [(0, 64)]


def test_of_a_file_that_has_changed_no_piece_is_known(store: str) -> None:
    before = pieces()
    note_piece(store, before[0], PieceLabelled(sums(7)))
    changed = replace(before[0].source, file=replace(before[0].source.file, modified_ns=6))
    assert pieces_written(store, [replace(piece, source=changed) for piece in before]) == {}


def test_sums_of_bands_come_back_too() -> None:
    value = ClusterSums(np.array([2]), np.array([[5, -6]]), np.array([2**66, 3], object))
    back = ClusterSums.from_json(value.to_json(), [2])
    assert back.same_as(value)
    assert back.squares.tolist() == [2**66, 3]
    with pytest.raises(ValueError, match="sums of"):
        ClusterSums.from_json(value.to_json(), [2, 3])


def test_sums_of_any_size_are_texts_and_come_back_to_the_last_bit(store: str) -> None:
    linear = np.array([[2**2000 + 1, -6], [0, -(2**1100)]], object)
    value = ClusterSums(np.array([2, 9]), linear, np.array([2**4000 + 3, 0], object))
    told = json.loads(json.dumps(value.to_json()))
    assert {type(number) for row in told["linear"] for number in row} == {str}  # readers of JSON have 53 bits
    back = ClusterSums.from_json(told, [2, 9])
    assert back.same_as(value)
    assert (back.sums.dtype, back.sums.tolist()) == (object, linear.tolist())
    assert back.squares.tolist() == [2**4000 + 3, 0]
    both = pieces()
    note_piece(store, both[1], PieceLabelled(value))
    assert pieces_written(store, both)[0, 64].sums.same_as(value)


@pytest.mark.parametrize("at", range(12, 150, 7))
def test_a_damaged_line_is_a_piece_to_be_done_and_never_other_sums(store: str, at: int) -> None:
    both = pieces()
    note_piece(store, both[0], PieceLabelled(sums(7)))
    (journal,) = Path(image_folder(store, "a.tif")).iterdir()
    line = journal.read_bytes()
    digits = [i for i, byte in enumerate(line) if chr(byte).isdigit()]
    place = digits[at % len(digits)]
    journal.write_bytes(line[:place] + (b"4" if line[place : place + 1] != b"4" else b"5") + line[place + 1 :])
    assert pieces_written(store, both) == {}


@pytest.mark.parametrize("line", ["[]", "7", '{"piece": 1}', '{"piece": [[]], "digest": ""}'])
def test_a_line_that_is_something_else_is_no_piece(store: str, line: str) -> None:
    (Path(image_folder(store, "a.tif")) / ".pieces-1-x.jsonl").write_text(f"\n{line}\n")
    assert pieces_written(store, pieces()) == {}


def test_whatever_a_piece_comes_to_is_merged_and_noted() -> None:
    """A field that is forgotten in one of these would be lost of large images that are gone on with."""
    one = PieceLabelled(sums(7), (Fill(7.0, (2,), 1, 9.0),))
    for part in (one.merge(PieceLabelled(sums(0))), PieceLabelled.from_json(json.loads(json.dumps(one.to_json())))):
        for each in fields(PieceLabelled):
            blank = each.default is not MISSING and getattr(part, each.name) == each.default
            assert not blank, each.name
    assert all(each.default is not MISSING for each in fields(PieceLabelled) if each.name != "sums")
