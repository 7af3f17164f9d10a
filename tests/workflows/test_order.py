"""Which of many tasks begins first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.reading.sources import Piece
from workflows.computing import context
from workflows.fitting.gather import Gather
from workflows.planning.plan import pixels_of


@pytest.mark.few(1)
@pytest.mark.parametrize(("place", "name", "at"), [(Gather, "__call__", 1), (context, "work_on", 0)])
def test_what_takes_longest_begins_first_and_what_is_short_comes_last(
    place: Any, name: str, at: int, tmp_path: Path, png: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, side in enumerate([60, 300, 90, 240, 120, 210, 150, 180, 270, 200, 30]):
        png(tmp_path / "in" / f"{i}.png", np.random.default_rng(i).integers(0, 255, (side, 300, 3), np.uint8))
    sizes: list[int] = []
    task = getattr(place, name)

    def noted(*given: Any) -> Any:
        if isinstance(given[at][0], Piece):  # and not a file whose header is looked at
            sizes.append(pixels_of(given[at]))
        return task(*given)

    monkeypatch.setattr(place, name, noted)
    job(tmp_path / "in", tmp_path / "out.zarr", k=2)
    assert len(sizes) > 3
    assert (sizes[0], sizes[-1]) == (max(sizes), min(sizes))
