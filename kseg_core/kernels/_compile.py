"""Machine code of a kernel, by Numba: the one module that loads it, and only where code is missing.

What comes out is a whole object file with one entry, which needs nothing of Numba or Python to run: no wrapper, no
Numba runtime. Its arguments follow Numba's calling convention for the CPU (``numba.core.callconv``: a place for the
result, one for an error, each array as seven words and more); the arrays it makes are blocks of `support_object`.
`compile_kernel` looks whether the Numba at hand still calls that way, and refuses otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import compiler, registry
from numba.core import types as numba_types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import nrtdynmod

from ._machine import initialize
from ._types import ARRAY_WORDS, Result, Signature, dtype_of, is_array, layout_of, ndim_of

types: Any = numba_types  # whose annotations know less than it has

HEADER = 48  # bytes of a block of memory before its data


class UnknownConvention(RuntimeError):
    """This Numba calls or keeps arrays in another way than the one known here."""


def compile_kernel(function: Callable[..., Any], signature: Signature) -> tuple[str, Result, bytes]:
    """Compile one signature: the name of its entry, what it returns, and an object file.

    Raises
    ------
    UnknownConvention
        If such code could not be called.
    """
    with global_compiler_lock:
        target = registry.cpu_target
        target.typing_context.refresh()
        target.target_context.refresh()
        flags = compiler.Flags()
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.nrt = True
        compiled = compiler.compile_extra(
            target.typing_context, target.target_context, function, tuple(map(_numba_type, signature)), None, flags, {}
        )
        returned = compiled.signature.return_type
        result = _result(returned)
        _refuse_other_convention(target.target_context, signature, compiled.signature.args, returned, result)
        return compiled.fndesc.llvm_func_name, result, compiled.library._get_compiled_object()


def _numba_type(kind: str) -> Any:
    if is_array(kind):
        return types.Array(numba.from_dtype(dtype_of(kind)), ndim_of(kind), layout_of(kind))
    return {"b": types.boolean, "i": types.int64, "u": types.uint64, "d": types.float64}[kind]


def _kind(returned: Any) -> str:
    if isinstance(returned, types.Array):
        return f"{returned.layout}{returned.ndim}{np.dtype(returned.dtype.name).str[1:]}"
    kinds = {types.boolean: "b", types.int64: "i", types.uint64: "u", types.float64: "d"}
    if returned not in kinds:
        raise UnknownConvention(f"a kernel returns {returned}")
    return kinds[returned]


def _result(returned: Any) -> Result:
    if returned == types.none:
        return Result(False, ())
    if isinstance(returned, types.BaseTuple):
        return Result(True, tuple(map(_kind, returned)))
    return Result(False, (_kind(returned),))


def _flat(kind: Any) -> list[Any]:
    """The words of a type of LLVM, parts of parts taken apart."""
    if isinstance(kind, ir.ArrayType):
        return [word for _ in range(kind.count) for word in _flat(kind.element)]
    if isinstance(kind, ir.LiteralStructType | ir.IdentifiedStructType):
        return [word for part in kind.elements for word in _flat(part)]
    return [kind]


def _words(kind: str) -> list[str]:
    if is_array(kind):
        return ["p", "p", "i64", "i64", "p", *["i64"] * (2 * ndim_of(kind))]
    return [{"b": "i8", "i": "i64", "u": "i64", "d": "double"}[kind]]


def _name(word: Any) -> str:
    return "p" if isinstance(word, ir.PointerType) else str(word)


def _refuse_other_convention(context: Any, signature: Signature, arguments: Any, returned: Any, result: Result) -> None:
    function = context.call_conv.get_function_type(returned, arguments)
    expected = ["p", "p", *(word for kind in signature for word in _words(kind))]
    header = [_name(word) for word in nrtdynmod._meminfo_struct_type.elements]
    out = [_name(word) for word in _flat(context.call_conv.get_return_type(returned).pointee)] if result.kinds else []
    if (
        [_name(word) for word in function.args] != expected
        or str(function.return_type) != "i32"
        or header != ["i64", "p", "p", "p", "i64"]
        or out != [word for kind in result.kinds for word in _words(kind)]
    ):
        raise UnknownConvention(f"Numba {numba.__version__} calls functions as {function}")
    assert all(len(_words(kind)) == ARRAY_WORDS + 2 * ndim_of(kind) for kind in signature if is_array(kind))


def support_object() -> bytes:
    """An object file with all that compiled code asks of Numba's runtime, under the names by which it does.

    ``NRT_MemInfo_alloc_aligned`` and ``NRT_MemInfo_call_dtor``: blocks of memory that count their users, for the arrays
    that kernels make; ``kseg_release`` for who was given such an array; ``numba_frexp``, which is C's.
    """
    word, byte_pointer = ir.IntType(64), ir.IntType(8).as_pointer()
    module = ir.Module("kseg_support")
    module.triple = binding.get_process_triple()
    malloc = ir.Function(module, ir.FunctionType(byte_pointer, [word]), "malloc")
    free = ir.Function(module, ir.FunctionType(ir.VoidType(), [byte_pointer]), "free")

    alloc = ir.Function(module, ir.FunctionType(byte_pointer, [word, ir.IntType(32)]), "NRT_MemInfo_alloc_aligned")
    build = ir.IRBuilder(alloc.append_basic_block())
    align = build.zext(alloc.args[1], word)
    block = build.call(malloc, [build.add(build.add(alloc.args[0], align), word(HEADER))])
    with build.if_then(build.icmp_unsigned("==", build.ptrtoint(block, word), word(0))):
        build.ret(block)
    address = build.ptrtoint(block, word)
    data = build.and_(build.add(address, build.add(align, word(HEADER - 1))), build.sub(word(0), align))
    for offset, value in ((0, word(1)), (8, word(0)), (16, word(0)), (24, data), (32, alloc.args[0]), (40, word(0))):
        build.store(value, build.inttoptr(build.add(address, word(offset)), word.as_pointer()))
    build.ret(block)

    dtor = ir.Function(module, ir.FunctionType(ir.VoidType(), [byte_pointer]), "NRT_MemInfo_call_dtor")
    build = ir.IRBuilder(dtor.append_basic_block())
    build.call(free, [dtor.args[0]])
    build.ret_void()

    release = ir.Function(module, ir.FunctionType(ir.VoidType(), [byte_pointer]), "kseg_release")
    build = ir.IRBuilder(release.append_basic_block())
    users = build.atomic_rmw("sub", build.bitcast(release.args[0], word.as_pointer()), word(1), "seq_cst")
    with build.if_then(build.icmp_unsigned("==", users, word(1))):
        build.call(free, [release.args[0]])
    build.ret_void()

    frexp_type = ir.FunctionType(ir.DoubleType(), [ir.DoubleType(), ir.IntType(32).as_pointer()])
    frexp = ir.Function(module, frexp_type, "frexp")
    numbas = ir.Function(module, frexp_type, "numba_frexp")
    build = ir.IRBuilder(numbas.append_basic_block())
    build.ret(build.call(frexp, numbas.args))

    initialize()
    parsed = binding.parse_assembly(str(module))
    machine = binding.Target.from_default_triple().create_target_machine(
        reloc="static", codemodel="jitdefault", jit=True
    )
    return bytes(machine.emit_object(parsed))
