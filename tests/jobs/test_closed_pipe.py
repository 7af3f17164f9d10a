"""Whoever reads what a command prints may go before it does: what was done is done, and is said in a line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_has_gone_undoes_nothing(
    flags: list[str], small_folder: Path, tmp_path: Path, program_environment: dict[str, str], kseg: Any
) -> None:
    read, write = os.pipe()
    os.close(read)
    out = tmp_path / "out.zarr"
    command = [sys.executable, "-m", "jobs", "run", str(small_folder), "--k", "2", "-o", str(out), *flags]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=program_environment, timeout=120)
    os.close(write)
    assert done.returncode == 0
    (line,) = done.stderr.decode().splitlines()
    assert f"the work is done and written to {out}" in line
    assert kseg("check", out).code == 0
