"""One writer at a time, who it is, and what becomes of a lock whose holder has died."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kseg_core.errors import OutputHeld, StoreError
from kseg_core.resume.lock import Holder, hold

HOLD = """
import sys, time
from kseg_core.resume.lock import hold
with hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(100)
"""


@contextmanager
def held_by_another_process(output: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(output)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_nothing_is_left_of_a_lock(tmp_path: Path) -> None:
    with hold(str(tmp_path / "new" / "out.zarr")):
        assert sorted(os.listdir(tmp_path / "new")) == [".out.zarr.lock", ".out.zarr.lock.json"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), hold(str(tmp_path / "out.zarr")):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_who_holds_it_is_told(tmp_path: Path, program_environment: dict[str, str]) -> None:
    output = tmp_path / "out.zarr"
    with held_by_another_process(output, program_environment) as other:
        with pytest.raises(OutputHeld) as refused, hold(str(output)):
            pytest.fail("held twice")
        told = Holder.read(str(tmp_path / ".out.zarr.lock.json"))
        assert told is not None
        assert (told.pid, told.host, told.lives) == (other.pid, socket.gethostname(), True)
        assert str(refused.value) == f"another run holds {output}: {told}; wait for it"
        assert f"pid {other.pid}" in str(told)
        with hold(str(tmp_path / "another.zarr")):  # outputs in one folder never meet
            pass
    assert sorted(os.listdir(tmp_path)) == [".out.zarr.lock", ".out.zarr.lock.json"]  # as killed processes leave it


def test_one_output_by_two_names_is_one_output(tmp_path: Path, program_environment: dict[str, str]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    linked = str(tmp_path / "link" / "." / "out.zarr")
    with (
        held_by_another_process(tmp_path / "real" / "out.zarr", program_environment),
        pytest.raises(OutputHeld),
        hold(linked),
    ):
        pytest.fail("held twice")


def test_a_lock_of_a_killed_process_is_taken_over_with_a_warning(
    tmp_path: Path, program_environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out.zarr"
    with held_by_another_process(output, program_environment) as other:
        pass
    with caplog.at_level(logging.WARNING, "kseg"), hold(str(output)):
        pass
    assert f"taking over from a run that was killed (pid {other.pid} " in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_process_number_that_was_given_again_is_no_sign_of_life(tmp_path: Path) -> None:
    holder = Holder("me", socket.gethostname(), os.getppid(), "2024-01-01T00:00:00+00:00", 1.0)
    assert not holder.lives
    assert Holder.this().lives


def test_a_lock_of_another_machine_is_refused_with_what_to_do(tmp_path: Path) -> None:
    told = tmp_path / ".out.zarr.lock.json"
    told.write_text(json.dumps({"owner": "ann", "host": "far", "pid": 7, "since": "2024-01-01", "started": 5.0}))
    with pytest.raises(OutputHeld) as refused, hold(str(tmp_path / "out.zarr")):
        pytest.fail("held twice")
    assert "pid 7 of ann on far, since 2024-01-01" in str(refused.value)
    assert f"remove {told}" in str(refused.value)
    assert told.exists()
    told.unlink()
    with hold(str(tmp_path / "out.zarr")):
        pass


HELD = {"owner": "ann", "host": socket.gethostname(), "pid": 1, "since": "2024-01-01", "started": 5.0}
NOBODY = [
    HELD | odd for odd in ({"pid": -1}, {"pid": 0}, {"pid": 1 << 70}, {"pid": "1"}, {"host": None}, {"started": ""})
]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": 1}', "[" * 100000, *map(json.dumps, NOBODY)])
def test_a_file_that_names_nobody_is_no_lock(content: str, tmp_path: Path) -> None:
    (tmp_path / ".out.zarr.lock.json").write_text(content)
    with hold(str(tmp_path / "out.zarr")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"), hold(str(tmp_path / "file" / "out.zarr")):
        pytest.fail("held")


@pytest.mark.parametrize("output", ["/proc/out.zarr", "{here}/file/a/out.zarr", "{here}/out.zarr"])
def test_what_cannot_be_written_is_not_held_by_another_run(output: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / ".out.zarr.lock").mkdir()  # in the lock's way
    if output.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("no /proc here")
    told = pytest.raises(StoreError, match=r"the output cannot be written .* choose another with -o")
    with told as caught, hold(output.format(here=tmp_path)):
        pytest.fail("held")
    assert "/file/a" not in output or f"{tmp_path}/file is a file, not a folder" in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
@pytest.mark.parametrize("lock", [True, False])
def test_no_permission_for_the_lock_is_not_held_by_another_run(lock: bool, tmp_path: Path) -> None:
    if lock:
        (tmp_path / ".out.zarr.lock").touch(0o444)
    tmp_path.chmod(0o555)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # who may write everywhere is made somebody who may not
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            with hold(str(tmp_path / "out.zarr")):
                os.write(write, b"held")
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        told = answer.read().decode()
    os.waitpid(child, 0)
    tmp_path.chmod(0o755)
    assert told.startswith("StoreError: ")
    assert "the output cannot be written (permission denied" in told


def test_the_longest_name_has_a_lock_too(tmp_path: Path) -> None:
    with hold(str(tmp_path / ("n" * 250))):
        assert len(list(tmp_path.iterdir())) == 2
