"""Bands are clustered as they are stored: whatever their range, labels, sums and inertia are those of the pixels."""

from __future__ import annotations

import json
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

from kseg_core import Model
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import BeyondFloats, NothingReadable, StoreError
from tests.strategies import BAND_DTYPES, band_samples, exactly, rounded
from tests.workflows.test_bands import labels_of, make, save
from workflows import run as jobs
from workflows import sweep as sweeping
from workflows.check import check_store
from workflows.inspect import describe
from workflows.labelling import label_plan
from workflows.request import InputSelection, prepare
from workflows.result import JobResult
from workflows.sweep import SweepResult
from workflows.sweep_request import prepare_sweep

Array = NDArray[Any]
F64 = NDArray[np.float64]
OLD_MODELS = Path(__file__).parent / "bands-0.1.0.zip"  # fits by release 0.1.0, samples, and the labels it gave them


def make_model(source: Path, output: Path, k: int, **fit: Any) -> JobResult:
    """A model, as ``kseg-batch fit --features bands`` makes it."""
    config = RunConfig(
        FitSettings(**{"k": k, "attempts": 3, "features": "bands", **fit}),
        execution=ExecutionSettings("threads", 2),
    )
    return jobs.fit(prepare(InputSelection((str(source),)), config, str(output), "model"))


def make_sweep(source: Path, output: Path, k_range: tuple[int, int], nodata: str = "auto", **fit: Any) -> SweepResult:
    """A sweep, as ``kseg-batch sweep --features bands`` makes it."""
    config = RunConfig(
        FitSettings(**{"k": "auto", "k_range": k_range, "attempts": 2, "features": "bands", **fit}),
        OutputSettings(),
        ExecutionSettings("sync"),
        InputSettings(nodata),
    )
    return sweeping.sweep(prepare_sweep(InputSelection((str(source),)), config, str(output)))


# ------------------------------------------------- labels, inertia and bits, by a direct computation


class Judged:
    """What the distinct pixels and some centroids say, with float64 distances and sums by fractions."""

    def __init__(self, samples: Array, valid: Array, facts: Any, centroids: F64) -> None:
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


def larger(samples: Array) -> Array:
    """The same values over several pieces, in another order."""
    rng = np.random.default_rng(samples.size)
    flat = samples.reshape(-1, samples.shape[2])
    return flat[rng.integers(0, len(flat), 100 * 130)].reshape(100, 130, -1)


def model_facts(store: Path) -> tuple[Any, F64]:
    group: Any = zarr.open_group(str(store), mode="r")
    model = group.get("model", group)
    return model.attrs["kseg"], np.asarray(model["centroids"][...])


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(BAND_DTYPES).flatmap(lambda dtype: band_samples((dtype,), max_bands=2)),
    st.integers(1, 4),
    st.sampled_from(["none", "standard", "minmax"]),
)
def test_run_fit_apply_and_sweep_say_what_the_pixels_say(drawn: tuple[Array, Any], k: int, normalize: Any) -> None:
    samples = larger(drawn[0])
    valid = np.isfinite(samples).all(axis=2)
    assume(valid.any())
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 12)
        here = Path(folder)
        source = save(here / "image.tif", samples)
        fit = {"normalize": normalize, "k": k}
        try:
            result = make(source, here / "run.zarr", attempts=2, **fit)
        except BeyondFloats:
            assert np.abs(samples[valid].astype(np.float64)).max() > 1e150
            return
        facts, centroids = model_facts(here / "run.zarr")
        judged = Judged(samples, valid, facts, centroids)
        labels = labels_of(here / "run.zarr", "image.tif")
        np.testing.assert_array_equal(labels, judged.labels)
        assert (result.inertia, result.counts) == (judged.inertia, judged.counts)
        assert facts["inertia"] == judged.inertia
        assert check_store(str(here / "run.zarr"), ExecutionSettings("sync"))["problems"] == []

        patch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 22)
        fitted = make_model(source, here / "fit.model.zarr", attempts=2, **fit)
        other_facts, others = model_facts(here / "fit.model.zarr")
        np.testing.assert_array_equal(others, centroids)
        assert (fitted.inertia, other_facts["digest"]) == (judged.inertia, facts["digest"])
        applied = make(source, here / "apply.zarr", model=here / "fit.model.zarr", scheduler="threads", workers=2)
        np.testing.assert_array_equal(labels_of(here / "apply.zarr", "image.tif"), labels)
        assert (applied.inertia, applied.counts) == (judged.inertia, judged.counts)

        swept = make_sweep(source, here / "swept", (1, 3), normalize=normalize)
        assert swept.together is not None
        assert swept.together.table is not None
        for row in swept.together.table.rows:
            of_k = Judged(samples, valid, swept.space, np.array(row.centroids))
            assert (row.inertia, list(row.counts)) == (of_k.inertia, of_k.counts)


@pytest.mark.parametrize("beyond", [-1e30, 5.0, 1e30])
def test_applying_a_model_to_values_it_never_saw_gives_the_nearest_centroids(beyond: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(90, 100, 2)).astype(np.float32)
    make_model(save(tmp_path / "a.tif", samples), tmp_path / "a.model.zarr", 4, normalize="standard")
    other = (samples * 3 + rng.normal(size=samples.shape)).astype(np.float32)
    other[:9] = beyond
    result = make(save(tmp_path / "b.tif", other), tmp_path / "b.zarr", model=tmp_path / "a.model.zarr")
    facts, centroids = model_facts(tmp_path / "b.zarr")
    judged = Judged(other, np.ones((90, 100), bool), facts, centroids)
    np.testing.assert_array_equal(labels_of(tmp_path / "b.zarr", "b.tif"), judged.labels)
    assert (result.counts, result.inertia) == (judged.counts, judged.inertia)
    assert check_store(str(tmp_path / "b.zarr"), ExecutionSettings("sync"))["problems"] == []


# -------------------------------------------------------------- as good as scikit-learn, whatever the fill


def surface(height: int, width: int) -> F64:
    """Between -1 and 1, with noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).normal(0, 0.06, (height, width))
    return np.asarray(np.tanh(np.sin(y / 23) + 0.5 * np.cos(x / 19)) * 0.6 + noise)[..., None]


def filled(samples: Array, fill: float, share: float = 0.01) -> Array:
    """A fill value in some pixels, in all bands."""
    there = np.random.default_rng(1).random(samples.shape[:2]) < share
    return np.where(there[..., None], np.array(fill, samples.dtype), samples)


def holed(samples: Array) -> Array:
    """NaN in some bands of some pixels."""
    return np.where(np.random.default_rng(2).random(samples.shape) < 0.1, np.array(np.nan, samples.dtype), samples)


def elevations(height: int, width: int) -> Array:
    return (1200 + 700 * surface(height, width)).astype(np.int32)


def ndvi(dtype: str) -> Callable[[int, int], Array]:
    return lambda height, width: surface(height, width).astype(dtype)


def skewed(bands: int, dtype: str = "float32") -> Callable[[int, int], Array]:
    return lambda height, width: np.exp(1.3 * np.random.default_rng(3).normal(size=(height, width, bands))).astype(
        dtype
    )


def grounds(dtype: str) -> Callable[[int, int], Array]:
    def of(height: int, width: int) -> Array:
        rng = np.random.default_rng(4)
        centers = rng.uniform(0, 30_000, (5, 3))
        kinds = rng.integers(0, 5, (height, width))
        return (centers[kinds] + rng.normal(0, 1500, (height, width, 3))).astype(dtype)

    return of


def with_fill(of: Callable[[int, int], Array], fill: float, share: float = 0.01) -> Callable[[int, int], Array]:
    return lambda height, width: filled(of(height, width), fill, share)


INT_MIN = -(1 << 31)
SCENES: dict[str, Callable[[int, int], Array]] = {
    "elevations": elevations,
    "elevations, INT_MIN": with_fill(elevations, INT_MIN),
    "ndvi float32": ndvi("float32"),
    "ndvi float32, -9999": with_fill(ndvi("float32"), -9999),
    "ndvi float32, -3.4e38": with_fill(ndvi("float32"), -3.4028234663852886e38),
    "ndvi float64": ndvi("float64"),
    "ndvi float64, -9999": with_fill(ndvi("float64"), -9999),
    "ndvi float64, -1.8e308": with_fill(ndvi("float64"), -1.7976931348623157e308),
    "ndvi float32, NaN": lambda height, width: holed(ndvi("float32")(height, width)),
    "skewed": skewed(1),
    "skewed float64 x 3": skewed(3, "float64"),
    "grounds float32, -9999": with_fill(grounds("float32"), -9999),
    "grounds int32, INT_MIN": with_fill(grounds("int32"), INT_MIN),
    "grounds float64, NaN": lambda height, width: holed(grounds("float64")(height, width)),
}
#: scikit-learn subtracts the mean first, after which nothing is left of values beside such a fill.
BEYOND_SCIKIT_LEARN = ("-3.4e38", "-1.8e308")


def best_of_ten(samples: Array, k: int, fill: float | None = None) -> float:
    """The least inertia of ten fits by scikit-learn; with a fill value set apart, which takes a cluster of its own."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    points = samples.reshape(-1, samples.shape[2]).astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    if fill is not None:
        points, k = points[(points != fill).all(axis=1)], k - 1
    with threadpool_limits(1):  # so few points are fitted sooner by one thread
        fits = [KMeans(k, n_init=1, random_state=seed, tol=1e-6, max_iter=1000).fit(points) for seed in range(10)]
    return min(float(fit.inertia_) for fit in fits)


@pytest.mark.few(6)
@pytest.mark.parametrize(("name", "k"), [(name, (6, 3)[at % 2]) for at, name in enumerate(SCENES)])
def test_the_mse_is_at_most_that_of_the_best_of_ten_fits_by_scikit_learn(name: str, k: int, tmp_path: Path) -> None:
    samples = SCENES[name](70, 90)
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=k, attempts=10)
    fill = float(samples.min()) if name.endswith(BEYOND_SCIKIT_LEARN) else None
    assert result.inertia is not None
    assert result.k == k
    assert result.inertia <= best_of_ten(samples, k, fill) * (1 + 1e-9)
    facts, centroids = model_facts(tmp_path / "out.zarr")
    judged = Judged(samples, np.isfinite(samples).all(axis=2), facts, centroids)
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", "image.tif"), judged.labels)
    assert result.inertia == judged.inertia


def test_of_fewer_distinct_values_than_clusters_each_is_a_cluster_however_far_they_lie_apart(tmp_path: Path) -> None:
    palette = np.array([5e-324, 0.25, 0.25 + 2**-54, 7.0, 1e10, -1e150], np.float64)
    samples = palette[np.random.default_rng(5).integers(0, len(palette), (70, 80, 1))]
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=9)
    assert (result.k, result.k_requested, result.inertia) == (6, 9, 0.0)
    assert sorted(center for (center,) in result.centroids or []) == sorted(palette.tolist())


def test_more_clusters_than_there_are_coarse_cells_are_found(tmp_path: Path) -> None:
    """All but one value lie in one cell of any coarse form that spans the fill."""
    samples = np.arange(70 * 80, dtype=np.float64).reshape(70, 80, 1) / 5600
    samples[0, 0] = 1e100
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=40, attempts=2)
    assert (result.k, min(result.counts or [0])) == (40, 1)
    assert result.inertia is not None
    even = 39 * (5600 / 39) ** 3 / 12 / 5600**2  # of as many runs of equal length
    assert result.inertia <= even * 1.001


# ------------------------------------------------------------------------------------------------ streamed


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 64 x 64 pixels, and a sixteenth of the pixels, or so, held."""
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 12)
    monkeypatch.setattr("kseg_core.clustering.band_points.HELD_PX", 1 << 11)


STREAMED = ["elevations, INT_MIN", "ndvi float32, -9999", "ndvi float32, NaN", "skewed", "grounds float32, -9999"]


@pytest.mark.few(2)
@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("name", STREAMED)
def test_streamed_data_is_clustered_as_well_by_the_pixels_and_the_same_anyhow(name: str, tmp_path: Path) -> None:
    samples = SCENES[name](170, 210)
    source = save(tmp_path / "image.tif", samples)
    fit: dict[str, Any] = {"attempts": 5, "batch_pixels": 1 << 9, "tol": 0.0}  # until nothing moves
    result = make(source, tmp_path / "out.zarr", k=5, **fit)
    assert result.inertia is not None
    assert result.inertia <= best_of_ten(samples, 5) * (1 + 1e-6)  # the samples chose the attempt
    sooner = make_model(source, tmp_path / "sooner.model.zarr", 5, **(fit | {"tol": None}))
    assert sooner.inertia is not None
    assert result.inertia <= sooner.inertia <= result.inertia * (1 + 1e-3)
    facts, centroids = model_facts(tmp_path / "out.zarr")
    judged = Judged(samples, np.isfinite(samples).all(axis=2), facts, centroids)
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", "image.tif"), judged.labels)
    assert (result.inertia, result.counts) == (judged.inertia, judged.counts)
    again = make_model(source, tmp_path / "fit.model.zarr", 5, **fit)
    assert (again.centroids, again.inertia) == (result.centroids, result.inertia)


@pytest.mark.few(1)
@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("fill", [-3.4028234663852886e38, 1e6, -9999.0])
def test_a_handful_of_values_that_no_sample_holds_has_its_cluster(fill: float, tmp_path: Path) -> None:
    samples = surface(170, 210).astype(np.float32)
    samples[[0, 50, 169], [3, 77, 209]] = fill
    source = save(tmp_path / "image.tif", samples)
    fit: dict[str, Any] = {"attempts": 5, "batch_pixels": 1 << 9, "tol": 0.0}  # until nothing moves
    result = make(source, tmp_path / "out.zarr", k=4, **fit)
    assert 3 in (result.counts or [])
    assert [float(np.float32(fill))] in (result.centroids or [])
    without = make(source, tmp_path / "without.zarr", k=3, nodata=str(fill), **fit)
    assert result.inertia == pytest.approx(without.inertia, rel=1e-9)
    swept = make_sweep(source, tmp_path / "swept", (3, 4), batch_pixels=1 << 9)
    assert swept.together is not None
    assert swept.together.table is not None
    assert [float(np.float32(fill))] in [list(center) for center in swept.together.table.rows[1].centroids]


# ------------------------------------------------------------------------------------------ values far away


def far_values(dtype: str, fill: float) -> Array:
    """Two bands, the second with some pixels of a value far beyond all others."""
    rng = np.random.default_rng(6)
    samples = rng.normal(1000, 30, (70, 80, 2)).astype(dtype)
    samples[:2, :5, 1] = fill
    return samples


FILLS = [
    ("int16", -32768, "-32768"),
    ("uint16", 65535, "65535"),
    ("int32", INT_MIN, "-2147483648"),
    ("float32", -9999, "-9999"),
    ("float32", -3.4028234663852886e38, "-3.4028235e+38"),
    ("float64", 1.7976931348623157e308, "1.7976931348623157e+308"),
]


@pytest.mark.few(3)
@pytest.mark.parametrize(("dtype", "fill", "told"), FILLS)
def test_values_far_beyond_all_others_are_named_once_with_the_way_out(
    dtype: str, fill: float, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = far_values(dtype, fill)
    source = save(tmp_path / "image.tif", samples)
    large = fill > 1e300  # then the squares of distances are no numbers, unless every value far away has a cluster
    found = {
        "run": make(source, tmp_path / "out.zarr", k=4),
        "fit": make_model(source, tmp_path / "fit.model.zarr", 4),
    }
    if not large:
        found["sweep"] = make_sweep(source, tmp_path / "swept", (1, 3))  # type: ignore[assignment]
    for name, result in found.items():
        notes = [note for note in result.to_json()["notes"] if "standard deviations" in note["note"]]
        assert len(notes) == 1, name
        line = notes[0]["note"]
        assert line.startswith(f"band 2: 10 pixels of {told} in {source}, "), name
        assert line.endswith(f"--nodata={told}"), name
        json.dumps(result.to_json(), allow_nan=False)
    logged = [record for record in caplog.records if "standard deviations" in record.getMessage()]
    assert len(logged) == len(found)
    assert any("--nodata=" in note for note in describe(str(tmp_path / "fit.model.zarr"))["model"]["notes"])
    cured = make(source, tmp_path / "cured.zarr", k=4, nodata=told)
    assert cured.pixels_valid == 5600 - 10
    assert not [note for note in cured.notes if "standard deviations" in note.note]


@pytest.mark.few(2)
@pytest.mark.parametrize(("dtype", "fill", "told"), [case for case in FILLS if abs(case[1]) < 1e300])
def test_apply_names_values_far_beyond_all_others_as_run_does(
    dtype: str, fill: float, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clean = far_values(dtype, 1000)
    for name in ("a", "b", "c"):
        save(tmp_path / f"in/{name}.tif", clean if name == "b" else far_values(dtype, fill))
    result = make_model(save(tmp_path / "clean.tif", clean), tmp_path / "clean.model.zarr", 4)
    assert result.notes == ()
    make_model(tmp_path / "in", tmp_path / "filled.model.zarr", 4)
    for model in ("clean", "filled"):
        caplog.clear()
        output = tmp_path / f"{model}.zarr"
        result = make(tmp_path / "in", output, model=tmp_path / f"{model}.model.zarr")
        (logged,) = [record.getMessage() for record in caplog.records]
        assert logged.startswith(f"band 2: 20 pixels of {told} in {tmp_path / 'in/a.tif'} and 1 more image, ")
        assert logged.endswith(f"--nodata={told}")
        assert [(Path(str(note.source)).name, note.note.split(",")[0]) for note in result.notes] == [
            (name, f"band 2: 10 pixels of {told}") for name in ("a.tif", "c.tif")
        ]
        assert check_store(str(output), ExecutionSettings("sync"))["problems"] == []
        again = make(tmp_path / "in", tmp_path / f"{model}2.zarr", model=tmp_path / f"{model}.model.zarr", nodata=told)
        assert again.notes == ()


@pytest.mark.parametrize("fit", [{}, {"normalize": "standard"}])
def test_apply_says_nothing_of_values_like_those_of_its_model_nor_of_a_wider_range(
    fit: dict[str, Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    low = rng.normal(1000, 30, (70, 80, 2)).astype(np.float32)
    make_model(save(tmp_path / "low.tif", low), tmp_path / "m.zarr", 3, **fit)
    save(tmp_path / "in/same.tif", low)
    save(tmp_path / "in/constant.tif", np.full((70, 80, 2), 1010, np.float32))
    save(tmp_path / "in/wider.tif", rng.uniform(0, 9000, (70, 80, 2)).astype(np.float32))
    assert make(tmp_path / "in", tmp_path / "out.zarr", model=tmp_path / "m.zarr").notes == ()


def test_apply_names_an_image_that_is_nothing_but_a_fill_value(tmp_path: Path) -> None:
    make_model(save(tmp_path / "a.tif", far_values("float32", 1000)), tmp_path / "m.zarr", 3)
    save(tmp_path / "b.tif", np.full((70, 80, 2), -9999, np.float32))
    (note,) = make(tmp_path / "b.tif", tmp_path / "out.zarr", model=tmp_path / "m.zarr").notes
    assert note.note.startswith("bands 1, 2: 5600 pixels of -9999, ")


@pytest.mark.parametrize("stops", [0, 7])
def test_pieces_of_a_large_image_are_looked_at_together_however_often_the_job_was_stopped(
    stops: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 12)
    samples = np.random.default_rng(6).normal(1000, 30, (250, 270, 2)).astype(np.float32)
    make_model(save(tmp_path / "clean.tif", samples), tmp_path / "m.zarr", 3)
    samples[5, 5, 0], samples[200:202, 250] = 1e9, -9999
    source = save(tmp_path / "image.tif", samples)
    if stops:
        write, left = label_plan.write_window, [stops]

        def stopping(*arguments: Any) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            write(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(label_plan, "write_window", stopping)
            with pytest.raises(KeyboardInterrupt):
                make(source, tmp_path / "out.zarr", model=tmp_path / "m.zarr")
    result = make(source, tmp_path / "out.zarr", model=tmp_path / "m.zarr")
    assert [note.note.split(",")[0] for note in result.notes] == ["bands 1", "band 1: 1 pixel of 1e+09"]
    assert result.notes[0].note.startswith("bands 1, 2: 2 pixels of -9999, ")
    assert all(note.note.endswith("--nodata=-9999,1e+09") for note in result.notes)


def test_apply_says_which_bands_of_a_file_its_model_leaves_out(tmp_path: Path) -> None:
    four = np.random.default_rng(6).integers(0, 900, (70, 80, 4)).astype(np.uint16)
    make_model(save(tmp_path / "three.tif", four[..., :3]), tmp_path / "m.zarr", 3)
    (note,) = make(save(tmp_path / "four.tif", four), tmp_path / "out.zarr", model=tmp_path / "m.zarr").notes
    assert note.note == "band 4 is left out: the model is of bands 1,2,3"


def test_a_model_of_another_dtype_is_refused_with_a_way_out(tmp_path: Path) -> None:
    make_model(save(tmp_path / "a.tif", far_values("float32", 1000)), tmp_path / "m.zarr", 3)
    source = save(tmp_path / "b.tif", far_values("uint16", 1000))
    with pytest.raises(
        NothingReadable, match=r"b\.tif: its bands are uint16, .* convert it to float32 .*kseg-batch fit"
    ):
        make(source, tmp_path / "out.zarr", model=tmp_path / "m.zarr")


def test_nodata_may_be_what_files_say_and_more(tmp_path: Path) -> None:
    samples = np.random.default_rng(6).normal(100, 3, (70, 80, 1)).astype(np.float32)
    samples[0], samples[1, :9] = -9999, -1
    tifffile.imwrite(tmp_path / "a.tif", samples[..., 0], extratags=[(42113, "s", 0, "-9999", True)])
    valid = {
        text: make(tmp_path / "a.tif", tmp_path / f"{at}.zarr", nodata=text).pixels_valid
        for at, text in enumerate(("auto", "none", "-1", "auto,-1", "-1,auto"))
    }
    assert valid == {"auto": 5520, "none": 5600, "-1": 5591, "auto,-1": 5511, "-1,auto": 5511}


def test_a_value_of_nodata_that_no_pixel_can_have_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"in/{name}.tif", far_values("uint16", 1000))
    result = make(tmp_path / "in", tmp_path / "out.zarr", nodata="-5,7")
    (logged,) = [record.getMessage() for record in caplog.records]
    where = f"{tmp_path / 'in/a.tif'} and 1 more image"
    assert logged == f"--nodata -5: no pixel of uint16 can have this value; it leaves out nothing of {where}"
    assert [note.note for note in result.notes] == [logged]
    caplog.clear()
    assert make(tmp_path / "in", tmp_path / "7.zarr", nodata="7").notes == ()


def harmless() -> dict[str, Array]:
    rng = np.random.default_rng(7)
    shape = (70, 80, 1)
    return {
        "classes": rng.choice([0, 1, 2], shape, p=[0.98, 0.015, 0.005]).astype(np.uint16),
        "rare class": np.where(rng.random(shape) < 0.001, 2, 0).astype(np.int32),
        "8 bits": np.where(rng.random(shape) < 0.001, 255, 3).astype(np.uint8),
        "uniform": rng.uniform(-1, 1, shape).astype(np.float32),
        "normal": rng.normal(5, 2, shape),
        "lognormal": np.exp(rng.normal(size=shape)).astype(np.float32),
        "constant": np.full(shape, 7.5, np.float32),
    }


@pytest.mark.parametrize("name", harmless())
def test_nothing_is_said_of_data_without_such_values(name: str, tmp_path: Path) -> None:
    result = make_model(save(tmp_path / "image.tif", harmless()[name]), tmp_path / "fit.model.zarr", 3)
    assert not [note for note in result.notes if "standard deviations" in note.note]


# --------------------------------------------------------------------------------- models of release 0.1.0


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Models of 0.1.0, ``<dtype>.npy`` that they were fitted to and the labels that release gave."""
    with zipfile.ZipFile(OLD_MODELS) as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old"


@pytest.mark.parametrize("name", ["uint8-minmax", "uint16-standard", "int16-none"])
def test_a_model_of_8_or_16_bits_of_release_0_1_labels_as_it_did(name: str, old: Path, tmp_path: Path) -> None:
    dtype = name.split("-")[0]
    samples, labels = np.load(old / f"{dtype}.npy"), np.load(old / f"{dtype}-labels.npy")
    model = Model.load(str(old / f"{name}.zarr"))
    told: Any = zarr.open_group(str(old / f"{name}.zarr"), mode="r").attrs["kseg"]
    assert model.digest == told["digest"]
    np.testing.assert_array_equal(model.predict(samples), labels)
    source = save(tmp_path / "image.tif", samples)
    result = make(source, tmp_path / "out.zarr", model=old / f"{name}.zarr")
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", "image.tif"), labels)
    assert (result.inertia, result.counts) == (told["inertia"], told["result"]["counts"])
    refit = make_model(source, tmp_path / "new.model.zarr", 4, normalize=name.split("-")[1], attempts=10)
    facts, centroids = model_facts(tmp_path / "new.model.zarr")
    np.testing.assert_array_equal(centroids, model.centroids)
    assert (facts["digest"], refit.inertia) == (told["digest"], told["inertia"])


def test_a_model_of_floats_of_release_0_1_is_refused_in_one_line_with_the_way_out(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.main import main

    model, source = old / "float32-none.zarr", save(tmp_path / "image.tif", np.load(old / "float32.npy"))
    with pytest.raises(StoreError, match=r"float32 bands by an earlier release.*fit it again"):
        make(source, tmp_path / "out.zarr", model=model)
    with pytest.raises(StoreError, match="fit it again"):
        Model.load(str(model))
    monkeypatch.setenv("COLUMNS", "500")
    for arguments in (
        ["apply", str(source), "--model", str(model), "-o", str(tmp_path / "a.zarr")],
        ["run", str(source), "--model", str(model), "-o", str(tmp_path / "b.zarr")],
        ["inspect", str(model)],
    ):
        monkeypatch.setattr("sys.argv", ["kseg-batch", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
        assert ended.value.code in (1, 2)
        assert len(said) == 1, said
        assert "float32-none.zarr" in said[0]
        assert "fit it again" in said[0]
    assert not (tmp_path / "a.zarr").exists()
    assert not (tmp_path / "b.zarr").exists()
