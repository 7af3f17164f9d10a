"""A kernel takes and gives back what its function does, as machine code."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from kseg_core.kernels import _jit, _kept, build
from kseg_core.kernels.sampling import picked_pixels

pytestmark = pytest.mark.skipif(not _jit.kernels, reason="Python itself runs the kernels")


def test_what_is_compiled_while_installing_is_all_that_is_declared_and_can_be_linked() -> None:
    if build.must_compile():
        pytest.skip("a checkout of the source: each kernel is compiled when it is needed")
    assert build.missing() == []
    for name, signature in build.declared():
        assert _jit.kernels[name]._found(_kept.Entry(name, signature)) is not None, name


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compiles a function of this module for this test alone."""
    monkeypatch.setattr(_jit._kept, "keep", lambda *_: None)
    monkeypatch.setattr(_jit, "kernels", {})
    return _jit.kernel()


def test_numbers_arrays_and_tuples_go_in_and_out_as_in_python(compiled: Any) -> None:
    def mixed(flag, whole, real, rows):  # type: ignore[no-untyped-def]
        out = np.empty(rows.shape[::-1], np.float32)
        for i in range(rows.shape[0]):
            for j in range(rows.shape[1]):
                out[j, i] = rows[i, j] * real + whole
        return flag, whole + 1, real / 2, out, out[1:, 1]

    rows = np.arange(6, dtype=np.int16).reshape(2, 3)
    for arguments in ((True, 2, 0.5, rows), (False, -7, 1e30, rows.T.copy().T), (True, 0, 3.0, rows[:, ::-1])):
        expected, found = mixed(*arguments), compiled(mixed)(*arguments)
        for want, got in zip(expected, found, strict=True):
            assert type(got) is type(want)
            np.testing.assert_array_equal(got, want)
            assert getattr(got, "dtype", None) == getattr(want, "dtype", None)


def test_arrays_are_changed_in_place_and_none_is_given_back_where_nothing_is(compiled: Any) -> None:
    def fill(values, to):  # type: ignore[no-untyped-def]
        for i in range(values.size):
            values[i] = to

    values = np.zeros(7, np.uint16)
    assert compiled(fill)(values[::2], 3) is None
    assert values.tolist() == [3, 0, 3, 0, 3, 0, 3]


def test_arrays_without_items_and_arrays_that_may_not_be_written_are_read(compiled: Any) -> None:
    def total(values):  # type: ignore[no-untyped-def]
        found = 0
        for i in range(values.size):
            found += values[i]
        return found

    some = np.arange(4)
    some.flags.writeable = False
    assert (compiled(total)(some), compiled(total)(some[:0])) == (6, 0)


def test_what_a_kernel_made_lives_as_long_as_it_is_looked_at_and_no_longer(compiled: Any) -> None:
    def two(n):  # type: ignore[no-untyped-def]
        made = np.ones(n, np.int64)
        return made, made[n // 2 :]

    made = compiled(two)
    whole, half = made(1000)
    owners = [array.base for array in (whole, half)]
    assert owners[0]._block == owners[1]._block  # one memory, two that look at it
    kept = half[1:]
    del whole, half, owners
    assert kept.tolist() == [1] * 499
    before = len(made(3)[0])
    for _ in range(2000):
        made(1 << 20)  # 16 GB, were it not given back
    assert before == 3


def test_an_error_in_a_kernel_is_raised_as_python_s(compiled: Any) -> None:
    def divide(a, b):  # type: ignore[no-untyped-def]
        if a < 0:
            raise ValueError("below zero")
        return a // b

    kernel = compiled(divide)
    assert kernel(7, 2) == 3
    with pytest.raises(ZeroDivisionError):
        kernel(1, 0)
    with pytest.raises(ValueError, match="below zero"):
        kernel(-1, 1)


@pytest.mark.parametrize(
    "wrong", [np.zeros(3, ">i4"), np.zeros(3, complex), np.zeros(3, object), "text", None], ids=str
)
def test_what_a_kernel_cannot_take_is_refused(wrong: Any, compiled: Any) -> None:
    def size(values):  # type: ignore[no-untyped-def]
        return values.size

    with pytest.raises(TypeError, match="a kernel takes"):
        compiled(size)(wrong)


def test_a_wrong_number_of_arguments_is_refused_and_defaults_are_filled_in(compiled: Any) -> None:
    def add(a, b=2):  # type: ignore[no-untyped-def]
        return a + b

    kernel = compiled(add)
    assert (kernel(1), kernel(1, 5)) == (3, 6)
    for wrong in ((), (1, 2, 3)):
        with pytest.raises(TypeError, match="takes 2 arguments"):
            kernel(*wrong)


def test_a_kernel_goes_to_other_processes_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(picked_pixels)) is picked_pixels


def test_every_kernel_is_compiled_ahead_for_some_arguments_and_none_twice() -> None:
    every = build.declared()
    assert {name for name, _ in every} == set(_jit.kernels)
    assert len(set(every)) == len(every)


def test_loading_the_kernels_loads_no_compiler(program_environment: dict[str, str]) -> None:
    code = (
        "import sys; from kseg_core.kernels import build; build.declared()\n"
        "assert not {'numba', 'scipy', 'dask', 'zarr'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=program_environment, timeout=120)
