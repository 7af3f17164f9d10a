"""Which of many tasks begins first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.reading.sources import Piece
from workflows.computing import context
from workflows.fitting import gather
from workflows.planning.plan import pixels_of


@pytest.mark.few(1)
@pytest.mark.parametrize(("module", "name"), [(gather, "gather"), (context, "work_on")])
def test_what_takes_longest_begins_first_and_what_is_short_comes_last(
    module: Any, name: str, tmp_path: Path, png: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, side in enumerate([60, 300, 90, 240, 120, 210, 150, 180, 270, 200, 30]):
        png(tmp_path / "in" / f"{at}.png", np.random.default_rng(at).integers(0, 255, (side, 300, 3), np.uint8))
    begun: list[int] = []
    task = getattr(module, name)

    def told(bundle: Any, *details: Any) -> Any:
        if isinstance(bundle[0], Piece):  # and not a file whose header is looked at
            begun.append(pixels_of(bundle))
        return task(bundle, *details)

    monkeypatch.setattr(module, name, told)
    job(tmp_path / "in", tmp_path / "out.zarr", k=2)
    assert len(begun) > 3
    assert (begun[0], begun[-1]) == (max(begun), min(begun))
