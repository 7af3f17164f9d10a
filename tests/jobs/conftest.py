"""Where command lines are given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the three small pictures in ``in``."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_folder, "in")
    return tmp_path
