"""A script that starts processes and does not ask what it is run as is told so, at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from kseg_core.config import ExecutionSettings
from workflows.computing.context import open_executor
{guard}
{indent}with open_executor(ExecutionSettings("processes", 1)) as executor:
{indent}    print("workers", executor.workers)
"""


@pytest.mark.parametrize("guarded", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_script_without_a_main_guard_is_told_how_to_write_one(
    guarded: bool, tmp_path: Path, program_environment: dict[str, str]
) -> None:
    script = tmp_path / "job.py"
    guard = 'if __name__ == "__main__":' if guarded else ""
    script.write_text(SCRIPT.format(guard=guard, indent="    " if guarded else ""))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=program_environment, timeout=120
    )
    if guarded:
        assert (done.returncode, done.stdout) == (0, "workers 1\n"), done.stderr
        return
    assert done.returncode != 0
    assert done.stderr.count("Traceback") == 1  # nothing was started that would fail too
    last = done.stderr.splitlines()[-1]
    assert str(script) in last
    assert 'if __name__ == "__main__":' in last
