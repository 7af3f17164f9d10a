"""``--features hed`` and ``--stains`` wherever a feature space goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import color

from kseg_core import Model
from kseg_core.clustering.features import feature_space
from kseg_core.errors import StoreError, UsageError
from tests.asking import configured, labels_of, problems, run_job, run_sweep
from tests.conftest import in_parts
from workflows.segmentation import segment

VECTORS = "0.65,0.7,0.29;0.07,0.99,0.11"


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Nuclei in pink tissue on white glass: amounts of hematoxylin and eosin, and the light that they let through."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:130, 0:170]
    nuclei = ((x % 20 - 10) ** 2 + (y % 18 - 9) ** 2 < 30) & (x > 40)
    amounts = np.zeros((130, 170, 3))
    amounts[..., 0] = nuclei * 0.09
    amounts[..., 1] = (x > 40) * 0.05
    light = color.hed2rgb(amounts.clip(0) + rng.normal(0, 0.002, amounts.shape).clip(0))
    path = tmp_path / "slide.png"
    Image.fromarray((light * 255).round().clip(1, 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("stains", "name"), [(None, "hed"), ("hdx", "hed:hdx"), (VECTORS, f"hed:{VECTORS}")])
def test_a_run_its_model_and_what_it_labels(
    tmp_path: Path, slide: Path, stains: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_job(slide, tmp_path / "out", 3, features="hed", stains=stains, tile=64)
    assert result.features == name
    labels = labels_of(tmp_path / "out")
    model = Model.load(str(tmp_path / "out"))
    assert model.features == name
    assert problems(tmp_path / "out") == []
    pixels = np.asarray(Image.open(slide))
    assert np.array_equal(model.predict(pixels), labels)
    model.save(str(tmp_path / "saved"))
    assert Model.load(str(tmp_path / "saved")).digest == model.digest
    in_parts(monkeypatch, piece=64)
    run_job(slide, tmp_path / "again", model=tmp_path / "saved", tile=64)
    assert np.array_equal(labels_of(tmp_path / "again"), labels)
    array = segment(pixels, configured(3, features="hed", stains=stains))
    assert array.model.features == name
    assert np.array_equal(next(iter(array.labels.values())).compute(), labels)


def test_clusters_are_tissue_nuclei_and_glass(tmp_path: Path, slide: Path) -> None:
    run_job(slide, tmp_path / "out", 3, features="hed")
    model, pixels = Model.load(str(tmp_path / "out")), np.asarray(Image.open(slide))
    expected = color.rgb2hed(pixels).reshape(-1, 3)
    nearest = ((expected[:, None] - model.centroids) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == labels_of(tmp_path / "out").ravel()).mean() > 0.999  # but for the grid
    nuclei, tissue, glass = model.centroids  # from dark to light
    assert nuclei[0] > 0.07 > tissue[0]
    assert tissue[1] > 0.03 > glass[1]


def test_a_sweep_a_match_and_a_palette_of_each_image(tmp_path: Path, slide: Path) -> None:
    swept = run_sweep(slide, tmp_path / "sweep", (1, 3), stains="hdx")
    assert swept.to_json()["features"] == "hed:hdx"
    run_job(slide, tmp_path / "a", 3, stains="hdx")
    run_job(slide, tmp_path / "b", 3, match=tmp_path / "a")
    assert np.array_equal(labels_of(tmp_path / "a"), labels_of(tmp_path / "b"))
    run_job(slide, tmp_path / "c", 3, refit=True, match=tmp_path / "a", stains="hdx")
    assert np.array_equal(labels_of(tmp_path / "a"), labels_of(tmp_path / "c"))
    with pytest.raises(UsageError, match="--match has hed:hdx centroids, this fit hed ones; add --features hed:hdx"):
        run_job(slide, tmp_path / "d", 3, features="hed", match=tmp_path / "a")
    run_job(slide, tmp_path / "e", 3, scope="image", stains="hdx")
    assert problems(tmp_path / "e") == []


def test_stains_that_nobody_knows_are_those_of_no_model() -> None:
    space = feature_space("hed")
    with pytest.raises(StoreError, match="'hed:he', which this version does not know"):
        Model("hed:he", np.zeros((1, 3)), np.zeros((1, 3), np.uint8), np.ones(1, np.int64), 0.0)
    assert space.dimensions == 3
