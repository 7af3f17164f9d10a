"""The one way kernels are declared, compiled and called.

A kernel is a function of arrays and numbers. Its machine code is looked for where `_kept` says, compiled where there is
none (`_compile`, the only module that needs Numba), and linked into this process (`_machine`). Calls let other threads
run. With ``NUMBA_DISABLE_JIT=1`` Python itself runs the function. What another device runs is an entry of `INSTEAD`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from functools import cache, update_wrapper
from typing import Any, TypeVar, cast

from . import INSTEAD, _kept, stand_in
from ._machine import Code, Support, link
from ._types import Result, Signature, kind_of

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger("kseg")

_helpers: list[Callable[..., Any]] = []  # of which Numba does not know yet
kernels: dict[str, Kernel] = {}
_lock = threading.RLock()
compiling: list[str] = []  # what is being compiled now: a look at it tells why a stage takes longer


def kernel(*signatures: str) -> Callable[[F], F]:
    """Compile a function; the signatures are those that are compiled when the package is installed.

    Each is the words of `_types`, with blanks between; another one is compiled when it is first called for. A kernel
    takes arrays and numbers alone, as the calling convention that is known here has no tuples: what belongs together
    is grouped where it is called (`Cells`, `BandPixels`), and a few kernels have more than six parameters.
    """

    def declare(function: F) -> F:
        if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
            return function
        made = Kernel(function, [tuple(signature.split()) for signature in signatures])
        kernels[made.name] = made
        return cast("F", made)

    return declare


def inlined(function: F) -> F:
    """A helper of kernels: compiled into its callers, and for Python the function it is.

    Its parameters are its caller's arrays, one by one: blocks and sums of other lengths in each caller.
    """
    _helpers.append(function)
    return function


class Kernel:
    """A function that runs as machine code.

    Attributes
    ----------
    name
        Module and function, as in the names of files.
    declared
        The signatures that are compiled when the package is installed.
    """

    def __init__(self, function: Callable[..., Any], declared: list[Signature]) -> None:
        update_wrapper(self, function)
        self.function, self.declared = function, declared
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._defaults = function.__defaults__ or ()
        self._arity = function.__code__.co_argcount
        self._codes: dict[Signature, Callable[[tuple[Any, ...]], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        missing = self._arity - len(arguments)
        if missing:
            if not 0 < missing <= len(self._defaults):
                raise TypeError(f"{self.name} takes {self._arity} arguments, not {len(arguments)}")
            arguments += self._defaults[len(self._defaults) - missing :]
        if self.name in INSTEAD and (instead := stand_in(INSTEAD[self.name])) is not None:
            back = instead(*arguments)
            if back is not NotImplemented:
                return back
        signature = tuple(map(kind_of, arguments))
        code = self._codes.get(signature) or self._load(signature)
        return code(arguments)

    def __reduce__(self) -> str:
        return self.function.__name__  # other processes have it by its name

    def _load(self, signature: Signature) -> Callable[[tuple[Any, ...]], Any]:
        with _lock:
            if signature not in self._codes:
                entry = _kept.Entry(self.name, signature)
                self._codes[signature] = self._found(entry) or self._compile(entry)
            return self._codes[signature]

    def _found(self, entry: _kept.Entry) -> Code | None:
        for name, result, content in _kept.find(entry):
            with contextlib.suppress(RuntimeError):  # it cannot be linked here, which is as good as none
                return Code(content, name, entry.signature, result, _support())
        return None

    def compile(self, signature: Signature) -> tuple[str, Result, bytes]:
        """Compile a signature: what `_compile.compile_kernel` gives.

        Raises
        ------
        RuntimeError
            If the code cannot be called, or asks for more of Numba than `_compile.support_object` has.
        """
        from . import _compile

        _register_helpers()
        name, result, content = _compile.compile_kernel(self.function, signature)
        link(content, (name,), _support().imports)
        return name, result, content

    def _compile(self, entry: _kept.Entry) -> Callable[[tuple[Any, ...]], Any]:
        log.info("compiling %s, this once", self.name)
        compiling.append(self.name)
        try:
            name, result, content = self.compile(entry.signature)
            code = Code(content, name, entry.signature, result, _support())
        except (ImportError, AttributeError, RuntimeError) as error:  # what is used of Numba's inside is not as it was
            log.debug("%s: %s", self.name, error)
            _tell_once(self.name)
            return _by_numba(self.function)
        finally:
            compiling.remove(self.name)
        _kept.keep(entry, name, result, content)
        return code


def _by_numba(function: Callable[..., Any]) -> Callable[[tuple[Any, ...]], Any]:
    """A kernel as Numba itself compiles and calls it, by what it promises to everybody, for this process alone."""
    import numba

    _register_helpers()
    compiled = numba.njit(nogil=True)(function)
    return lambda arguments: compiled(*arguments)


def _register_helpers() -> None:
    """Let what Numba compiles call the helpers, which are compiled with it."""
    from numba.extending import register_jitable

    while _helpers:
        register_jitable(no_cpython_wrapper=True, no_cfunc_wrapper=True)(_helpers.pop())


@cache
def _tell_once(name: str) -> None:
    log.warning("%s is compiled at every start: what this version of Numba makes of it cannot be kept", name)


SUPPORT = _kept.Entry("support", ())


@cache
def _support() -> Support:
    with _lock:
        for _, _, content in _kept.find(SUPPORT):
            return Support(content)
        from . import _compile

        content = _compile.support_object()
        _kept.keep(SUPPORT, "", Result(False, ()), content)
        return Support(content)
