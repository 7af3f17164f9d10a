"""One writer of an output in an object store: an object made exclusively, and who may put it aside."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys

import pytest

from kseg_core import storage
from kseg_core.errors import OutputHeld, StoreError
from kseg_core.resume.lock import Holder, hold
from tests.object_store import objects_below

LOCK = ".out.zarr.lock.json"


def test_while_it_is_held_it_says_by_whom_and_then_nothing_is_left(bucket: str) -> None:
    with hold(f"{bucket}/new/out.zarr"):
        told = Holder.from_json(storage.read(f"{bucket}/new/{LOCK}"))
        assert told is not None
        assert (told.pid, told.host, told.lives) == (Holder.this().pid, Holder.this().host, True)
    assert objects_below(bucket) == []
    with pytest.raises(ZeroDivisionError), hold(f"{bucket}/out.zarr/"):
        raise ZeroDivisionError
    assert objects_below(bucket) == []


def test_it_is_held_once_even_within_a_process(bucket: str) -> None:
    output = f"{bucket}/out.zarr"
    with hold(output):
        with pytest.raises(OutputHeld, match=f"another run holds {output}: pid .*; wait for it"), hold(output):
            pytest.fail("held twice")
        with hold(f"{bucket}/another.zarr"):
            pass
        assert objects_below(bucket) == [LOCK]


def test_that_of_a_dead_process_of_this_machine_is_taken_over(
    bucket: str, program_environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    code = "import os, sys\nfrom kseg_core.resume.lock import hold\nheld = hold(sys.argv[1])\n"
    code += "held.__enter__()\nos._exit(9)"
    subprocess.run([sys.executable, "-c", code, f"{bucket}/out.zarr"], env=program_environment, check=False)
    assert objects_below(bucket) == [LOCK]
    with caplog.at_level(logging.WARNING, "kseg"), hold(f"{bucket}/out.zarr"):
        told = Holder.from_json(storage.read(f"{bucket}/{LOCK}"))
        assert told == dataclasses.replace(Holder.this(), since=told.since) if told else None
    assert "taking over from a run that was killed" in caplog.text
    assert objects_below(bucket) == []


def test_that_of_another_machine_is_left_with_what_to_remove(bucket: str) -> None:
    other = dataclasses.replace(Holder.this(), host="elsewhere")
    storage.put(f"{bucket}/{LOCK}", [other.to_json()])
    with pytest.raises(OutputHeld) as refused, hold(f"{bucket}/out.zarr"):
        pytest.fail("held twice")
    assert "on elsewhere" in str(refused.value)
    assert f"if it does not, remove {bucket}/{LOCK}" in str(refused.value)
    assert storage.read(f"{bucket}/{LOCK}") == other.to_json()


def test_one_that_cannot_be_read_is_nobodys_to_take(bucket: str) -> None:
    storage.put(f"{bucket}/{LOCK}", [b"damaged"])
    with pytest.raises(OutputHeld, match=f"remove {bucket}/{LOCK}"), hold(f"{bucket}/out.zarr"):
        pytest.fail("held")


def test_a_request_that_was_sent_again_as_its_answer_was_lost_is_no_other_job(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kseg_core.storage import s3

    put_new = s3.put_new

    def unanswered(path: str, content: bytes) -> str:
        put_new(path, content)
        return put_new(path, content)

    monkeypatch.setattr(s3, "put_new", unanswered)
    with hold(f"{bucket}/out.zarr"):
        assert objects_below(bucket) == [LOCK]
    assert objects_below(bucket) == []


def test_who_was_put_aside_by_people_leaves_the_next_ones_lock(bucket: str) -> None:
    with hold(f"{bucket}/out.zarr"):
        storage.remove_file(f"{bucket}/{LOCK}")
        storage.put(f"{bucket}/{LOCK}", [b"the next one"])
    assert storage.read(f"{bucket}/{LOCK}") == b"the next one"


def test_a_place_that_cannot_be_written_is_told(bucket: str) -> None:
    told = r"out.zarr: the output cannot be written \(no such bucket\)"
    with pytest.raises(StoreError, match=told), hold(f"{bucket}-not/out.zarr"):
        pytest.fail("held")
