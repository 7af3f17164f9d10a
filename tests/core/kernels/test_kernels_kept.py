"""Compiled kernels are kept and found without Numba; where they cannot be, or are damaged, they are compiled anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest

from kseg_core.kernels import _kept, _machine
from kseg_core.kernels._types import Result
from tests.command_lines import environment_of_programs

#: A program of its own: uses one kernel, and says what came out and whether it had to load the compiler.
USE_ONE = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(message)s")
{before}
from kseg_core.kernels import sampling
{between}
print([int(at) for at in sampling.picked_pixels(9, 7, 0, 0, 2, 5)], "numba" in sys.modules)
"""

Use = Callable[..., tuple[str, bool, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def run(folder: Path, before: str = "", between: str = "", **environment: str) -> tuple[str, bool, str]:
    """Run the program with a folder of its own; the values, whether it compiled, and what it said."""
    nothing_installed = "from kseg_core.kernels import _kept; _kept.installed = lambda: ()\n"
    code = USE_ONE.format(before=before, between=nothing_installed + between)
    there = {**environment_of_programs(), "NUMBA_CACHE_DIR": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=there, timeout=300)
    assert done.returncode == 0, done.stderr
    values, compiled = done.stdout.rsplit(maxsplit=1)
    return values, compiled == "True", done.stderr


@pytest.fixture
def use(folder: Path) -> Use:
    return partial(run, folder)


@cache
def compiled_once(place: Path) -> str:
    values, compiled, said = run(place)
    assert (compiled, said) == (True, "")
    return values


@pytest.fixture
def values(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What comes out; a program that was run before has kept its code in the folder."""
    place = tmp_path_factory.getbasetemp() / "compiled-once"
    found = compiled_once(place)
    shutil.copytree(place, folder)
    return found


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.kernel"))


def test_what_was_compiled_is_found_by_the_next_process_which_loads_no_compiler(
    use: Use, folder: Path, values: str
) -> None:
    assert kept(folder)
    assert use() == (values, False, "")
    assert not list(folder.rglob("*.partial"))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # within the machine code
    path.write_bytes(content)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


@pytest.mark.few(1)
@pytest.mark.parametrize("damage", [cut, empty, flip, lengthen])
def test_what_is_damaged_is_compiled_anew_and_kept_again(
    damage: Callable[[Path], None], use: Use, folder: Path, values: str
) -> None:
    for path in kept(folder):
        damage(path)
    assert use() == (values, True, "")
    assert use() == (values, False, "")


@pytest.mark.slow
def test_what_cannot_be_read_is_compiled_anew_and_told_once(use: Use, folder: Path, values: str) -> None:
    for path in kept(folder):
        path.unlink()
        path.mkdir()  # which not even root can read or replace
    _, compiled, said = use()
    assert compiled
    assert said.count("compiled kernels cannot be kept in") == 1


def test_code_of_another_signature_or_kernel_is_not_taken_for_this_one(tmp_path: Path) -> None:
    one, other = _kept.Entry("room.kernel", ("i",)), _kept.Entry("room.kernel", ("d",))
    for entry in (one, other):
        entry.write(tmp_path, "name", Result(True, ("i", "d")), b"code " + entry.signature[0].encode())
    assert one.read(tmp_path) == ("name", Result(True, ("i", "d")), b"code i")
    shutil.copy(tmp_path / other.file, tmp_path / one.file)
    assert one.read(tmp_path) is None
    assert other.read(tmp_path) is not None


@pytest.mark.slow
def test_a_kernel_is_compiled_anew_where_a_helper_in_another_module_has_changed(use: Use, values: str) -> None:
    assert use(between="_kept.sources_digest = lambda: 'of other sources'") == (values, True, "")
    assert use() == (values, False, "")


#: A disk that fills up, or on which nobody may write, once the kernels are loaded.
FULL = """
import errno, os
from kseg_core import storage
def put(path, parts):
    raise OSError(errno.{error}, os.strerror(errno.{error}), path)
storage.put = put
"""


@pytest.mark.few(1)
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS", "EACCES"])
def test_a_full_or_read_only_disk_is_told_once_with_what_to_do_and_ends_nothing(
    error: str, tmp_path: Path, values: str
) -> None:
    folder = tmp_path / "full"
    found, compiled, said = run(folder, between=FULL.format(error=error))
    assert (found, compiled) == (values, True)
    (line,) = said.splitlines()
    assert line.startswith(f"WARNING compiled kernels cannot be kept in {folder}")
    assert "NUMBA_CACHE_DIR" in line


@pytest.mark.slow
def test_where_no_folder_can_be_written_at_all_kernels_work_and_it_is_told_once(tmp_path: Path, values: str) -> None:
    (tmp_path / "file").write_text("no folder")
    found, compiled, said = run(tmp_path / "file")
    assert (found, compiled) == (values, True)
    (line,) = said.splitlines()
    assert "NUMBA_CACHE_DIR" in line


def test_python_itself_runs_the_kernels_where_numba_is_told_to_do_nothing(use: Use, values: str) -> None:
    assert use(NUMBA_DISABLE_JIT="1", PYTHONWARNINGS="ignore") == (values, False, "")


# ------------------------------------------------------------------------------------- code made when it was installed


def install(folder: Path, place: Path, features: str | None = None, cpu: str | None = None) -> None:
    """Make what was kept in a folder one that was made with the package."""
    (source,) = folder.glob("kernels/*")
    shutil.copytree(source, place)
    target = json.loads((place / _kept.TARGET).read_text())
    target["features"] = target["features"] if features is None else features
    target["cpu"] = target["cpu"] if cpu is None else cpu
    (place / _kept.TARGET).write_text(json.dumps(target))
    shutil.rmtree(folder)


def with_installed(folder: Path) -> str:
    """Code in the program: this is the package's own folder."""
    return f"_kept.HERE, _kept.sources_digest = _kept.Path({str(folder)!r}), lambda d=_kept.sources_digest(): d\n" + (
        "import functools, importlib; _kept.installed = functools.cache(lambda: _kept.sound(_kept.HERE))\n"
    )


def test_code_made_with_the_package_is_used_where_nothing_can_be_written(
    use: Use, folder: Path, tmp_path: Path, values: str
) -> None:
    install(folder, tmp_path / "package/compiled/native")
    between = with_installed(tmp_path / "package") + FULL.format(error="EROFS")
    assert use(between=between) == (values, False, "")


@pytest.mark.slow
def test_code_for_a_processor_that_has_more_than_this_one_is_not_taken_and_compiled_beside_it(
    use: Use, folder: Path, tmp_path: Path, values: str
) -> None:
    install(folder, tmp_path / "package/compiled/native", features="+sse2,+feature-of-tomorrow")
    before = sorted((tmp_path / "package").rglob("*"))
    assert use(between=with_installed(tmp_path / "package")) == (values, True, "")
    assert sorted((tmp_path / "package").rglob("*")) == before
    assert use(between=with_installed(tmp_path / "package")) == (values, False, "")


@pytest.mark.slow
def test_code_for_a_processor_that_has_less_than_this_one_is_taken(
    use: Use, folder: Path, tmp_path: Path, values: str
) -> None:
    install(folder, tmp_path / "package/compiled/baseline", features="", cpu="of-yesterday")
    assert use(between=with_installed(tmp_path / "package")) == (values, False, "")


@pytest.mark.slow
def test_code_of_other_sources_than_the_package_s_is_not_taken(
    use: Use, folder: Path, tmp_path: Path, values: str
) -> None:
    place = tmp_path / "package/compiled/native"
    install(folder, place)
    target = json.loads((place / _kept.TARGET).read_text())
    (place / _kept.TARGET).write_text(json.dumps({**target, "sources": "others"}))
    assert use(between=with_installed(tmp_path / "package")) == (values, True, "")


@pytest.mark.slow
@pytest.mark.skipif(_machine.host().machine.split("-")[1] not in ("x86_64", "amd64"), reason="names of x86 processors")
def test_another_processor_that_is_asked_for_gets_code_of_its_own_with_the_same_values(
    use: Use, folder: Path, values: str
) -> None:
    older = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"}
    assert use(**older) == (values, True, "")
    assert use(**older) == (values, False, "")
    assert use() == (values, False, "")
    assert len(list(folder.glob("kernels/*"))) == 2


UNKNOWN = """
from kseg_core.kernels import _compile
def refuse(*_):
    raise _compile.UnknownConvention("arguments go by pigeon")
_compile._refuse_other_convention = refuse
"""


def test_a_numba_that_calls_in_another_way_runs_the_kernels_itself_and_it_is_told_once(
    tmp_path: Path, values: str
) -> None:
    found, _, said = run(tmp_path / "nothing", between=UNKNOWN)
    assert found == values
    assert said.count("WARNING") == 1
    assert "is compiled at every start" in said
