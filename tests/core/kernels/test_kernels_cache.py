"""Compiled kernels are kept; where they cannot be, or what was kept is damaged, they are compiled anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kseg_core.kernels._cache import KernelFile

#: A program of its own: loads the kernels, uses one, and says how often it was found on the disk and how often not.
USE_ONE = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(message)s")
{before}
import numpy as np
from kseg_core.kernels import sampling
{between}
values = [int(sampling.mix64(np.uint64(value))) for value in (1, 2)]
stats = sampling.mix64.stats
print(values, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""

Use = Callable[..., tuple[str, int, int, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def use(folder: Path, program_environment: dict[str, str]) -> Use:
    """Runs the program; returns the values, hits, misses, and what it said."""

    def run(before: str = "", between: str = "", **environment: str) -> tuple[str, int, int, str]:
        code = USE_ONE.format(before=before, between=between)
        there = {**program_environment, "NUMBA_CACHE_DIR": str(folder), **environment}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=there, timeout=300)
        assert done.returncode == 0, done.stderr
        values, hits, misses = done.stdout.rsplit(maxsplit=2)
        return values, int(hits), int(misses), done.stderr

    return run


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "mix64" in path.name)


def test_what_was_compiled_is_found_by_the_next_process(use: Use, folder: Path) -> None:
    first = use()
    assert (first[1], first[3]) == (0, "")
    assert len(kept(folder)) == first[2] > 0
    assert use() == (first[0], first[2], 0, "")
    assert not list(folder.rglob("*.partial"))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # within the machine code
    path.write_bytes(content)


def deny(path: Path) -> None:
    path.unlink()
    path.mkdir()  # which not even root can read


@pytest.mark.parametrize("damage", [cut, pytest.param(empty, marks=pytest.mark.slow), flip])
def test_what_is_damaged_is_compiled_anew_and_kept_again(
    damage: Callable[[Path], None], use: Use, folder: Path
) -> None:
    values, _, compiled, _ = use()
    for path in kept(folder):
        damage(path)
    assert use() == (values, 0, compiled, "")
    assert use() == (values, compiled, 0, "")


def test_what_cannot_be_read_is_compiled_anew_and_told(use: Use, folder: Path) -> None:
    values, _, compiled, _ = use()
    for path in kept(folder):
        deny(path)
    again = use()
    assert again[:3] == (values, 0, compiled)
    assert again[3].count("compiled kernels cannot be kept in") == 1


def test_code_of_another_signature_is_not_taken_for_this_one(tmp_path: Path) -> None:
    file = KernelFile(str(tmp_path), "function-1.py311")
    for key in ("of integers", "of floats"):
        file.save(key, f"code {key}")
    assert file.load("of integers") == "code of integers"
    shutil.copy(file.path("of floats"), file.path("of integers"))
    assert file.load("of integers") is None
    assert file.load("of floats") == "code of floats"


def test_a_kernel_is_compiled_anew_where_a_helper_in_another_module_has_changed(use: Use, folder: Path) -> None:
    values, _, compiled, _ = use()
    change = "from kseg_core.kernels import _cache; _cache.sources_digest = lambda: b'of other sources'"
    assert use(between=change) == (values, 0, compiled, "")


#: A disk that fills up, or on which nobody may write, once the kernels are loaded.
FULL = """
import errno, os
from kseg_core import storage
def put(path, parts):
    raise OSError(errno.{error}, os.strerror(errno.{error}), path)
storage.put = put
"""


@pytest.mark.parametrize(
    "error", ["ENOSPC", "EROFS", *(pytest.param(error, marks=pytest.mark.slow) for error in ("EDQUOT", "EACCES"))]
)
def test_a_full_or_read_only_disk_is_told_once_with_what_to_do_and_ends_nothing(
    error: str, use: Use, folder: Path
) -> None:
    values, hits, misses, said = use(between=FULL.format(error=error))
    assert values == use()[0]
    assert (hits, misses > 0) == (0, True)
    (line,) = said.splitlines()
    assert line.startswith(f"WARNING compiled kernels cannot be kept in {folder}")
    assert "NUMBA_CACHE_DIR" in line


def test_a_folder_that_disappears_is_made_again(use: Use, folder: Path) -> None:
    values, _, compiled, said = use(between=f"import shutil; shutil.rmtree({str(folder)!r})")
    assert said == ""
    assert use() == (values, compiled, 0, "")


#: No folder anywhere, from the start: what Numba finds where all are read-only.
NOWHERE = """
import tempfile
def none(*_, **__):
    raise OSError(30, "Read-only file system")
tempfile.TemporaryFile = none
"""


def test_where_no_folder_can_be_written_at_all_kernels_work_and_it_is_told_once(use: Use, folder: Path) -> None:
    values, hits, misses, said = use(before=NOWHERE)
    assert values == use()[0]
    assert (hits, misses > 0) == (0, True)
    (line,) = said.splitlines()
    assert str(folder) in line
    assert "NUMBA_CACHE_DIR" in line


def test_python_itself_runs_the_kernels_where_numba_is_told_to_do_nothing(program_environment: dict[str, str]) -> None:
    code = "from kseg_core.kernels import sampling; assert not hasattr(sampling.mix64, 'stats')"
    there = {**program_environment, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=there, timeout=120)
