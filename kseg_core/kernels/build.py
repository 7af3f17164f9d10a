"""Compile kernels ahead of their first use: when the package is installed, and for ``kseg-batch warm``."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from kseg_core.errors import KsegError

from . import INSTEAD, _jit, _kept, _machine
from . import __path__ as package_path
from ._types import Result, Signature

MOST_PROCESSES = 8

#: What the processors have that a wheel for all is made for: by `platform.machine`, the name and features of LLVM.
BASELINES = {
    "x86_64": (
        "x86-64-v3",
        "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+crc32,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,+popcnt,+sahf,"
        "+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave",
    ),
    "aarch64": ("generic", "+fp-armv8,+neon"),
}
BASELINES["AMD64"] = BASELINES["x86_64"]
BASELINES["arm64"] = BASELINES["aarch64"]


def declared() -> list[tuple[str, Signature]]:
    """Every signature that is compiled ahead; modules of other devices, which may need what is not here, have none.

    Raises
    ------
    ValueError
        If an entry of `INSTEAD` is of no kernel.
    """
    of_devices = {entry.partition(":")[0] for entry in INSTEAD.values()}
    for module in pkgutil.iter_modules(package_path):
        name = f"{__package__}.{module.name}"
        if not module.name.startswith("_") and name not in of_devices:
            importlib.import_module(name)
    if _jit.kernels and (unknown := INSTEAD.keys() - _jit.kernels):
        raise ValueError(f"INSTEAD is of kernels, {', '.join(_jit.kernels)}; got {', '.join(sorted(unknown))}")
    return [(name, signature) for name, kernel in _jit.kernels.items() for signature in kernel.declared]


def every() -> list[tuple[str, Signature]]:
    """These, and what all of them use."""
    return [*declared(), (_jit.SUPPORT.name, _jit.SUPPORT.signature)]


def missing() -> list[tuple[str, Signature]]:
    """Those of which no code is there that runs on this processor."""
    return [one for one in every() if not any(_kept.find(_kept.Entry(*one)))]


@cache
def must_compile() -> bool:
    """Whether a job may have to compile a kernel first: code of some is neither installed nor kept."""
    return not _kept.installed() and bool(missing())  # what is installed was made whole


def baseline_environment() -> dict[str, str]:
    """The variables with which code is made for a wheel that goes to other machines.

    Raises
    ------
    LookupError
        If there is no such wheel for this kind of machine.
    """
    cpu, features = BASELINES[platform.machine()]
    return {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}


def build(folder: Path, wanted: list[tuple[str, Signature]]) -> list[str]:
    """Compile signatures into a folder, in several processes, for the processor that `_machine.host` names.

    Returns
    -------
    Names of the kernels whose code cannot be kept: they are compiled whenever they are needed.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    _kept.write_target(folder, _machine.host())
    rooms: dict[str, list[tuple[str, Signature]]] = {}
    for name, signature in wanted:  # a module's kernels in one process: what they have in common is compiled once
        rooms.setdefault(name.partition(".")[0], []).append((name, signature))
    parts = sorted(rooms.values(), key=len, reverse=True)
    processes = max(1, min(os.cpu_count() or 1, MOST_PROCESSES, len(parts)))
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return sorted({name for each in pool.map(_compile_into, [folder] * len(parts), parts) for name in each})


class Warmed(NamedTuple):
    """What `warm` found and did: signatures that were there, and that were compiled into the folder; and the names of
    kernels whose code cannot be kept.
    """

    there: int
    compiled: int
    folder: str | None
    failed: tuple[str, ...] = ()


def warm() -> Warmed:
    """Compile and keep what is declared and not there yet.

    Raises
    ------
    KsegError
        If there is no folder to keep it in.
    """
    wanted = missing()
    there = len(every()) - len(wanted)
    if not wanted:
        return Warmed(there, 0, None)
    reasons = []
    for folder in _kept.folders():
        try:
            failed = build(folder, wanted)
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
            continue
        left = len(missing())
        return Warmed(there, len(wanted) - left, str(folder), tuple(failed))
    raise KsegError(
        f"compiled kernels can be kept nowhere ({'; '.join(reasons)}); name a folder with room in NUMBA_CACHE_DIR"
    )


def _compile_into(folder: Path, wanted: list[tuple[str, Signature]]) -> list[str]:
    gc.disable()  # a compiler makes many objects and few cycles, and this process ends soon
    failed = []
    for one in wanted:
        entry = _kept.Entry(*one)
        code = next(filter(None, map(entry.read, _kept.folders())), None)  # an earlier build kept it
        if code is None:
            try:
                code = _compiled(*one)
            except RuntimeError:
                failed.append(one[0])
                continue
            _kept.keep(entry, *code)
        if folder not in _kept.folders():
            entry.write(folder, *code)
    return failed


def _compiled(name: str, signature: Signature) -> tuple[str, Result, bytes]:
    if name == _jit.SUPPORT.name:
        from . import _compile

        return "", Result(False, ()), _compile.support_object()
    if not _jit.kernels:
        declared()
    return _jit.kernels[name].compile(signature)


def main() -> None:
    """Compile all that is declared into the folder that the command line names; the user's cache has it too then."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_kept.users_cache()))  # and not the source's folder
    for name in build(Path(sys.argv[1]), every()):
        print(name)


if __name__ == "__main__":
    main()
