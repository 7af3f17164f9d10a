"""``--features bands``: any number of bands of any dtype, in memory and streamed."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from kseg_core import open_store
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import NothingReadable, NoValidPixels
from workflows import run as jobs
from workflows.check import check_store
from workflows.request import InputSelection, prepare
from workflows.result import JobResult

Array = NDArray[Any]
F64 = NDArray[np.float64]


def make(
    inputs: Path | list[Path],
    output: Path,
    k: int = 4,
    *,
    model: Path | None = None,
    scheduler: str = "sync",
    workers: int | None = None,
    nodata: str = "auto",
    nodata_in: Any = None,
    tile: int = 64,
    **fit: Any,
) -> JobResult:
    """A store, as ``kseg-batch run --features bands`` makes it."""
    config = RunConfig(
        None if model is not None else FitSettings(**{"k": k, "attempts": 3, "features": "bands", **fit}),
        OutputSettings(tile=tile),
        ExecutionSettings(scheduler, workers),
        InputSettings(nodata, nodata_in=nodata_in),
        model=None if model is None else str(model),
    )
    listed = inputs if isinstance(inputs, list) else [inputs]
    selection = InputSelection(tuple(str(each) for each in listed))
    return jobs.run(prepare(selection, config, str(output), "store"))


def save(path: Path, samples: Array) -> Path:
    """A tiled TIFF of any number of bands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: Any = {"tile": (64, 64), "compression": "deflate", "photometric": "minisblack", "metadata": None}
    if samples.shape[2] == 1:
        tifffile.imwrite(path, samples[..., 0], **options)
    else:
        tifffile.imwrite(path, samples, planarconfig="contig", **options)
    return path


def labels_of(store: Path, key: str) -> Array:
    return np.asarray(open_store(str(store))[key].labels[...])


def values(contents: dict[str, str]) -> dict[str, str]:
    """The arrays' values alone."""
    return {name: digest for name, digest in contents.items() if name.endswith(":values")}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worked on in pieces begins at 128 x 128 pixels, in this process alone."""
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 14)


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a sixteenth of the pixels, or so, may be held."""
    monkeypatch.setattr("kseg_core.clustering.band_points.HELD_PX", 1 << 13)


def blobs(height: int, width: int, bands: int, seed: int) -> F64:
    """A scene of six kinds of ground, which overlap a little."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(500, 9000, (6, bands))
    y, x = np.mgrid[0:height, 0:width]
    kind = (np.sin(y / 17) * 2 + np.cos(x / 23) * 2 + rng.normal(0, 0.5, (height, width))).astype(int) % 6
    return np.asarray(centers[kind] + rng.normal(0, 300, (height, width, bands)))


def lattice(height: int, width: int, bands: int, seed: int) -> F64:
    """Few values, evenly spaced and equally frequent: full of ties."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.integers(0, 6, (height, width, bands)) * 40.0)


def with_holes(samples: Array) -> Array:
    """NaN in some bands of some pixels, a whole block, and an infinity."""
    holed = samples.copy()
    rng = np.random.default_rng(8)
    holed[rng.random(samples.shape) < 0.01] = np.nan
    holed[70:140, 30:200] = np.nan
    holed[5, 5, 0] = np.inf
    return holed


SCENES: dict[str, Callable[[], Array]] = {
    "uint8x5": lambda: (blobs(150, 210, 5, 1) / 40).clip(0, 255).astype(np.uint8),
    "uint16x4": lambda: blobs(200, 310, 4, 2).clip(0, 65535).astype(np.uint16),
    "uint16x1": lambda: blobs(200, 310, 1, 3).clip(0, 65535).astype(np.uint16),
    "int16x2": lambda: (blobs(200, 310, 2, 4) - 5000).astype(np.int16),
    "int8x2": lambda: (blobs(150, 210, 2, 4) / 40 - 120).clip(-128, 127).astype(np.int8),
    "float16x2": lambda: (blobs(150, 210, 2, 4) / 4).astype(np.float16),
    "int64x2": lambda: (blobs(150, 210, 2, 5) * 1e12).astype(np.int64),
    "uint64x1": lambda: (blobs(150, 210, 1, 5) * 1e12 + 2e18).astype(np.uint64),
    "int32x3": lambda: (blobs(150, 210, 3, 5) * 1000).astype(np.int32),
    "uint32x1": lambda: (blobs(150, 210, 1, 6) * 100 + 4e9).clip(0, 2**32 - 1).astype(np.uint32),
    "float32x3": lambda: with_holes((blobs(200, 310, 3, 7) / 1e4).astype(np.float32)),
    "float64x2": lambda: with_holes(blobs(150, 210, 2, 8) * 1e-12),
    "ties uint16x4": lambda: lattice(200, 310, 4, 9).astype(np.uint16),
    "ties float32x3": lambda: with_holes((lattice(200, 310, 3, 10) / 7).astype(np.float32)),
}


# -------------------------------------------------- what a store says is what the pixels say


def assert_labels_agree(store: Path, key: str, samples: Array) -> None:
    """Read with zarr and NumPy alone: every label is the nearest centroid, counts and inertia are of those labels."""
    root = zarr.open_group(str(store), mode="r")
    facts: Any = root["model"].attrs["kseg"]
    centroids = np.asarray(root["model/centroids"][...])  # type: ignore[index]
    group: Any = root[f"images/{key}"]
    labels = np.asarray(group["labels/kmeans/0"][...])
    chosen = samples[..., [band - 1 for band in facts["bands"]]].astype(np.float64)
    valid = np.isfinite(chosen).all(axis=2)
    np.testing.assert_array_equal(labels == 255, ~valid)
    offset, scale = (np.array(facts["normalisation"][name]) for name in ("offset", "scale"))
    x = (chosen[valid] - offset) * scale
    squared = np.zeros((len(x), len(centroids)))
    for band in range(x.shape[1]):
        squared += (x[:, band, None] - centroids[None, :, band]) ** 2
    found = squared[np.arange(len(x)), labels[valid]]
    np.testing.assert_array_equal(labels[valid], squared.argmin(axis=1))
    counts = np.bincount(labels[valid], minlength=len(centroids))
    own = group.attrs["kseg"]
    assert own["counts"] == counts.tolist()
    assert own["invalid"] == int((~valid).sum())
    assert own["inertia"] == pytest.approx(math.fsum(found), rel=1e-12)
    assert facts["inertia"] == pytest.approx(math.fsum(found), rel=1e-12)
    means = np.array([x[labels[valid] == j].mean(axis=0) for j in range(len(centroids))])
    np.testing.assert_allclose(centroids, means, rtol=1e-9, atol=1e-12 * float(np.ptp(x)))
    numbering = [(row.mean(), *row.tolist()) for row in centroids]
    assert numbering == sorted(numbering)


@pytest.mark.few(8)
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("name", "normalize"),
    [(name, "standard" if at % 2 else "none") for at, name in enumerate(SCENES) if "ties float" not in name]
    + [("uint16x4", "standard"), ("float32x3", "standard"), ("uint16x1", "standard")],
)
def test_labels_counts_inertia_and_numbering_are_what_the_pixels_say(name: str, normalize: str, tmp_path: Path) -> None:
    samples = SCENES[name]()
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=6, normalize=normalize)
    assert_labels_agree(tmp_path / "out.zarr", "image.tif", samples)
    assert result.features == "bands"
    assert check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))["problems"] == []


def test_minmax_of_bands_of_very_different_ranges(tmp_path: Path) -> None:
    samples = blobs(100, 120, 2, 3)
    samples[..., 1] = samples[..., 1] / 9000 + 270
    samples = samples.astype(np.float32)
    make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=3, normalize="minmax")
    assert_labels_agree(tmp_path / "out.zarr", "image.tif", samples)
    facts: Any = zarr.open_group(str(tmp_path / "out.zarr/model"), mode="r").attrs["kseg"]
    low, high = samples.min(axis=(0, 1)), samples.max(axis=(0, 1))
    np.testing.assert_array_equal(facts["normalisation"]["offset"], low)
    expected = 1 / (high.astype(np.float64) - low)
    np.testing.assert_array_equal(facts["normalisation"]["scale"], expected)


# -------------------------------------------------- the same bits


@pytest.mark.few(4)
@pytest.mark.parametrize("how", ["in memory", "streamed"])
@pytest.mark.parametrize("name", ["uint16x4", "ties uint16x4", "float32x3", "ties float32x3"])
def test_no_tile_chunk_worker_or_order_changes_a_bit(
    name: str, how: str, tmp_path: Path, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "streamed":
        monkeypatch.setattr("kseg_core.clustering.band_points.HELD_PX", 1 << 13)
    samples = SCENES[name]()
    folder = tmp_path / "in"
    files = [save(folder / "b.tif", samples), save(folder / "a.tif", np.ascontiguousarray(samples[:90, :100]))]
    fit = {"k": 5, "normalize": "standard", "batch_pixels": 1 << 12, "attempts": 2}
    digests = []
    for at, (tile, piece, scheduler, workers) in enumerate(
        [
            (1024, 1 << 22, "sync", 1),
            (64, 1 << 13, "threads", 2),
            (100, 1 << 14, "threads", 4),
        ]
    ):
        monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", piece)
        output = tmp_path / f"{at}.zarr"
        monkeypatch.chdir(folder)
        inputs = [Path(file.name) for file in (files if at % 2 else files[::-1])]
        make(inputs, output, tile=tile, scheduler=scheduler, workers=workers, **fit)  # type: ignore[arg-type]
        found = contents(output)
        bare = {n: d for n, d in values(found).items() if "/kmeans/" not in n or n.endswith("/0:values")}
        digests.append(bare | {"model": found["model:attributes"]})
    assert len(digests[0]) > 5
    for other in digests[1:]:
        assert other == digests[0]


@pytest.mark.slow
def test_processes_give_the_same_bits(tmp_path: Path, contents: Any) -> None:
    source = save(tmp_path / "image.tif", SCENES["ties float32x3"]())
    make(source, tmp_path / "one.zarr", normalize="standard")
    make(source, tmp_path / "two.zarr", normalize="standard", scheduler="processes", workers=2)
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")


# -------------------------------------------------- streamed


@pytest.mark.parametrize("name", ["float32x3", "uint16x4"])
def test_the_streamed_fit_is_as_good_as_the_one_in_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = SCENES[name]()
    source = save(tmp_path / "image.tif", samples)
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 14)
    one = make(source, tmp_path / "one.zarr", k=6)
    monkeypatch.setattr("kseg_core.clustering.band_points.HELD_PX", 1 << 13)
    two = make(source, tmp_path / "two.zarr", k=6, batch_pixels=1 << 12)
    assert one.inertia is not None
    assert two.inertia is not None
    assert two.inertia <= one.inertia * 1.001
    assert_labels_agree_to_tol(tmp_path / "two.zarr", samples)


def assert_labels_agree_to_tol(store: Path, samples: Array) -> None:
    """As above, but for centroids that may still move a little."""
    model = open_store(str(store)).model
    labels = labels_of(store, "image.tif")
    np.testing.assert_array_equal(labels, model.predict(samples))
    assert model.counts.tolist() == np.bincount(labels[labels != 255], minlength=model.k).tolist()


@pytest.mark.usefixtures("streamed", "small_pieces")
def test_a_streamed_scene_of_fewer_values_than_clusters_has_as_many_clusters_as_values(tmp_path: Path) -> None:
    palette = np.array([[0, 0], [10, 500], [700, 20]], np.uint16)
    samples = palette[np.random.default_rng(1).integers(0, 3, (200, 210))]
    samples[150, 160] = 65535  # a value that no mini-batch need hold
    palette = np.concatenate([palette, [[65535, 65535]]])
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=7, batch_pixels=1 << 12)
    assert (result.k, result.k_requested, result.inertia) == (4, 7, 0.0)
    assert sorted(result.centroids or []) == sorted(palette.astype(float).tolist())


@pytest.mark.usefixtures("streamed", "small_pieces")
def test_a_first_mini_batch_that_holds_no_valid_pixel(tmp_path: Path) -> None:
    samples = with_holes((blobs(200, 310, 2, 12) / 1e4).astype(np.float32))
    source = save(tmp_path / "image.tif", np.where(np.arange(310)[None, :, None] < 64, samples, np.nan))
    result = make(source, tmp_path / "out.zarr", k=3, batch_pixels=1, seed=1)
    assert result.k == 3
    assert min(result.counts or [0]) > 0


@pytest.mark.usefixtures("streamed", "small_pieces")
@pytest.mark.parametrize("pixels", [1, 3, 40])
def test_a_streamed_scene_with_hardly_a_valid_pixel(pixels: int, tmp_path: Path) -> None:
    samples = np.full((400, 410, 2), np.nan, np.float32)
    rng = np.random.default_rng(3)
    at = rng.choice(400 * 410, pixels, replace=False)
    samples.reshape(-1, 2)[at] = rng.normal(size=(pixels, 2))
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=2, batch_pixels=1 << 8)
    assert result.pixels_valid == pixels
    assert result.k == min(2, pixels)


# -------------------------------------------------- independent judges


def best_of_ten(points: F64, k: int, weights: Array | None = None) -> float:
    """The least inertia that ten of scikit-learn's fits find."""
    cluster = pytest.importorskip("sklearn.cluster")
    fit = cluster.KMeans(k, n_init=10, max_iter=1000, tol=1e-6, random_state=0).fit(points, sample_weight=weights)
    return float(fit.inertia_)


@pytest.mark.parametrize(("dtype", "normalize"), [("uint16", "none"), ("float32", "standard")])
def test_the_mse_of_blobs_is_that_of_the_best_of_ten_fits_by_scikit_learn(
    dtype: str, normalize: str, tmp_path: Path
) -> None:
    samples = blobs(100, 125, 4, 11).clip(0, 65535).astype(dtype)
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=8, normalize=normalize, attempts=10)
    points = samples.reshape(-1, 4).astype(np.float64)
    points = (points - points.mean(axis=0)) / points.std(axis=0) if normalize == "standard" else points
    assert result.inertia is not None
    assert result.inertia <= best_of_ten(points, 8) * 1.001


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["cog.tif", "cog_int16.tif"])
def test_the_mse_of_a_real_cog_is_that_of_the_best_of_ten_fits_by_scikit_learn(
    name: str, data_folder: Path, tmp_path: Path
) -> None:
    path = data_folder / "rasters" / name
    samples = tifffile.imread(path, key=0)
    kept = samples[samples != -32768] if samples.dtype == np.int16 else samples.reshape(-1)
    found, counts = np.unique(kept, return_counts=True)
    expected = best_of_ten(found[:, None].astype(np.float64), 8, counts)
    results = []
    for tile, workers in ((1024, 1), (512, 2)):
        output = tmp_path / f"{tile}.zarr"
        results.append(make(path, output, k=8, tile=tile, workers=workers, scheduler="threads", attempts=10))
    one, two = results
    assert one.pixels_valid == len(kept)
    assert one.inertia is not None
    assert one.inertia <= expected * 1.001
    assert (one.centroids, one.counts, one.inertia) == (two.centroids, two.counts, two.inertia)
    np.testing.assert_array_equal(labels_of(tmp_path / "1024.zarr", name), labels_of(tmp_path / "512.zarr", name))


@pytest.mark.parametrize("normalize", [pytest.param("none", marks=pytest.mark.slow), "standard"])
def test_a_real_cog_of_floats_with_nan_and_nodata(normalize: str, data_folder: Path, tmp_path: Path) -> None:
    path = data_folder / "rasters/cog_nodata_nan.tif"
    samples = tifffile.imread(path, key=0)
    kept = samples[np.isfinite(samples) & (samples != 0)].astype(np.float64)
    results = [
        make(path, tmp_path / f"{tile}.zarr", k=8, tile=tile, normalize=normalize, attempts=10) for tile in (1024, 100)
    ]
    scaled = (kept - kept.mean()) / kept.std() if normalize == "standard" else kept
    assert results[0].pixels_valid == len(kept)
    assert results[0].inertia is not None
    assert results[0].inertia <= best_of_ten(scaled[:, None], 8) * 1.001
    assert (results[0].centroids, results[0].counts) == (results[1].centroids, results[1].counts)


# -------------------------------------------------- few values, choice of bands


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 2])
def test_fewer_distinct_values_than_k_give_as_many_clusters_as_values(bands: int, dtype: str, tmp_path: Path) -> None:
    samples = np.zeros((30, 40, bands), dtype)
    samples[:10, :, 0], samples[10:13, :, -1] = 7, 100
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=9)
    assert (result.k, result.k_requested, result.inertia) == (3, 9, 0.0)
    assert len(np.unique(labels_of(tmp_path / "out.zarr", "image.tif"))) == 3


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("normalize", ["none", "standard", "minmax"])
def test_an_image_of_one_value_is_one_cluster(dtype: str, normalize: str, tmp_path: Path) -> None:
    samples = np.full((30, 40, 2), 300, dtype)
    result = make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=3, normalize=normalize)
    assert (result.k, result.inertia, result.counts) == (1, 0.0, [1200])
    assert result.centroids == [[300.0, 300.0] if normalize == "none" else [0.0, 0.0]]


def test_bands_are_picked_and_ordered_as_asked(tmp_path: Path) -> None:
    samples = SCENES["uint16x4"]()
    make(save(tmp_path / "image.tif", samples), tmp_path / "out.zarr", k=5, bands=(3, 1))
    make(save(tmp_path / "two.tif", np.ascontiguousarray(samples[..., [2, 0]])), tmp_path / "two.zarr", k=5)
    model, other = open_store(str(tmp_path / "out.zarr")).model, open_store(str(tmp_path / "two.zarr")).model
    np.testing.assert_array_equal(model.centroids, other.centroids)
    np.testing.assert_array_equal(
        labels_of(tmp_path / "out.zarr", "image.tif"), labels_of(tmp_path / "two.zarr", "two.tif")
    )
    facts: Any = zarr.open_group(str(tmp_path / "out.zarr/model"), mode="r").attrs["kseg"]
    assert (facts["bands"], facts["components"]) == ([3, 1], ["band_3", "band_1"])
    assert_labels_agree(tmp_path / "out.zarr", "image.tif", samples)


def test_nodata_is_of_the_selected_bands_alone(tmp_path: Path) -> None:
    samples = (SCENES["uint16x4"]()[:60, :70] + 1).astype(np.uint16)
    samples[:10, :, [0, 2]] = 9999  # in the selected bands
    samples[20:30, :, 0] = 9999  # in one of them
    samples[40:50, :, [1, 3]] = 9999  # in the others
    source = save(tmp_path / "image.tif", samples)
    for within in (None, "any", "all"):  # any is the default
        output = tmp_path / f"{within}.zarr"
        make(source, output, k=3, bands=(1, 3), nodata="9999", nodata_in=within)
        expected = np.zeros((60, 70), bool)
        expected[:10] = True
        expected[20:30] = within != "all"
        np.testing.assert_array_equal(labels_of(output, "image.tif") == 255, expected)


def test_alpha_is_no_band_and_makes_pixels_invalid(tmp_path: Path) -> None:
    samples = SCENES["uint16x4"]()[:60, :70].copy()
    samples[..., 3] = 65535
    samples[:20, :30, 3] = 0
    tifffile.imwrite(tmp_path / "image.tif", samples, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    result = make(tmp_path / "image.tif", tmp_path / "out.zarr", k=3)
    assert result.pixels_valid == 60 * 70 - 20 * 30
    assert open_store(str(tmp_path / "out.zarr")).model.centroids.shape == (3, 3)


# -------------------------------------------------- images that do not fit


@pytest.fixture
def assorted(tmp_path: Path) -> Path:
    """Two images that belong together, and others."""
    folder = tmp_path / "in"
    samples = SCENES["uint16x4"]()
    save(folder / "a.tif", samples[:80, :90])
    save(folder / "b.tif", samples[80:160, :70])
    save(folder / "c-float.tif", samples[:50, :50].astype(np.float32))
    save(folder / "d-three.tif", samples[:50, :50, :3])
    return folder


def test_images_of_another_dtype_or_number_of_bands_are_named_failures(assorted: Path, tmp_path: Path) -> None:
    result = make(assorted, tmp_path / "out.zarr", k=4)
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.tif", "b.tif"]
    reasons = {Path(failure.source).name: failure.reason for failure in result.failures}
    expected = "not 4 bands of uint16 as 2 of 4 images are: left out"
    assert reasons == {
        "c-float.tif": f"4 bands of float32, {expected}; --kind float32x4 labels it",
        "d-three.tif": f"3 bands of uint16, {expected}; --kind uint16x3 labels it",
    }
    for name in ("c-float.tif", "d-three.tif"):
        (assorted / name).unlink()
    make(assorted, tmp_path / "without.zarr", k=4)
    one, other = (open_store(str(tmp_path / name)).model.centroids for name in ("out.zarr", "without.zarr"))
    np.testing.assert_array_equal(one, other)


def test_an_image_without_a_band_asked_for_is_a_named_failure(assorted: Path, tmp_path: Path) -> None:
    (assorted / "c-float.tif").unlink()
    result = make(assorted, tmp_path / "out.zarr", k=3, bands=(1, 4))
    reasons = {Path(failure.source).name: failure.reason for failure in result.failures}
    assert reasons == {"d-three.tif": "it has no band 4, only 3"}
    with pytest.raises(NothingReadable, match=r"it has no band 5, only 4"):
        make(assorted / "a.tif", tmp_path / "none.zarr", k=3, bands=(5,))
    assert not (tmp_path / "none.zarr").exists()


@pytest.mark.parametrize(("name", "normalize"), [("uint16x4", "none"), ("ties float32x3", "standard")])
def test_applying_a_model_of_bands_gives_the_labels_of_its_run(
    name: str, normalize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(tmp_path / "image.tif", SCENES[name]())
    made = make(source, tmp_path / "run.zarr", normalize=normalize)
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 14)
    applied = make(source, tmp_path / "apply.zarr", model=tmp_path / "run.zarr")
    np.testing.assert_array_equal(
        labels_of(tmp_path / "apply.zarr", "image.tif"), labels_of(tmp_path / "run.zarr", "image.tif")
    )
    assert (applied.counts, applied.inertia, applied.k) == (made.counts, made.inertia, made.k)
    assert check_store(str(tmp_path / "apply.zarr"), ExecutionSettings("sync"))["problems"] == []


def test_a_model_of_bands_refuses_files_of_other_bands_by_name(assorted: Path, tmp_path: Path) -> None:
    make(assorted / "a.tif", tmp_path / "model.zarr", k=3)
    result = make(assorted, tmp_path / "out.zarr", model=tmp_path / "model.zarr")
    reasons = {Path(failure.source).name: failure.reason for failure in result.failures}
    assert sorted(reasons) == ["c-float.tif", "d-three.tif"]
    assert "float32" in reasons["c-float.tif"]
    assert "uint16" in reasons["c-float.tif"]
    assert reasons["d-three.tif"] == "it has no band 4, only 3"
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.tif", "b.tif"]


@pytest.mark.usefixtures("small_pieces")
def test_a_model_of_bands_refuses_a_large_file_of_another_dtype_by_name(tmp_path: Path) -> None:
    samples = SCENES["uint16x4"]()
    make(save(tmp_path / "in/a.tif", samples), tmp_path / "model.zarr", k=3)
    save(tmp_path / "in/b.tif", samples.astype(np.float32))
    result = make(tmp_path / "in", tmp_path / "out.zarr", model=tmp_path / "model.zarr")
    assert [Path(failure.source).name for failure in result.failures] == ["b.tif"]
    assert list(open_store(str(tmp_path / "out.zarr"))) == ["a.tif"]


def test_a_run_whose_images_have_no_valid_pixel_fails_clearly(tmp_path: Path) -> None:
    for dtype, nodata in (("float32", "auto"), ("uint16", "0")):
        samples = np.full((70, 80, 2), np.nan if dtype == "float32" else 0, dtype)
        source = save(tmp_path / f"{dtype}.tif", samples)
        with pytest.raises(NoValidPixels, match="there is nothing to cluster"):
            make(source, tmp_path / "out.zarr", nodata=nodata)
        assert not (tmp_path / "out.zarr").exists()


@pytest.mark.usefixtures("small_pieces")
def test_an_image_without_a_valid_pixel_among_others_is_blank(tmp_path: Path) -> None:
    samples = SCENES["float32x3"]()
    save(tmp_path / "in/a.tif", samples)
    save(tmp_path / "in/b.tif", np.full((150, 200, 3), np.nan, np.float32))
    result = make(tmp_path / "in", tmp_path / "out.zarr", k=3)
    assert (result.images.labelled, result.images.failed) == (2, 0)
    assert set(np.unique(labels_of(tmp_path / "out.zarr", "b.tif"))) == {255}
    assert check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))["problems"] == []
    shutil.rmtree(tmp_path / "in/b.tif", ignore_errors=True)
    make(tmp_path / "in/a.tif", tmp_path / "alone.zarr", k=3)
    one, other = (open_store(str(tmp_path / name)).model.centroids for name in ("out.zarr", "alone.zarr"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small_pieces")
def test_check_finds_a_changed_label_in_a_store_of_bands(tmp_path: Path) -> None:
    make(save(tmp_path / "image.tif", SCENES["float32x3"]()), tmp_path / "out.zarr", normalize="standard")
    found = check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))
    counted = {"images": 1, "compared": 1, "not_compared": {}, "damaged": []}
    assert found == {"status": "ok", "problems": [], **counted}
    labels: Any = zarr.open_array(str(tmp_path / "out.zarr/images/image.tif/labels/kmeans/0"), mode="r+")
    labels[150, 250] = (labels[150, 250] + 1) % 4
    problems = check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))["problems"]
    assert any("1 labels are not the nearest centroid" in problem for problem in problems)
