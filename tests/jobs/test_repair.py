"""``check --repair`` on the command line: what is told, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kseg_core.resume.lock import hold

Kseg = Callable[..., Any]


@pytest.fixture
def damaged(here: Path, job: Any) -> Path:
    """A store ``s.zarr`` of the folder ``in``, one of whose chunks has a flipped bit."""
    job("in", Path("s.zarr"), k=2)
    chunk = Path("s.zarr/images/b.png/labels/kmeans/0/c/0/0")
    content = bytearray(chunk.read_bytes())
    content[-6] ^= 1
    chunk.write_bytes(content)
    return chunk


@pytest.mark.usefixtures("damaged")
def test_a_repaired_store_exits_0_and_says_what_was_made_anew(kseg: Kseg) -> None:
    assert kseg("check s.zarr").code == 1
    outcome = kseg("check s.zarr --repair")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[:2] == ["made anew: 1 image", "  b.png"]
    assert "s.zarr: complete and right" in outcome.out
    assert kseg("check s.zarr").code == 0


@pytest.mark.usefixtures("damaged")
def test_a_program_is_told_the_names(kseg: Kseg) -> None:
    told = kseg("check s.zarr --repair --json").json()
    counted = {"images": 3, "compared": 3, "not_compared": {}, "damaged": []}
    assert told == {"status": "ok", "problems": [], **counted, "repaired": ["b.png"]}
    assert kseg("check s.zarr --repair --json").json()["repaired"] == []
    assert "repaired" not in kseg("check s.zarr --json").json()


@pytest.mark.usefixtures("damaged")
def test_what_cannot_be_repaired_exits_1_and_is_named_with_the_reason(kseg: Kseg) -> None:
    Path("in/b.png").unlink()
    outcome = kseg("check s.zarr --repair")
    assert outcome.code == 1
    assert "b.png: cannot be made anew (in/b.png: the image it was labelled from is not there any more" in outcome.out
    assert "made anew:" not in outcome.out


def test_a_store_that_is_being_written_exits_11_and_is_left_alone(damaged: Path, kseg: Kseg) -> None:
    before = damaged.read_bytes()
    with hold("s.zarr"):
        outcome = kseg("check s.zarr --repair")
    assert (outcome.code, outcome.out) == (11, "")
    assert damaged.read_bytes() == before


@pytest.mark.usefixtures("here")
def test_a_model_has_nothing_to_repair(kseg: Kseg) -> None:
    assert kseg("fit in --k 2 --attempts 1 -o m.zarr").code == 0
    assert kseg("check m.zarr --repair --json").json()["repaired"] == []
    chunk = Path("m.zarr/colors/c/0/0")
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert kseg("check m.zarr --repair").code == 1
