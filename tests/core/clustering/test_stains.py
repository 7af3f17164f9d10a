"""Stains are scikit-image's, on a grid; and such as are given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from skimage import color

from kseg_core.clustering.features import FeatureSpace, feature_space
from kseg_core.config import FitSettings
from kseg_core.errors import UsageError
from kseg_core.options import from_json
from kseg_core.stains import NAMED, Matrix, stains_of

EVERY_17TH = np.arange(0, 256, 17, np.uint32)
CODES = ((EVERY_17TH[:, None, None] << 16) | (EVERY_17TH[:, None] << 8) | EVERY_17TH).ravel()
CODES = np.unique(np.concatenate([CODES, np.random.default_rng(0).integers(0, 1 << 24, 5000)])).astype(np.uint32)
PIXELS = np.stack([CODES >> 16, (CODES >> 8) & 255, CODES & 255], axis=-1).astype(np.uint8)[None]


def features_of(space: FeatureSpace) -> np.ndarray:
    return space.points(CODES)[: space.dimensions].T / space.grid


@pytest.mark.parametrize("name", NAMED)
def test_named_sets_are_those_of_scikit_image(name: str) -> None:
    space = feature_space("hed" if name == "hed" else f"hed:{name}")
    expected = color.separate_stains(PIXELS, getattr(color, f"{name}_from_rgb"))[0]
    assert np.abs(features_of(space) - expected).max() <= 0.5 / space.grid * (1 + 1e-9)
    assert space.grid >= 1 << 14


def test_hed_is_that_of_scikit_image() -> None:
    space = feature_space("hed")
    assert space.components == ("hematoxylin", "eosin", "dab")
    assert np.abs(features_of(space) - color.rgb2hed(PIXELS)[0]).max() <= 0.5 / space.grid * (1 + 1e-9)


def vectors(count: int) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(
        st.lists(st.integers(1, 100).map(lambda n: n / 100), min_size=3, max_size=3), min_size=count, max_size=count
    )


@given(st.one_of(vectors(2), vectors(3)))
def test_stains_that_are_given(rows: list[list[float]]) -> None:
    text = ";".join(",".join(map(repr, row)) for row in rows)
    units = np.array(rows) / np.linalg.norm(rows, axis=1)[:, None]
    volume = np.linalg.norm(np.cross(*units)) if len(rows) == 2 else abs(np.linalg.det(units))
    assume(abs(volume - 0.05) > 1e-6)
    if volume < 0.05:
        with pytest.raises(UsageError, match="too much alike"):
            feature_space(f"hed:{text}")
        return
    space = feature_space(f"hed:{text}")
    matrix: Matrix = np.array(stains_of(text).vectors)  # type: ignore[assignment]
    assert np.allclose(np.array(matrix[: len(rows)]), rows)
    if len(rows) == 2:
        assert space.components[2] == "residual"
        assert np.allclose(matrix[2], np.cross(*rows))
    expected = color.separate_stains(PIXELS, np.linalg.inv(np.array(matrix)))[0]
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(features_of(space) - expected).max() <= 0.5 / space.grid + 1e-9 * scale
    points = space.points(CODES)
    assert points.min() >= 0
    assert points.max() <= 1 << 16
    ids, count = space.cell_ids(points, 0)
    assert 0 <= ids.min() <= ids.max() < count


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("he", "takes one of hed, hdx"),
        ("0.65,0.70;0.07,0.99,0.11", "two or three vectors"),
        ("1,2,3", "two or three vectors"),
        ("1,0,0;0,1,0;0,0,1;1,1,1", "two or three vectors"),
        ("0.65,0.70,0.29;0.65,0.70,0.29", "too much alike"),
        ("0.65,0.70,0.29;1.30,1.40,0.58;0.07,0.99,0.11", "too much alike"),
        ("1,0,0;0,1,0;1,1,0", "too much alike"),
        ("0,0,0;0,1,0", "sensible length"),
        ("nan,0,0;0,1,0", "sensible length"),
        ("1e300,0,0;0,1,0", "sensible length"),
    ],
)
def test_what_is_no_stains(text: str, because: str) -> None:
    with pytest.raises(UsageError, match=f"--stains.*{because}"):
        FitSettings(3, stains=text)


def test_one_name_says_it_all() -> None:
    assert FitSettings(3, stains=" HDX ").features == "hed:hdx"
    assert FitSettings(3, "hed", stains="hed").features == "hed"
    assert FitSettings(3, "hed:0.65, .7,0.29;0.07,0.99,0.11").stains == "0.65,0.7,0.29;0.07,0.99,0.11"
    settings = FitSettings(3, "hed", stains="hdx")
    assert from_json(FitSettings, settings.to_json()) == settings
    with pytest.raises(UsageError, match="--stains goes with --features hed"):
        FitSettings(3, "lab", stains="hdx")
    with pytest.raises(UsageError, match="--features is one of auto, rgb"):
        FitSettings(3, "lab:hdx")


def test_the_same_bits_on_every_machine() -> None:
    """Their sum is a constant: nothing of it comes from a library of mathematics."""
    sums = feature_space("hed").points(CODES).astype(np.int64).sum(axis=1)
    assert sums.tolist() == [42104247, 16616693, 33233048]
