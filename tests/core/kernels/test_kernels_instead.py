"""What another device runs is one entry: fits and labels use it, with the same bits."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core import kernels
from kseg_core.clustering.band_points import BandPoints
from kseg_core.clustering.band_values import as_values
from kseg_core.clustering.bands import BandMoments, BandSpace
from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import SPACES
from kseg_core.clustering.kmeans import finish, solve
from kseg_core.clustering.summary import BatchRule, summarise
from kseg_core.config import FitSettings
from kseg_core.images import Pixels
from kseg_core.kernels import INSTEAD, _jit, build
from kseg_core.store.model import Model
from tests import reference

Array = NDArray[Any]

pytestmark = pytest.mark.skipif(not _jit.kernels, reason="Python itself runs the kernels")

SAMPLES = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def sum_by_cells(points: Array, weights: Array, *cells_and_centroids: Array) -> tuple[Array, Array]:
    centroids = cells_and_centroids[-1]
    labels, _ = reference.nearest(points, centroids)
    counts, sums = reference.cluster_sums(points, weights, labels, len(centroids))
    return np.array(counts), np.array(sums)


def label_and_sum(rgb: Array, _: Array, valid: Array, centroids: Array, table: Array, labels: Array) -> Any:
    assert not valid.size
    points, ones = rgb.T.astype(np.float32), np.ones(len(rgb), np.int64)
    labels[:], _ = reference.nearest(points, centroids)
    counts, sums = reference.cluster_sums(points, ones, labels, len(centroids))
    return np.array(counts), np.array(sums), reference.squares(points, ones)


def assign_and_sum(values: Array, weights: Array, valid: Array, affine: Array, centroids: Array, labels: Array) -> Any:
    if not labels.size or not (affine == np.array([[0.0], [1.0]])).all():
        return NotImplemented  # these calls are left to the processor
    points, ones = values.T.astype(np.float32), np.ones(len(values), np.int64)
    labels[:], _ = reference.nearest(points, centroids)
    counts, sums = reference.cluster_sums(points, ones, labels, len(centroids))
    squares = (values.astype(np.int64) ** 2).sum(axis=0)
    return np.array(counts), np.array(sums), squares >> 17, squares & 0x1FFFF


STAND_INS: dict[str, Callable[..., Any]] = {
    "assign.sum_by_cells": sum_by_cells,
    "assign.nearest": reference.nearest,
    "lookup.label_and_sum": label_and_sum,
    "dense.assign_and_sum": assign_and_sum,
}


def model_of(features: Any) -> Model:
    settings = FitSettings(4, features=features, attempts=2)
    if features == "bands":
        values = as_values(SAMPLES)
        space = BandSpace.fitted((1, 2, 3), "uint8", BandMoments.of(values, None, "uint8"), "none", values)
        bands = BandPoints.build(space, values)
        centroids, history = solve(bands, bands, settings)
        return Model.from_solution(finish(bands, centroids), settings, history, space)
    colors = ColorPoints.build(summarise([Pixels(SAMPLES)], BatchRule(0, 0)).everything, SPACES[features])
    centroids, history = solve(colors, colors, settings)
    return Model.from_solution(finish(colors, centroids), settings, history)


@pytest.mark.parametrize(
    ("features", "used"),
    [
        ("rgb", {"assign.sum_by_cells", "lookup.label_and_sum"}),
        ("lab", {"assign.sum_by_cells", "assign.nearest"}),
        ("bands", {"dense.assign_and_sum"}),
    ],
)
def test_fit_and_labels_use_what_is_entered_and_have_the_same_bits(
    features: str, used: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model_of(features)
    labels = expected.label(SAMPLES)
    answered: Counter[str] = Counter()

    def counting(name: str, stand_in: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            back = stand_in(*arguments)
            answered[name] += back is not NotImplemented
            return back

        return counted

    device: Any = ModuleType(f"device_of_{features}")
    monkeypatch.setitem(sys.modules, device.__name__, device)
    for at, (name, stand_in) in enumerate(STAND_INS.items()):
        setattr(device, f"kernel{at}", counting(name, stand_in))
        monkeypatch.setitem(INSTEAD, name, f"{device.__name__}:kernel{at}")
    assert build.declared()
    found = model_of(features)
    assert (found.digest, found.inertia, found.facts) == (expected.digest, expected.inertia, expected.facts)
    again = found.label(SAMPLES)
    np.testing.assert_array_equal(again.labels, labels.labels)
    assert again.sums.same_as(labels.sums)
    assert {name for name, calls in answered.items() if calls} >= used


def test_a_device_that_is_not_here_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, labels = build.declared(), model_of("lab").label(SAMPLES).labels
    (tmp_path / "device.py").write_text("import no_such_device\n")
    monkeypatch.setattr(kernels, "__path__", [*kernels.__path__, str(tmp_path)])
    monkeypatch.setattr(build, "package_path", kernels.__path__)
    monkeypatch.setitem(INSTEAD, "assign.nearest", "kseg_core.kernels.device:nearest")
    assert build.declared() == before
    np.testing.assert_array_equal(model_of("lab").label(SAMPLES).labels, labels)


def test_an_entry_of_no_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INSTEAD, "assign.nearset", "device:nearest")
    with pytest.raises(ValueError, match=r"INSTEAD is of kernels, .*assign\.nearest.*; got assign\.nearset$"):
        build.declared()
