"""``--features bands``: any number of bands of any dtype, as they are stored, held in memory and streamed."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core import Model, open_store
from kseg_core.errors import BeyondFloats, NothingReadable, NoValidPixels, StoreError
from tests.asking import failed, labels_of, problems, run_job, run_sweep
from tests.conftest import in_parts
from tests.strategies import BAND_DTYPES, band_samples, exactly, rounded
from tests.tiffs import save_tiff
from workflows.result import JobResult

Array = NDArray[Any]
F64 = NDArray[np.float64]
OLD_MODELS = Path(__file__).parent / "bands-0.1.0.zip"  # fits by release 0.1.0, samples, and the labels it gave them
INT_MIN = -(1 << 31)
FLOAT_MIN = -3.4028234663852886e38


def make(inputs: Any, output: Path, k: int = 4, **how: Any) -> JobResult:
    """A store (or a model) of bands."""
    fit = {} if how.get("model") else {"features": "bands"}
    return run_job(inputs, output, k, **{"tile": 64, **fit, **how})


# --------------------------------------------------------------------------------------------------------- scenes


def blobs(height: int, width: int, bands: int, seed: int) -> F64:
    """A scene of six kinds of ground, which overlap a little."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(500, 9000, (6, bands))
    y, x = np.mgrid[0:height, 0:width]
    kind = (np.sin(y / 17) * 2 + np.cos(x / 23) * 2 + rng.normal(0, 0.5, (height, width))).astype(int) % 6
    return np.asarray(centers[kind] + rng.normal(0, 300, (height, width, bands)))


def lattice(bands: int, seed: int) -> F64:
    """Few values, evenly spaced and equally frequent: full of ties."""
    return np.asarray(np.random.default_rng(seed).integers(0, 6, (100, 150, bands)) * 40.0)


def with_holes(samples: Array) -> Array:
    """NaN in some bands of some pixels, a whole block, and an infinity."""
    holed = samples.copy()
    holed[np.random.default_rng(8).random(samples.shape) < 0.01] = np.nan
    holed[35:70, 15:100] = np.nan
    holed[5, 5, 0] = np.inf
    return holed


def surface(height: int, width: int) -> F64:
    """Between -1 and 1, with noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).normal(0, 0.06, (height, width))
    return np.asarray(np.tanh(np.sin(y / 23) + 0.5 * np.cos(x / 19)) * 0.6 + noise)[..., None]


def grounds(height: int, width: int) -> F64:
    """Five populations in three bands."""
    rng = np.random.default_rng(4)
    centers = rng.uniform(0, 30_000, (5, 3))
    return np.asarray(centers[rng.integers(0, 5, (height, width))] + rng.normal(0, 1500, (height, width, 3)))


def skewed(height: int, width: int, bands: int) -> F64:
    return np.asarray(np.exp(1.3 * np.random.default_rng(3).normal(size=(height, width, bands))))


def filled(samples: Array, fill: float) -> Array:
    """A fill value, or NaN, in some pixels: in all bands, NaN in any."""
    rng = np.random.default_rng(1)
    there = rng.random(samples.shape) < 0.1 if np.isnan(fill) else rng.random(samples.shape[:2])[..., None] < 0.01
    return np.where(there, np.array(fill, samples.dtype), samples)


SCENES: dict[str, Callable[[], Array]] = {
    "uint8x5": lambda: (blobs(100, 150, 5, 1) / 40).clip(0, 255).astype(np.uint8),
    "uint16x4": lambda: blobs(100, 150, 4, 2).clip(0, 65535).astype(np.uint16),
    "uint16x1": lambda: blobs(100, 150, 1, 3).clip(0, 65535).astype(np.uint16),
    "int16x2": lambda: (blobs(100, 150, 2, 4) - 5000).astype(np.int16),
    "int8x2": lambda: (blobs(100, 150, 2, 4) / 40 - 120).clip(-128, 127).astype(np.int8),
    "float16x2": lambda: (blobs(100, 150, 2, 4) / 4).astype(np.float16),
    "int64x2": lambda: (blobs(100, 150, 2, 5) * 1e12).astype(np.int64),
    "uint64x1": lambda: (blobs(100, 150, 1, 5) * 1e12 + 2e18).astype(np.uint64),
    "int32x3": lambda: (blobs(100, 150, 3, 5) * 1000).astype(np.int32),
    "uint32x1": lambda: (blobs(100, 150, 1, 6) * 100 + 4e9).clip(0, 2**32 - 1).astype(np.uint32),
    "float32x3": lambda: with_holes((blobs(100, 150, 3, 7) / 1e4).astype(np.float32)),
    "float64x2": lambda: with_holes(blobs(100, 150, 2, 8) * 1e-12),
    "ties uint16x4": lambda: lattice(4, 9).astype(np.uint16),
    "ties float32x3": lambda: with_holes((lattice(3, 10) / 7).astype(np.float32)),
    "ranges float32x2": lambda: (blobs(100, 150, 2, 3) * [1, 1 / 9000] + [0, 270]).astype(np.float32),
}

#: Of any size, as good as scikit-learn's best: made of height and width.
JUDGED: dict[str, Callable[[int, int], Array]] = {
    "elevations": lambda *size: (1200 + 700 * surface(*size)).astype(np.int32),
    "elevations, INT_MIN": lambda *size: filled(JUDGED["elevations"](*size), INT_MIN),
    "ndvi float32": lambda *size: surface(*size).astype(np.float32),
    "ndvi float32, -9999": lambda *size: filled(surface(*size).astype(np.float32), -9999),
    "ndvi float32, -3.4e38": lambda *size: filled(surface(*size).astype(np.float32), FLOAT_MIN),
    "ndvi float64": surface,
    "ndvi float64, -9999": lambda *size: filled(surface(*size), -9999),
    "ndvi float64, -1.8e308": lambda *size: filled(surface(*size), -1.7976931348623157e308),
    "ndvi float32, NaN": lambda *size: filled(surface(*size).astype(np.float32), np.nan),
    "skewed": lambda *size: skewed(*size, 1).astype(np.float32),
    "skewed float64 x 3": lambda *size: skewed(*size, 3),
    "grounds float32, -9999": lambda *size: filled(grounds(*size).astype(np.float32), -9999),
    "grounds int32, INT_MIN": lambda *size: filled(grounds(*size).astype(np.int32), INT_MIN),
    "grounds float64, NaN": lambda *size: filled(grounds(*size), np.nan),
    "blobs uint16 x 4": lambda *size: blobs(*size, 4, 11).clip(0, 65535).astype(np.uint16),
    "blobs float32 x 4, standard": lambda *size: blobs(*size, 4, 11).astype(np.float32),
}
#: scikit-learn subtracts the mean first, after which nothing is left of values beside such a fill.
BEYOND_SCIKIT_LEARN = ("-3.4e38", "-1.8e308")


# ------------------------------------------------------------------- labels, inertia and bits, by a direct computation


class Judged:
    """What the distinct pixels and some centroids say, with float64 distances and sums by fractions."""

    def __init__(self, samples: Array, facts: Any, centroids: F64) -> None:
        self.valid = valid = np.isfinite(samples).all(axis=2)
        self.offset, self.scale = (np.array(facts["normalisation"][name]) for name in ("offset", "scale"))
        values = samples.astype(np.float64)
        squared = np.zeros((*samples.shape[:2], len(centroids)))
        with np.errstate(over="ignore", invalid="ignore"):
            for band in range(samples.shape[2]):
                feature = (values[..., band] - self.offset[band]) * self.scale[band]
                squared += (feature[..., None] - centroids[:, band]) ** 2
        self.labels = np.where(valid, squared.argmin(axis=2), 255)
        self.counts = np.bincount(self.labels[valid], minlength=len(centroids)).tolist()
        rows, counts = np.unique(
            np.column_stack([values[valid], self.labels[valid].astype(np.float64)]), axis=0, return_counts=True
        )
        inertia = Fraction(0)
        for band in range(samples.shape[2]):
            offset, scale = Fraction(float(self.offset[band])), Fraction(float(self.scale[band]))
            for value, j, n in zip(exactly(rows[:, band]), rows[:, -1].astype(int), counts.tolist(), strict=True):
                inertia += n * ((value - offset) * scale - Fraction(float(centroids[j, band]))) ** 2
        self.inertia = rounded(inertia)


def model_of(store: Path) -> tuple[Any, F64]:
    """Attributes and centroids of a model, or of a store's, by zarr alone."""
    group: Any = zarr.open_group(str(store), mode="r")
    model = group.get("model", group)
    return model.attrs["kseg"], np.asarray(model["centroids"][...])


def assert_agrees(store: Path, samples: Array, result: JobResult) -> Judged:
    """Read with zarr and NumPy alone, the store's only image has the labels, counts and sums of its pixels."""
    facts, centroids = model_of(store)
    ((_, image),) = zarr.open_group(str(store / "images"), mode="r").members()
    group: Any = image
    judged = Judged(samples[..., [band - 1 for band in facts["bands"]]], facts, centroids)
    np.testing.assert_array_equal(group["labels/kmeans/0"][...], judged.labels)
    own, invalid = group.attrs["kseg"], int((~judged.valid).sum())
    assert (own["counts"], own["invalid"], own["inertia"]) == (judged.counts, invalid, judged.inertia)
    assert (result.counts, result.inertia) == (judged.counts, judged.inertia)
    return judged


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("name", "normalize"),
    [(name, "standard" if at % 2 else "none") for at, name in enumerate(SCENES) if "ties float" not in name]
    + [("uint16x4", "standard"), ("float32x3", "standard"), ("uint16x1", "standard"), ("ranges float32x2", "minmax")],
)
def test_labels_counts_inertia_and_numbering_are_what_the_pixels_say(
    name: str, normalize: str, tmp_path: Path, parts: Any
) -> None:
    parts(piece=64)
    samples = SCENES[name]()
    source = save_tiff(tmp_path / "image.tif", samples)
    result = make(source, tmp_path / "out.zarr", k=6, normalize=normalize)
    assert result.features == "bands"
    judged = assert_agrees(tmp_path / "out.zarr", samples, result)
    facts, centroids = model_of(tmp_path / "out.zarr")
    assert facts["inertia"] == judged.inertia
    chosen = samples[judged.valid].astype(np.float64)
    x, labels = (chosen - judged.offset) * judged.scale, judged.labels[judged.valid]
    means = np.array([x[labels == j].mean(axis=0) for j in range(6)])
    np.testing.assert_allclose(centroids, means, rtol=1e-9, atol=1e-12 * float(np.ptp(x)))
    numbering = [(row.mean(), *row.tolist()) for row in centroids]
    assert numbering == sorted(numbering)
    if normalize == "minmax":
        low, high = chosen.min(axis=0), chosen.max(axis=0)
        np.testing.assert_array_equal(facts["normalisation"]["offset"], low)
        np.testing.assert_array_equal(facts["normalisation"]["scale"], 1 / (high - low))
    assert problems(tmp_path / "out.zarr") == []
    labels_in_store: Any = zarr.open_array(str(tmp_path / "out.zarr/images/image.tif/labels/kmeans/0"), mode="r+")
    labels_in_store[90, 140] = (labels_in_store[90, 140] + 1) % 6
    assert any("1 labels are not the nearest centroid" in problem for problem in problems(tmp_path / "out.zarr"))


def larger(samples: Array) -> Array:
    """The same values over several pieces, in another order."""
    flat = samples.reshape(-1, samples.shape[2])
    return flat[np.random.default_rng(samples.size).integers(0, len(flat), 70 * 130)].reshape(70, 130, -1)


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(BAND_DTYPES).flatmap(lambda dtype: band_samples((dtype,), max_bands=2)),
    st.integers(1, 4),
    st.sampled_from(["none", "standard", "minmax"]),
)
def test_run_fit_apply_and_sweep_say_what_the_pixels_say(drawn: tuple[Array, Any], k: int, normalize: Any) -> None:
    samples = larger(drawn[0])
    assume(np.isfinite(samples).all(axis=2).any())
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        in_parts(patch, piece=64)
        here = Path(folder)
        source = save_tiff(here / "image.tif", samples)
        fit = {"normalize": normalize, "attempts": 2, "k": k}
        try:
            result = make(source, here / "run.zarr", **fit)
        except BeyondFloats:
            assert np.abs(samples[np.isfinite(samples).all(axis=2)].astype(np.float64)).max() > 1e150
            return
        assert_agrees(here / "run.zarr", samples, result)
        facts, centroids = model_of(here / "run.zarr")
        assert facts["inertia"] == result.inertia
        assert problems(here / "run.zarr") == []

        in_parts(patch, piece=2048)
        fitted = make(source, here / "fit.model.zarr", scheduler="threads", workers=2, **fit)
        other_facts, others = model_of(here / "fit.model.zarr")
        np.testing.assert_array_equal(others, centroids)
        assert (fitted.inertia, other_facts["digest"]) == (result.inertia, facts["digest"])
        applied = make(source, here / "apply.zarr", model=here / "fit.model.zarr", scheduler="threads", workers=2)
        assert_agrees(here / "apply.zarr", samples, applied)

        swept = run_sweep(source, here / "swept", (1, 3), features="bands", normalize=normalize)
        assert swept.together is not None
        assert swept.together.table is not None
        for row in swept.together.table.rows:
            of_k = Judged(samples, swept.space, np.array(row.centroids))
            assert (row.inertia, list(row.counts)) == (of_k.inertia, of_k.counts)


def test_applying_a_model_to_values_it_never_saw_gives_the_nearest_centroids(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(60, 70, 2)).astype(np.float32)
    make(save_tiff(tmp_path / "a.tif", samples), tmp_path / "a.model.zarr", normalize="standard")
    for beyond in (-1e30, 5.0, 1e30):
        other = (samples * 3 + rng.normal(size=samples.shape)).astype(np.float32)
        other[:9] = beyond
        source, output = save_tiff(tmp_path / f"{beyond}.tif", other), tmp_path / f"{beyond}.zarr"
        assert_agrees(output, other, make(source, output, model=tmp_path / "a.model.zarr"))
        assert problems(output) == []


# ------------------------------------------------------------------------------------------------------- the same bits


@pytest.mark.few(4)
@pytest.mark.parametrize("how", ["in memory", "streamed"])
@pytest.mark.parametrize("name", ["uint16x4", "ties uint16x4", "float32x3", "ties float32x3"])
def test_no_tile_chunk_worker_or_order_changes_a_bit(
    name: str, how: str, tmp_path: Path, contents: Any, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = SCENES[name]()
    files = [save_tiff(tmp_path / "in/b.tif", samples), save_tiff(tmp_path / "in/a.tif", samples[:70, :90].copy())]
    monkeypatch.chdir(tmp_path / "in")
    fit: dict[str, Any] = {"k": 5, "normalize": "standard", "batch_pixels": 1 << 10, "attempts": 2}
    digests = []
    for at, (tile, piece, scheduler, workers) in enumerate(
        [(1024, 2048, "sync", 1), (64, 64, "threads", 2), (70, 100, "threads", 4)]
    ):
        parts(piece=piece, held=1 << 11 if how == "streamed" else None)
        output = tmp_path / f"{at}.zarr"
        inputs = [file.name for file in (files if at % 2 else files[::-1])]
        make(inputs, output, tile=tile, scheduler=scheduler, workers=workers, **fit)
        found = {name: digest for name, digest in contents(output).items() if name.endswith(":values")}
        bare = {n: d for n, d in found.items() if "/kmeans/" not in n or n.endswith("/0:values")}
        digests.append(bare | {"model": contents(output)["model:attributes"]})
    assert len(digests[0]) > 5
    assert digests[1:] == digests[:1] * 2


@pytest.mark.slow
def test_processes_give_the_same_bits(tmp_path: Path, contents: Any) -> None:
    source = save_tiff(tmp_path / "image.tif", SCENES["ties float32x3"]())
    make(source, tmp_path / "one.zarr", normalize="standard")
    make(source, tmp_path / "two.zarr", normalize="standard", scheduler="processes", workers=2)
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")


# --------------------------------------------------------------------------------- as good as scikit-learn, any fill


def best_of_ten(points: F64, k: int, weights: Array | None = None) -> float:
    """The least inertia of ten fits by scikit-learn."""
    from sklearn.cluster import KMeans

    fits = [
        KMeans(k, n_init=1, random_state=seed, tol=1e-6, max_iter=1000).fit(points, sample_weight=weights)
        for seed in range(10)
    ]
    return min(float(fit.inertia_) for fit in fits)


def best_of_scene(name: str, samples: Array, k: int) -> float:
    """The same of a scene; a fill value that is beyond scikit-learn has a cluster of its own."""
    points = samples.reshape(-1, samples.shape[2]).astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    if name.endswith(BEYOND_SCIKIT_LEARN):
        points, k = points[(points != samples.min()).all(axis=1)], k - 1
    return best_of_ten((points - points.mean(axis=0)) / points.std(axis=0) if "standard" in name else points, k)


@pytest.mark.few(6)
@pytest.mark.parametrize(("name", "k"), [(name, (6, 3)[at % 2]) for at, name in enumerate(JUDGED)])
def test_the_mse_is_at_most_that_of_the_best_of_ten_fits_by_scikit_learn(name: str, k: int, tmp_path: Path) -> None:
    samples, normalize = JUDGED[name](70, 90), "standard" if "standard" in name else "none"
    k, tolerance = (8, 1e-3) if "blobs" in name else (k, 1e-9)
    source, output = save_tiff(tmp_path / "image.tif", samples), tmp_path / "out.zarr"
    result = make(source, output, k=k, attempts=10, normalize=normalize)
    assert result.k == k
    assert_agrees(output, samples, result)
    assert (result.inertia or np.nan) <= best_of_scene(name, samples, k) * (1 + tolerance)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("name", "normalize"),
    [
        ("cog_nodata_nan.tif", "standard"),
        ("cog_nodata_nan.tif", "none"),
        ("cog_int16.tif", "none"),
        ("cog.tif", "none"),
    ],
)
def test_the_mse_of_a_real_cog_is_that_of_the_best_of_ten_fits_by_scikit_learn(
    name: str, normalize: str, data_folder: Path, tmp_path: Path
) -> None:
    path = data_folder / "rasters" / name
    samples = tifffile.imread(path, key=0)
    nodata = {"cog_int16.tif": -32768, "cog_nodata_nan.tif": 0, "cog.tif": None}[name]
    kept = samples[np.isfinite(samples) & (samples != nodata)]
    results = [
        make(path, tmp_path / f"{tile}.zarr", k=8, tile=tile, normalize=normalize, attempts=10, **how)
        for tile, how in ((1024, {}), (256, {"scheduler": "threads", "workers": 2}))
    ]
    one, two = results
    assert one.pixels_valid == len(kept)
    found, counts = np.unique(kept.astype(np.float64), return_counts=True)
    found = (found - kept.mean(dtype=np.float64)) / kept.std(dtype=np.float64) if normalize == "standard" else found
    assert (one.inertia or np.nan) <= best_of_ten(found[:, None], 8, counts) * 1.001
    assert (one.centroids, one.counts, one.inertia) == (two.centroids, two.counts, two.inertia)
    np.testing.assert_array_equal(labels_of(tmp_path / "1024.zarr"), labels_of(tmp_path / "256.zarr"))


def test_of_fewer_distinct_values_than_clusters_each_is_a_cluster_however_far_they_lie_apart(tmp_path: Path) -> None:
    palette = np.array([5e-324, 0.25, 0.25 + 2**-54, 7.0, 1e10, -1e150], np.float64)
    samples = palette[np.random.default_rng(5).integers(0, len(palette), (70, 80, 1))]
    result = make(save_tiff(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=9)
    assert (result.k, result.k_requested, result.inertia) == (6, 9, 0.0)
    assert sorted(center for (center,) in result.centroids or []) == sorted(palette.tolist())


def test_more_clusters_than_there_are_coarse_cells_are_found(tmp_path: Path) -> None:
    """All but one value lie in one cell of any coarse form that spans the fill."""
    samples = np.arange(70 * 80, dtype=np.float64).reshape(70, 80, 1) / 5600
    samples[0, 0] = 1e100
    result = make(save_tiff(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=40, attempts=2)
    assert (result.k, min(result.counts or [0])) == (40, 1)
    even = 39 * (5600 / 39) ** 3 / 12 / 5600**2  # of as many runs of equal length
    assert (result.inertia or np.nan) <= even * 1.001


# ------------------------------------------------------------------------------------------------------------ streamed


STREAMED = [
    "elevations, INT_MIN", "ndvi float32, -9999", "ndvi float32, NaN", "skewed", "blobs uint16 x 4",
    "grounds float32, -9999",
]  # fmt: skip
UNTIL_NOTHING_MOVES: dict[str, Any] = {"attempts": 5, "batch_pixels": 1 << 9, "tol": 0.0}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", STREAMED)
def test_streamed_data_is_clustered_as_well_by_the_pixels_and_the_same_anyhow(
    name: str, tmp_path: Path, parts: Any
) -> None:
    parts(piece=64, held=1 << 11)
    samples = JUDGED[name](170, 210)
    source = save_tiff(tmp_path / "image.tif", samples)
    result = make(source, tmp_path / "out.zarr", k=5, **UNTIL_NOTHING_MOVES)
    assert_agrees(tmp_path / "out.zarr", samples, result)
    assert (result.inertia or np.nan) <= best_of_scene(name, samples, 5) * (1 + 1e-6)  # the samples chose the attempt
    sooner = make(source, tmp_path / "sooner.model.zarr", 5, **UNTIL_NOTHING_MOVES | {"tol": None})
    assert result.inertia is not None
    assert result.inertia <= (sooner.inertia or np.nan) <= result.inertia * (1 + 1e-3)
    again = make(source, tmp_path / "fit.model.zarr", 5, scheduler="threads", workers=2, **UNTIL_NOTHING_MOVES)
    assert (again.centroids, again.inertia) == (result.centroids, result.inertia)


@pytest.mark.few(1)
@pytest.mark.parametrize("fill", [FLOAT_MIN, 1e6, -9999.0])
def test_a_handful_of_values_that_no_sample_holds_has_its_cluster(fill: float, tmp_path: Path, parts: Any) -> None:
    parts(piece=64, held=1 << 10)
    samples = surface(110, 150).astype(np.float32)
    samples[[0, 50, 109], [3, 77, 149]] = fill
    source = save_tiff(tmp_path / "image.tif", samples)
    result = make(source, tmp_path / "out.zarr", k=4, **UNTIL_NOTHING_MOVES)
    assert 3 in (result.counts or [])
    assert [float(np.float32(fill))] in (result.centroids or [])
    without = make(source, tmp_path / "without.zarr", k=3, nodata=str(fill), **UNTIL_NOTHING_MOVES)
    assert result.inertia == pytest.approx(without.inertia, rel=1e-9)
    swept = run_sweep(source, tmp_path / "swept", (3, 4), features="bands", batch_pixels=1 << 9)
    assert swept.together is not None
    assert swept.together.table is not None
    assert [float(np.float32(fill))] in [list(center) for center in swept.together.table.rows[1].centroids]


def test_a_streamed_scene_of_fewer_values_than_clusters_has_as_many_clusters_as_values(
    tmp_path: Path, parts: Any
) -> None:
    parts(piece=64, held=1 << 11)
    palette = np.array([[0, 0], [10, 500], [700, 20]], np.uint16)
    samples = palette[np.random.default_rng(1).integers(0, 3, (100, 150))]
    samples[80, 110] = 65535  # a value that no mini-batch need hold
    result = make(save_tiff(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=7, batch_pixels=1 << 10)
    assert (result.k, result.k_requested, result.inertia) == (4, 7, 0.0)
    assert sorted(result.centroids or []) == sorted([*palette.astype(float).tolist(), [65535, 65535]])


def test_streamed_scenes_with_hardly_a_valid_pixel(tmp_path: Path, parts: Any) -> None:
    parts(piece=64, held=1 << 11)
    rng = np.random.default_rng(3)
    for pixels in (1, 3, 40):
        samples = np.full((170, 180, 2), np.nan, np.float32)
        samples.reshape(-1, 2)[rng.choice(170 * 180, pixels, replace=False)] = rng.normal(size=(pixels, 2))
        source = save_tiff(tmp_path / f"{pixels}.tif", samples)
        result = make(source, tmp_path / f"{pixels}.zarr", k=2, batch_pixels=1 << 8)
        assert (result.pixels_valid, result.k) == (pixels, min(2, pixels))
    # a first mini-batch that holds none
    samples = with_holes((blobs(100, 150, 2, 12) / 1e4).astype(np.float32))
    source = save_tiff(tmp_path / "image.tif", np.where(np.arange(150)[None, :, None] < 32, samples, np.nan))
    result = make(source, tmp_path / "out.zarr", k=3, batch_pixels=1, seed=1)
    assert (result.k, min(result.counts or [0]) > 0) == (3, True)


# ---------------------------------------------------------------------------------------- few values, choice of bands


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 2])
def test_fewer_distinct_values_than_k_give_as_many_clusters_as_values(bands: int, dtype: str, tmp_path: Path) -> None:
    samples = np.zeros((30, 40, bands), dtype)
    samples[:10, :, 0], samples[10:13, :, -1] = 7, 100
    result = make(save_tiff(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=9)
    assert (result.k, result.k_requested, result.inertia) == (3, 9, 0.0)
    assert len(np.unique(labels_of(tmp_path / "out.zarr"))) == 3


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("normalize", ["none", "standard", "minmax"])
def test_an_image_of_one_value_is_one_cluster(dtype: str, normalize: str, tmp_path: Path) -> None:
    source = save_tiff(tmp_path / "image.tif", np.full((30, 40, 2), 300, dtype))
    result = make(source, tmp_path / "out.zarr", k=3, normalize=normalize)
    assert (result.k, result.inertia, result.counts) == (1, 0.0, [1200])
    assert result.centroids == [[300.0, 300.0] if normalize == "none" else [0.0, 0.0]]


def test_bands_are_picked_and_ordered_as_asked(tmp_path: Path) -> None:
    samples = SCENES["uint16x4"]()[:60, :70]
    result = make(save_tiff(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=5, bands=(3, 1))
    make(save_tiff(tmp_path / "two.tif", samples[..., [2, 0]].copy()), tmp_path / "two.zarr", k=5)
    (facts, one), (_, other) = model_of(tmp_path / "out.zarr"), model_of(tmp_path / "two.zarr")
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr"), labels_of(tmp_path / "two.zarr"))
    assert (facts["bands"], facts["components"]) == ([3, 1], ["band_3", "band_1"])
    assert_agrees(tmp_path / "out.zarr", samples, result)


def test_nodata_is_of_the_selected_bands_alone(tmp_path: Path) -> None:
    samples = (SCENES["uint16x4"]()[:60, :70] + 1).astype(np.uint16)
    samples[:10, :, [0, 2]] = 9999  # in the selected bands
    samples[20:30, :, 0] = 9999  # in one of them
    samples[40:50, :, [1, 3]] = 9999  # in the others
    source = save_tiff(tmp_path / "image.tif", samples)
    for within in (None, "any", "all"):  # any is the default
        output = tmp_path / f"{within}.zarr"
        make(source, output, k=3, bands=(1, 3), nodata="9999", nodata_in=within)
        expected = np.zeros((60, 70), bool)
        expected[:10] = True
        expected[20:30] = within != "all"
        np.testing.assert_array_equal(labels_of(output) == 255, expected)


def test_alpha_is_no_band_and_makes_pixels_invalid(tmp_path: Path) -> None:
    samples = SCENES["uint16x4"]()[:60, :70].copy()
    samples[..., 3] = 65535
    samples[:20, :30, 3] = 0
    source = save_tiff(tmp_path / "image.tif", samples, None, photometric="rgb", extrasamples=["unassalpha"])
    result = make(source, tmp_path / "out.zarr", k=3)
    assert result.pixels_valid == 60 * 70 - 20 * 30
    assert model_of(tmp_path / "out.zarr")[1].shape == (3, 3)


# --------------------------------------------------------------------------------------------- images that do not fit


@pytest.fixture
def assorted(tmp_path: Path) -> Path:
    """Two images that belong together, and others."""
    folder = tmp_path / "in"
    samples = SCENES["uint16x4"]()
    save_tiff(folder / "a.tif", samples[:80, :90])
    save_tiff(folder / "b.tif", samples[20:100, :70])
    save_tiff(folder / "c-float.tif", samples[:75, :80].astype(np.float32))
    save_tiff(folder / "d-three.tif", samples[:50, :50, :3])
    return folder


def test_images_of_another_dtype_or_number_of_bands_are_named_failures(assorted: Path, tmp_path: Path) -> None:
    result = make(assorted, tmp_path / "out.zarr", k=4)
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.tif", "b.tif"]
    expected = "not 4 bands of uint16 as 2 of 4 images are: left out"
    assert failed(result) == {
        "c-float.tif": f"4 bands of float32, {expected}; --kind float32x4 labels it",
        "d-three.tif": f"3 bands of uint16, {expected}; --kind uint16x3 labels it",
    }
    make([assorted / "a.tif", assorted / "b.tif"], tmp_path / "without.zarr", k=4)
    np.testing.assert_array_equal(model_of(tmp_path / "out.zarr")[1], model_of(tmp_path / "without.zarr")[1])


def test_an_image_without_a_band_asked_for_is_a_named_failure(assorted: Path, tmp_path: Path) -> None:
    (assorted / "c-float.tif").unlink()
    result = make(assorted, tmp_path / "out.zarr", k=3, bands=(1, 4))
    assert failed(result) == {"d-three.tif": "it has no band 4, only 3"}
    with pytest.raises(NothingReadable, match=r"it has no band 5, only 4"):
        make(assorted / "a.tif", tmp_path / "none.zarr", k=3, bands=(5,))
    assert not (tmp_path / "none.zarr").exists()


@pytest.mark.parametrize("piece", [2048, 64])
def test_a_model_of_bands_refuses_files_of_other_bands_by_name(
    piece: int, assorted: Path, tmp_path: Path, parts: Any
) -> None:
    parts(piece=piece)
    make(assorted / "a.tif", tmp_path / "model.zarr", k=3)
    reasons = failed(make(assorted, tmp_path / "out.zarr", model=tmp_path / "model.zarr"))
    assert sorted(reasons) == ["c-float.tif", "d-three.tif"]
    assert "its bands are float32" in reasons["c-float.tif"]
    assert "convert it to uint16" in reasons["c-float.tif"]
    assert "kseg-batch fit" in reasons["c-float.tif"]
    assert reasons["d-three.tif"] == "it has no band 4, only 3"
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.tif", "b.tif"]


def test_a_run_whose_images_have_no_valid_pixel_fails_clearly(tmp_path: Path) -> None:
    for dtype, nodata in (("float32", "auto"), ("uint16", "0")):
        samples = np.full((70, 80, 2), np.nan if dtype == "float32" else 0, dtype)
        source = save_tiff(tmp_path / f"{dtype}.tif", samples)
        with pytest.raises(NoValidPixels, match="there is nothing to cluster"):
            make(source, tmp_path / "out.zarr", nodata=nodata)
        assert not (tmp_path / "out.zarr").exists()


def test_an_image_without_a_valid_pixel_among_others_is_blank(tmp_path: Path, parts: Any) -> None:
    parts(piece=64)
    alone = save_tiff(tmp_path / "in/a.tif", SCENES["float32x3"]())
    save_tiff(tmp_path / "in/b.tif", np.full((80, 90, 3), np.nan, np.float32))
    result = make(tmp_path / "in", tmp_path / "out.zarr", k=3)
    assert (result.images.labelled, result.images.failed) == (2, 0)
    assert set(np.unique(labels_of(tmp_path / "out.zarr", "b.tif"))) == {255}
    assert problems(tmp_path / "out.zarr") == []
    make(alone, tmp_path / "alone.zarr", k=3)
    np.testing.assert_array_equal(model_of(tmp_path / "out.zarr")[1], model_of(tmp_path / "alone.zarr")[1])


# --------------------------------------------------------------------------------------------- models of release 0.1.0


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Models of 0.1.0, ``<dtype>.npy`` that they were fitted to and the labels that release gave."""
    with zipfile.ZipFile(OLD_MODELS) as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old"


@pytest.mark.parametrize("name", ["uint8-minmax", "uint16-standard", "int16-none"])
def test_a_model_of_8_or_16_bits_of_release_0_1_labels_as_it_did(name: str, old: Path, tmp_path: Path) -> None:
    dtype, normalize = name.split("-")
    samples, labels = np.load(old / f"{dtype}.npy"), np.load(old / f"{dtype}-labels.npy")
    model = Model.load(str(old / f"{name}.zarr"))
    told, _ = model_of(old / f"{name}.zarr")
    assert model.digest == told["digest"]
    np.testing.assert_array_equal(model.predict(samples), labels)
    source = save_tiff(tmp_path / "image.tif", samples)
    result = make(source, tmp_path / "out.zarr", model=old / f"{name}.zarr")
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr"), labels)
    assert (result.inertia, result.counts) == (told["inertia"], told["result"]["counts"])
    refit = make(source, tmp_path / "new.model.zarr", normalize=normalize, attempts=10)
    facts, centroids = model_of(tmp_path / "new.model.zarr")
    np.testing.assert_array_equal(centroids, model.centroids)
    assert (facts["digest"], refit.inertia) == (told["digest"], told["inertia"])


def test_a_model_of_floats_of_release_0_1_is_refused_in_one_line_with_the_way_out(
    old: Path, tmp_path: Path, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, source = old / "float32-none.zarr", save_tiff(tmp_path / "image.tif", np.load(old / "float32.npy"))
    with pytest.raises(StoreError, match=r"float32 bands by an earlier release.*fit it again"):
        make(source, tmp_path / "out.zarr", model=model)
    with pytest.raises(StoreError, match="fit it again"):
        Model.load(str(model))
    monkeypatch.setenv("COLUMNS", "500")
    for line in (
        ("apply", source, "--model", model, "-o", tmp_path / "a.zarr"),
        ("run", source, "--model", model, "-o", tmp_path / "b.zarr"),
        ("inspect", model),
    ):
        done = kseg(*line)
        (said,) = [line for line in done.err.splitlines() if line.strip()]
        assert done.code in (1, 2)
        assert "float32-none.zarr" in said
        assert "fit it again" in said
    assert {path.name for path in tmp_path.iterdir()} == {"old", "image.tif"}
