"""Compiles the kernels while a wheel is built, so that the first run need not.

``KSEG_KERNELS`` says for which processor: ``native`` (the default), ``baseline`` (a wheel for other machines), or
``none``. Where they cannot be compiled the wheel is built without, and each kernel is compiled when it is first used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SECONDS = 600  # no build takes this long; a hanging one must not hang an installation


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg]  # of settings, which it has none of
    """Adds ``kseg_core/kernels/compiled`` to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this kind of machine."""
        kind = os.environ.get("KSEG_KERNELS", "native")
        if kind not in ("native", "baseline", "none"):
            raise ValueError(f"KSEG_KERNELS is {kind!r}: native, baseline or none")
        if version == "editable" or kind == "none":
            return
        self._temporary = tempfile.TemporaryDirectory()
        compiled = Path(self._temporary.name) / kind
        try:
            for name in self._compile(compiled, kind).split():
                self.app.display_warning(f"{name} is compiled at every start: its code cannot be kept by this Numba")
        except (subprocess.SubprocessError, OSError) as error:
            said = getattr(error, "stderr", None) or str(error)
            self.app.display_warning(
                "the kernels could not be compiled ahead; each is compiled when it is first used, about ten seconds of "
                f"the first run, and kept: {said.strip().splitlines()[-1] if said.strip() else error}"
            )
            return
        build_data["force_include"][self._temporary.name] = "kseg_core/kernels/compiled"
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - as it is called
        """Remove what was compiled, which is in the wheel now."""
        if hasattr(self, "_temporary"):
            self._temporary.cleanup()

    def _compile(self, folder: Path, kind: str) -> str:
        path = os.pathsep.join(
            filter(None, [self.root, os.environ.get("PYTHONPATH")])
        )  # pip's own names what it installed
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        python = [sys.executable, "-c"]
        if kind == "baseline":
            code = "from kseg_core.kernels.build import baseline_environment as of; print(*of().values(), sep='\\n')"
            done = subprocess.run([*python, code], env=environment, check=True, capture_output=True, text=True)
            environment["NUMBA_CPU_NAME"], environment["NUMBA_CPU_FEATURES"] = done.stdout.split()
        done = subprocess.run(
            [sys.executable, "-m", "kseg_core.kernels.build", str(folder)],
            env=environment, check=True, capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        return done.stdout
