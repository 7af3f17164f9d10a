"""A rule for when steps end is one function: colours, bands that are held and bands that are streamed stop by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kseg_core.clustering import steps
from kseg_core.config import ExecutionSettings, FitSettings, RunConfig
from workflows import segment

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
BANDS = RNG.normal(1000, 300, (60, 80, 2)).astype(np.float32)


@pytest.mark.parametrize("data", ["colours", "held", "streamed"])
def test_a_rule_that_is_entered_ends_the_steps(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image: Any = PICTURE if data == "colours" else BANDS
    if data == "streamed":
        monkeypatch.setattr("kseg_core.clustering.band_points.HELD_PX", 1 << 9)
    config = RunConfig(FitSettings(6, attempts=1, batch_pixels=64), execution=ExecutionSettings("sync"))

    def longest() -> int:
        return max(len(each["steps"]) for each in segment(image, config).model.facts["history"])

    assert longest() > 1

    def first_step(limits: steps.StepLimits, step: steps.Step) -> bool:
        return not limits.of_sample and step.before is None and step.shift > 0

    monkeypatch.setattr(steps, "RULES", (*steps.RULES, first_step))
    assert longest() == 1
