"""Loading and calling compiled kernels without Numba: object files, linked by LLVM into this process."""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
import platform
import struct
import threading
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding
from llvmlite.binding.orcjit import JITLibraryBuilder, create_lljit_compiler

from ._types import ARRAY_WORDS, Result, Signature, dtype_of, is_array, ndim_of

_numbers = itertools.count()
_linking = threading.Lock()


class Target(NamedTuple):
    """A kind of processor."""

    machine: str  # as `platform` names it, with the system's name
    cpu: str  # as LLVM names it
    features: str  # of LLVM, with a plus for each that is there


@cache
def host() -> Target:
    """The processor at hand, or the one that ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name."""
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = binding.get_host_cpu_features().flatten()
    cpu = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    return Target(machine(), cpu, features)


def machine() -> str:
    """System and architecture, and how its C library is called where there are several."""
    return "-".join(part for part in (platform.system(), platform.machine(), platform.libc_ver()[0]) if part).lower()


def runs_here(code: Target) -> bool:
    """Whether code for a processor is sound on this one: it has all that the code may use."""
    here = host()
    if code.machine != here.machine:
        return False
    if os.environ.get("NUMBA_CPU_NAME") and code.cpu != here.cpu:
        return False
    return _present(code.features) <= _present(here.features)


def _present(features: str) -> set[str]:
    return {word for word in features.split(",") if word.startswith("+")}


@cache
def initialize() -> None:
    """Let LLVM know this processor."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


@cache
def _jit() -> Any:
    initialize()
    jit = create_lljit_compiler(suppress_errors=True)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(jit))  # for good: threads may run its code when the interpreter ends
    return jit


def link(content: bytes, symbols: tuple[str, ...], imports: dict[str, int]) -> list[int]:
    """Link an object file for as long as this process lives; the addresses of symbols.

    Raises
    ------
    RuntimeError
        If it needs a symbol that is not there, or is no object file.
    """
    builder = JITLibraryBuilder().add_object_img(content).add_current_process()
    for name in symbols:
        builder.export_symbol(name)
    for name, address in imports.items():
        builder.import_symbol(name, address)
    with _linking:
        loaded = builder.link(_jit(), f"kseg-{next(_numbers)}")
    addresses = [loaded[name] for name in symbols]
    loaded.detach()  # it stays loaded when this object goes
    return addresses


class Support:
    """What loaded kernels call: memory for the arrays they make, foremost. An object of `_compile.support_object`."""

    def __init__(self, content: bytes) -> None:
        names = ("NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor", "numba_frexp", "kseg_release")
        *of_kernels, release = link(content, names, {})
        self.imports = dict(zip(names, of_kernels, strict=False))
        self.release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(release)


class _Owner:
    """Keeps the memory of an array that a kernel made for as long as NumPy looks at it."""

    def __init__(self, block: int, release: Any, interface: dict[str, Any]) -> None:
        self._block, self._release = block, release
        self.__array_interface__ = interface

    def __del__(self) -> None:
        self._release(self._block)


class Code:
    """One compiled signature, called as the kernel itself is.

    Parameters
    ----------
    content
        An object file of `_compile.compile_kernel`.
    entry
        The name of the function in it.
    signature, result
        What it takes and gives back.
    support
        What it calls.
    """

    def __init__(self, content: bytes, entry: str, signature: Signature, result: Result, support: Support) -> None:
        (address,) = link(content, (entry,), support.imports)
        self._release = support.release
        self._arrays = tuple(map(is_array, signature))
        self._result = result
        self._words = struct.Struct("".join(_result_words(kind) for kind in result.kinds))
        kinds: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
        for kind in signature:
            kinds += _argument_words(kind)
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(address)

    def __call__(self, arguments: tuple[Any, ...]) -> Any:
        words: list[Any] = []
        for argument, array in zip(arguments, self._arrays, strict=True):
            if array:
                address = argument.__array_interface__["data"][0]
                words += (None, None, argument.size, argument.itemsize, address, *argument.shape, *argument.strides)
            else:
                words.append(argument)
        place = ctypes.create_string_buffer(self._words.size or 8)
        error = ctypes.c_void_p()
        status = self._call(ctypes.addressof(place), ctypes.addressof(error), *words)
        if status > 0 or status == -1:
            raise _error(status, error.value)
        values = iter(self._words.unpack_from(place))
        back = tuple(self._value(kind, values) for kind in self._result.kinds)
        return back if self._result.is_tuple else back[0] if back else None

    def _value(self, kind: str, values: Any) -> Any:
        if not is_array(kind):
            return next(values)
        ndim, dtype = ndim_of(kind), dtype_of(kind)
        block, _, _, _, address = itertools.islice(values, ARRAY_WORDS)
        shape, strides = tuple(itertools.islice(values, ndim)), tuple(itertools.islice(values, ndim))
        interface = {"data": (address, False), "shape": shape, "strides": strides, "typestr": dtype.str, "version": 3}
        return np.asarray(_Owner(block, self._release, interface))


def _result_words(kind: str) -> str:
    if is_array(kind):
        return "q" * (ARRAY_WORDS + 2 * ndim_of(kind))
    return {"b": "?7x", "i": "q", "u": "Q", "d": "d"}[kind]


def _argument_words(kind: str) -> list[Any]:
    if is_array(kind):
        return [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
            *[ctypes.c_int64] * (2 * ndim_of(kind)),
        ]  # fmt: skip
    return [{"b": ctypes.c_bool, "i": ctypes.c_int64, "u": ctypes.c_uint64, "d": ctypes.c_double}[kind]]


class _Raised(ctypes.Structure):
    """What compiled code leaves of an exception: its class and arguments, pickled."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_int32))


def _error(status: int, raised: int | None) -> BaseException:
    if raised is None:
        return RuntimeError(f"a kernel ended with status {status}")
    what = _Raised.from_address(raised)
    kind, arguments, _ = pickle.loads(ctypes.string_at(what.data, what.size))
    return kind(*(arguments or ()))  # type: ignore[no-any-return]
