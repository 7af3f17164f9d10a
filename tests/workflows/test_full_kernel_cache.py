"""A job goes on where compiled kernels cannot be kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.killing import folder_of_pictures

#: A disk that is full when a kernel is to be kept, of which one is not there yet.
FULL_CACHE = """
import errno, os
from kseg_core import storage
from kseg_core.kernels._kept import Entry
sound, found = storage.put, Entry.read
def put(path, parts):
    if path.endswith(".kernel"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    sound(path, parts)
def read(self, folder):
    return None if "count_colors" in self.name else found(self, folder)
storage.put, Entry.read = put, read
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [pytest.param("threads", marks=pytest.mark.slow), "processes"])
def test_a_disk_without_room_for_compiled_kernels_is_told_once_and_ends_nothing(
    scheduler: str, tmp_path: Path, program_environment: dict[str, str]
) -> None:
    folder_of_pictures(tmp_path / "in", 4)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(FULL_CACHE)
    path = os.pathsep.join([str(tmp_path / "site"), program_environment["PYTHONPATH"]])
    line = ["run", "in", "--k", "2", "--attempts", "1", "--scheduler", scheduler, "--workers", "2"]
    line += ["--log-format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "jobs", *line],
        cwd=tmp_path,
        env={**program_environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (said,) = map(json.loads, done.stderr.splitlines())
    assert (said["level"], said["logger"]) == ("warning", "kseg")
    assert re.search("compiled kernels cannot be kept in .*kernels.*No space left", said["message"])
    assert "NUMBA_CACHE_DIR" in said["message"]
