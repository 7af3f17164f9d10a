"""``kseg-batch warm``: the kernels, compiled and ready."""

from __future__ import annotations

from ._options import Given, command
from ._runtime import DONE, General, Report


@command("warm", General, failed=lambda error: {"status": "failed", "error": str(error), "failures": []})
def warm(given: Given, report: Report) -> int:
    """Compile the kernels that are not compiled yet, and keep them.

    An ordinary install has compiled them; a checkout of the source, another processor than the one it was installed on,
    or a wheel for other machines compiles each when it is first used, unless this command was run before. They are kept
    in NUMBA_CACHE_DIR where that is set, else beside the program, else in the user's own cache.

    Examples:

      kseg-batch warm
      NUMBA_CACHE_DIR=/opt/kernels kseg-batch warm
    """
    from kseg_core.kernels.build import warm as compile_missing

    report.progress.stage("compiling, this once", 0, 0)
    done = compile_missing()
    there = f"{done.there} of {done.there + done.compiled + len(done.failed)} kernels were compiled already"
    lines = [f"{there}; compiled {done.compiled} → {done.folder}" if done.compiled else f"{there}; nothing to do"]
    lines += [f"{name} is compiled at every start: its code cannot be kept by this Numba" for name in done.failed]
    numbers = {"there": done.there, "compiled": done.compiled, "failures": list(done.failed)}
    report.finish({"status": "ok", "output": done.folder, **numbers}, lines)
    return DONE
