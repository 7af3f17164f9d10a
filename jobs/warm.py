"""``kseg-batch warm``: compile what would otherwise be compiled by the first run that needs it."""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import DONE, Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("warm")(warm)


def warm(
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    tell_after: option.TellAfter = 10.0,
    config: option.Config = None,
) -> int:
    """Compile the kernels that are not compiled yet, and keep them.

    An ordinary install has compiled them; a checkout of the source, another processor than the one it was installed on,
    or a wheel for other machines compiles each when it is first used, unless this command was run before. They are kept
    in NUMBA_CACHE_DIR where that is set, else beside the program, else in the user's own cache.

    Examples:

      kseg-batch warm

      NUMBA_CACHE_DIR=/opt/kernels kseg-batch warm
    """

    def job(report: Report) -> int:
        from kseg_core.kernels.build import warm as compile_missing

        report.progress.stage("compiling, this once", 0, 0)
        done = compile_missing()
        there = f"{done.there} of {done.there + done.compiled + len(done.failed)} kernels were compiled already"
        lines = [f"{there}; nothing to do"]
        if done.compiled:
            lines = [f"{there}; compiled {done.compiled} → {done.folder}"]
        lines += [f"{name} is compiled at every start: its code cannot be kept by this Numba" for name in done.failed]
        report.finish(
            {
                "status": "ok",
                "output": done.folder,
                "there": done.there,
                "compiled": done.compiled,
                "failures": list(done.failed),
            },
            lines,
        )
        return DONE

    def failed(error: Exception) -> dict[str, object]:
        return {"status": "failed", "error": str(error), "failures": []}

    return carry_out(job, as_json, log_level, failed, log_format=log_format, tell_after=tell_after)
