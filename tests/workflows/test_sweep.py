"""The sweep as a job: one reading, the same bits wherever it runs, k for all images or for each, and ``--k auto``."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans

import workflows
from kseg_core import open_store
from kseg_core.config import ExecutionSettings, FitSettings, OutputSettings, RunConfig
from kseg_core.errors import KsegError, NothingReadable, NoValidPixels, StoreError, UsageError
from kseg_core.store.model import Model
from tests.conftest import pieces_of
from tests.progress import Listener
from workflows import sweep as sweeping
from workflows.fitting import fit as fitting
from workflows.request import InputSelection
from workflows.sweep import SweepResult
from workflows.sweep_request import prepare_sweep

Array = NDArray[Any]
ROW = {"k", "k_found", "inertia", "mse", "silhouette", "calinski_harabasz"}


def sweep(
    inputs: Path | Sequence[Path],
    output: Path | None,
    k_range: tuple[int, int] = (1, 5),
    *,
    scheduler: str = "sync",
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    progress: Any = None,
    **fit: Any,
) -> SweepResult:
    """A sweep, as ``kseg-batch sweep`` makes it."""
    config = RunConfig(
        FitSettings("auto", k_range=k_range, **{"attempts": 1, **fit}),
        OutputSettings(overwrite=overwrite),
        ExecutionSettings(scheduler, workers, strict),
    )
    selection = InputSelection(tuple(str(each) for each in ([inputs] if isinstance(inputs, Path) else inputs)))
    return sweeping.sweep(prepare_sweep(selection, config, None if output is None else str(output)), progress)


def told(result: SweepResult) -> dict[str, Any]:
    """What ``--json`` prints, places and times apart."""
    found = result.to_json(palette=True)
    json.dumps(found, allow_nan=False)
    return {name: value for name, value in found.items() if name not in ("output", "seconds")}


def three_colored(height: int = 60, width: int = 70) -> NDArray[np.uint8]:
    """Three well separated colours with a little noise."""
    random = np.random.default_rng(1)
    centers = np.array([[200, 40, 40], [40, 180, 60], [30, 60, 200]])
    image = centers[random.integers(0, 3, (height, width))] + random.normal(0, 6, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8)


def record_of(folder: Path) -> Any:
    return json.loads((folder / "sweep.json").read_text())


# ------------------------------------------------------------------------------------------ all images together


def test_a_sweep_tells_everything_in_json_and_in_its_three_files(small_folder: Path, tmp_path: Path) -> None:
    listener = Listener()
    found = sweep(small_folder, tmp_path / "out", progress=listener).to_json()
    # However many k there are, the pixels are read once.
    assert listener.stages == ["looking at headers", "reading colours", "finding centroids for k 1 to 5"]
    assert (listener.images["reading colours"], listener.pixels["reading colours"]) == (3, 40 * 153)
    assert (found["status"], found["scope"], found["features"], found["k_range"]) == ("ok", "global", "rgb", [1, 5])
    assert found["images"] == {"total": 3, "swept": 3, "failed": 0}
    assert found["pixels"] == {"total": 40 * 153, "valid": 40 * 153}
    assert [row["k"] for row in found["sweep"]] == [1, 2, 3, 4, 5]
    assert all(row.keys() == ROW for row in found["sweep"])
    assert (found["sweep"][0]["silhouette"], found["sweep"][0]["calinski_harabasz"]) == (None, None)
    assert all(0 < row["silhouette"] < 1 and row["calinski_harabasz"] > 0 for row in found["sweep"][1:])
    for fewer, more in pairwise(found["sweep"]):
        assert more["inertia"] < fewer["inertia"]
    assert found["k"] in range(1, 6)
    assert found["why"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sweep.csv", "sweep.json", "sweep.png"]

    record = record_of(tmp_path / "out")
    assert record["kind"] == "sweep"
    assert {name: record[name] for name in ("k", "why", "knee", "pixels", "images")} == {
        name: found[name] for name in ("k", "why", "knee", "pixels", "images")
    }
    for row, short in zip(record["sweep"], found["sweep"], strict=True):
        assert {name: row[name] for name in ROW} == short
        centroids, colors, counts = (np.array(row[name]) for name in ("centroids", "colors", "counts"))
        assert (centroids.shape, colors.shape, counts.sum()) == ((row["k"], 3), (row["k"], 3), 40 * 153)
        np.testing.assert_allclose(colors, centroids, atol=0.5)
    assert record["space"] == {"components": ["red", "green", "blue"]}

    with (tmp_path / "out" / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line, row in zip(lines, found["sweep"], strict=True):
        assert float(line["inertia"]) == row["inertia"]
        assert int(line["k"]) == row["k"]
        assert line["chosen"] == str(int(row["k"] == found["k"]))
    assert (lines[0]["silhouette"], lines[0]["calinski_harabasz"], lines[0]["drop_percent"]) == ("", "", "")
    first, second = found["sweep"][:2]
    assert float(lines[1]["drop_percent"]) == pytest.approx(100 * (1 - second["inertia"] / first["inertia"]))
    with Image.open(tmp_path / "out" / "sweep.png") as figure:
        figure.load()
        assert min(figure.size) > 500


def test_shards_threads_and_bundles_change_no_bit(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit: dict[str, Any] = {"features": "lab", "batch_pixels": 1000}
    expected = told(sweep(small_folder, tmp_path / "a", (1, 4), **fit))
    used = []
    whole = fitting.table_on_workers

    def in_shards(summary: Any, settings: Any, executor: Any, **more: Any) -> Any:
        data, batch = whole(summary, settings, executor, shard_rows=1000, **more)
        used.append(len(data.shards))
        return data, batch

    monkeypatch.setattr(fitting, "table_on_workers", in_shards)
    monkeypatch.setattr("workflows.planning.plan.BUNDLE_IMAGES", 1)
    shards = sweep(small_folder, tmp_path / "c", (1, 4), **fit, scheduler="threads", workers=3)
    assert used[0] > 2
    assert told(shards) == expected


@pytest.mark.slow
def test_processes_of_a_cluster_give_the_same_bits(cluster: Any, small_folder: Path, tmp_path: Path) -> None:
    for scope in ("global", "image"):
        here = told(sweep(small_folder, tmp_path / f"{scope}-a", (1, 3), scope=scope))
        there = told(sweep(small_folder, tmp_path / f"{scope}-b", (1, 3), scope=scope, scheduler=cluster.address))
        assert there == here


def test_fewer_values_than_clusters_are_told_and_drawn(tmp_path: Path, png: Any) -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[:10], image[10:, :10] = (250, 0, 0), (0, 240, 0)
    found = sweep(png(tmp_path / "three.png", image), tmp_path / "out", (1, 6)).to_json()
    assert [(row["k"], row["k_found"]) for row in found["sweep"]] == [(1, 1), (2, 2), (3, 3), (4, 3), (5, 3), (6, 3)]
    assert [row["inertia"] for row in found["sweep"][2:]] == [0.0] * 4
    assert (found["k"], found["knee"]) == (3, 3)
    rows = (tmp_path / "out" / "sweep.csv").read_text().splitlines()
    assert [row.rsplit(",", 2)[1:] for row in rows[1:]] == [["0", "0"]] * 2 + [["1", "1"]] + [["0", "0"]] * 3


def test_one_value_is_one_cluster(tmp_path: Path, png: Any) -> None:
    swept = sweep(png(tmp_path / "one.png", np.full((9, 9, 3), 77, np.uint8)), tmp_path / "out").to_json()
    assert (swept["k"], swept["knee"]) == (1, None)
    assert "one value" in swept["why"]
    assert {row["silhouette"] for row in swept["sweep"]} == {None}


# ------------------------------------------------------------------------------------------------- bands


def scene(height: int, width: int, bands: int, seed: int) -> Array:
    """Four kinds of ground, well apart."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(500, 9000, (4, bands))
    y, x = np.mgrid[0:height, 0:width]
    kind = (y // 40 + x // 50) % 4
    return (centers[kind] + rng.normal(0, 200, (height, width, bands))).clip(0, 60000).astype(np.uint16)


def save_bands(path: Path, samples: Array) -> Path:
    tifffile.imwrite(path, samples, tile=(64, 64), photometric="minisblack", planarconfig="contig", metadata=None)
    return path


def test_bands_too_many_to_hold_are_swept_in_few_readings_and_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = scene(200, 260, 3, 5)
    source = save_bands(tmp_path / "image.tif", samples)
    fit: dict[str, Any] = {"features": "bands", "normalize": "standard", "batch_pixels": 1 << 11, "attempts": 2}
    held = sweep(source, tmp_path / "held", (1, 6), **fit)
    monkeypatch.setattr("kseg_core.clustering.band_points.HELD_PX", 1 << 12)
    from workflows.fitting.streamed import StreamedBands

    passes = []
    whole = StreamedBands._ask

    def counted(data: StreamedBands, *asked: Any) -> Any:
        passes.append(asked)
        return whole(data, *asked)

    monkeypatch.setattr(StreamedBands, "_ask", counted)
    with pieces_of(128):
        streamed = sweep(source, tmp_path / "streamed", (1, 6), **fit)
    alone = 3 * 6  # passes that numbering and judging each k by itself would take
    assert 5 <= len(passes) < alone
    with pieces_of(128):
        again = sweep(source, tmp_path / "again", (1, 6), scheduler="threads", workers=2, **fit)
    assert told(again) == told(streamed)
    features = samples.reshape(-1, 3).astype(np.float64)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    for one, other in zip(held.to_json()["sweep"], streamed.to_json()["sweep"], strict=True):
        assert other["inertia"] == pytest.approx(one["inertia"], rel=1e-3)
        if one["k"] > 1:
            assert other["silhouette"] == pytest.approx(one["silhouette"], abs=0.02)
        best = KMeans(one["k"], n_init=3, random_state=0).fit(features).inertia_
        assert other["inertia"] <= best * 1.001
    for fewer, more in pairwise(streamed.to_json()["sweep"]):
        assert more["inertia"] <= fewer["inertia"]
    assert streamed.to_json()["k"] == held.to_json()["k"]
    assert record_of(tmp_path / "streamed")["space"]["normalisation"]["offset"][0] > 0


def test_few_values_among_too_many_pixels_to_hold_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.zeros((150, 200, 2), np.uint16)
    samples[:, 100:] = (700, 30)
    samples[0, 0] = (9, 9)  # hardly in any sample
    source = save_bands(tmp_path / "image.tif", samples)
    monkeypatch.setattr("kseg_core.clustering.band_points.HELD_PX", 1 << 11)
    with pieces_of(128):
        found = sweep(source, tmp_path / "out", (1, 5), features="bands", batch_pixels=1 << 9).to_json()
    assert [row["k_found"] for row in found["sweep"]] == [1, 2, 3, 3, 3]
    assert [row["inertia"] == 0 for row in found["sweep"]] == [False, False, True, True, True]


# ------------------------------------------------------------------------------------------- each image alone


def test_with_scope_image_every_image_has_its_own_table_and_k(tmp_path: Path, png: Any, smooth: Any) -> None:
    folder = tmp_path / "in"
    png(folder / "three.png", three_colored())
    png(folder / "two.png", np.kron(np.array([[0, 200], [200, 0]], np.uint8), np.ones((9, 9), np.uint8)))
    png(folder / "clear.png", np.zeros((5, 5, 4), np.uint8))
    png(folder / "smooth.png", smooth(50, 60, 3))
    result = sweep(folder, tmp_path / "out", (1, 6), scope="image")
    found = result.to_json()
    assert (found["k"], found["why"], found["knee"], found["sweep"]) == (None, None, None, None)
    assert [image["key"] for image in found["each"]] == ["clear.png", "smooth.png", "three.png", "two.png"]
    clear, blobs, three, two = found["each"]
    assert (three["k"], two["k"]) == (3, 2)
    assert (clear["k"], clear["sweep"], clear["why"]) == (None, None, "no valid pixel")
    assert clear["pixels"] == {"total": 25, "valid": 0}
    alone = sweep(folder / "smooth.png", tmp_path / "alone", (1, 6)).to_json()
    assert blobs["sweep"] == alone["sweep"]
    assert (blobs["k"], blobs["why"]) == (alone["k"], alone["why"])
    with (tmp_path / "out" / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["key"] for line in lines] == ["smooth.png"] * 6 + ["three.png"] * 6 + ["two.png"] * 6
    assert [line["k"] for line in lines if line["chosen"] == "1"] == [str(blobs["k"]), "3", "2"]
    drawn = record_of(tmp_path / "out")["each"][2]["sweep"][2]
    assert (len(drawn["colors"]), sum(drawn["counts"])) == (3, 60 * 70)


def test_an_image_in_pieces_is_swept_alone_as_if_it_were_whole(tmp_path: Path, smooth: Any) -> None:
    source = tmp_path / "image.tif"
    tifffile.imwrite(source, smooth(130, 140, 4), tile=(64, 64), photometric="rgb", metadata=None)
    whole = told(sweep(source, tmp_path / "whole", (1, 4), scope="image"))
    with pieces_of(64):
        assert told(sweep(source, tmp_path / "pieces", (1, 4), scope="image")) == whole


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_unreadable_images_are_named_and_the_rest_is_swept(tmp_path: Path, png: Any, smooth: Any) -> None:
    folder = tmp_path / "in"
    png(folder / "a.png", smooth(30, 40, 1))
    cut = png(folder / "b.png", smooth(30, 40, 2))
    cut.write_bytes(cut.read_bytes()[:-40])
    for scope in ("global", "image"):
        found = sweep(folder, tmp_path / scope, (1, 3), scope=scope).to_json()
        assert (found["status"], found["images"]) == ("partial", {"total": 2, "swept": 1, "failed": 1})
        assert [failure["source"] for failure in found["failures"]] == [str(cut)]
        assert found["pixels"] == {"total": 1200, "valid": 1200}
        with pytest.raises(KsegError, match=r"b\.png"):
            sweep(folder, tmp_path / "strict", (1, 3), scope=scope, strict=True)
        (folder / "a.png").rename(tmp_path / "a.png")
        with pytest.raises(NothingReadable):
            sweep(folder, tmp_path / "none", (1, 3), scope=scope)
        (tmp_path / "a.png").rename(folder / "a.png")
        assert not (tmp_path / "strict").exists()
        assert not (tmp_path / "none").exists()


def test_no_valid_pixel_at_all_is_an_error(tmp_path: Path, png: Any) -> None:
    with pytest.raises(NoValidPixels):
        sweep(png(tmp_path / "clear.png", np.zeros((5, 5, 4), np.uint8)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_written_to_where_it_is_new_empty_or_an_earlier_sweeps(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    sweep(small_folder, tmp_path / "out", (1, 2))
    (tmp_path / "out" / "note.txt").write_text("mine")
    sweep(small_folder, tmp_path / "out", (1, 3))
    assert len(record_of(tmp_path / "out")["sweep"]) == 3
    assert (tmp_path / "out" / "note.txt").read_text() == "mine"


def test_any_other_folder_is_left_alone_unless_overwritten(small_folder: Path, tmp_path: Path, job: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sweep.json").write_text("[]")
    with pytest.raises(StoreError, match="does not hold a sweep"):
        sweep(small_folder, tmp_path / "out", (1, 2))
    sweep(small_folder, tmp_path / "out", (1, 2), overwrite=True)
    (tmp_path / "file").write_text("mine")
    job(small_folder, tmp_path / "store.zarr", k=2)
    for name, reason in (("file", "not a folder"), ("store.zarr", "Zarr store")):
        with pytest.raises(StoreError, match=reason):
            sweep(small_folder, tmp_path / name, (1, 2), overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_among_the_images_is_refused(tmp_path: Path, png: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    png(tmp_path / "in" / "a.png", three_colored())
    with pytest.raises(UsageError, match="inside the input folder"):
        sweep(tmp_path / "in", tmp_path / "in" / "sweep")
    monkeypatch.chdir(tmp_path)
    assert sweep(Path("in"), None, (1, 2)).output == "in.sweep"
    with pytest.raises(UsageError, match="-o"):
        sweep([Path("in"), Path("in")], None)


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(small_folder, tmp_path / "out", (1, 2))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kseg_core.sweep.files.os.replace", full)
    with pytest.raises(KsegError, match="cannot be written"):
        sweep(small_folder, tmp_path / "out", (1, 3))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


# ------------------------------------------------------------------------------------------------------ --k auto


def test_a_run_with_auto_finds_k_says_why_and_keeps_the_table(tmp_path: Path, png: Any, job: Any) -> None:
    source = png(tmp_path / "three.png", three_colored())
    result = job(source, tmp_path / "out.zarr", k="auto", k_range=(1, 7), attempts=2)
    found = result.to_json()
    assert (found["k"], found["k_requested"], found["k_why"]) == (
        3,
        "auto",
        "the knee of the inertia curve over k 1 to 7",
    )
    store = open_store(str(tmp_path / "out.zarr"))
    model = store.model
    swept = sweep(source, tmp_path / "sweep", (1, 7), attempts=2).to_json()
    numbers = [{n: v for n, v in row.items() if n not in ("centroids", "colors")} for row in model.facts["sweep"]]
    assert numbers == swept["sweep"]
    assert [len(row["colors"]) for row in model.facts["sweep"]] == [row["k_found"] for row in numbers]
    assert (model.k, model.k_requested, model.k_why, model.inertia) == (3, "auto", swept["why"], result.inertia)
    np.testing.assert_array_equal(np.unique(store["three.png"].labels[...]), [0, 1, 2])


def test_a_fit_with_auto_is_the_best_of_the_sweep_and_can_be_matched(tmp_path: Path, png: Any, job: Any) -> None:
    source = png(tmp_path / "three.png", three_colored())
    job(source, tmp_path / "one.model.zarr", k="auto", attempts=1)
    one = Model.load(str(tmp_path / "one.model.zarr"))
    swapped = np.ascontiguousarray(three_colored()[..., ::-1])  # dark becomes light
    job(
        png(tmp_path / "other.png", swapped),
        tmp_path / "two.model.zarr",
        k="auto",
        attempts=1,
        match=tmp_path / "one.model.zarr",
    )
    two = Model.load(str(tmp_path / "two.model.zarr"))
    assert (one.k, two.k) == (3, 3)
    assert two.k_requested == "auto"
    np.testing.assert_allclose(two.centroids, one.centroids, atol=45)  # in the order of the earlier one
    job(source, tmp_path / "three.model.zarr", k=2)
    job(source, tmp_path / "four.model.zarr", k="auto", attempts=1, match=tmp_path / "three.model.zarr")
    assert Model.load(str(tmp_path / "four.model.zarr")).k == 3  # one more than there were


def test_auto_with_scope_image_chooses_k_for_each_image(tmp_path: Path, png: Any, job: Any) -> None:
    folder = tmp_path / "in"
    png(folder / "three.png", three_colored())
    png(folder / "two.png", np.kron(np.array([[0, 200], [200, 0]], np.uint8), np.ones((9, 9), np.uint8)))
    found = job(folder, tmp_path / "out.zarr", k="auto", scope="image", attempts=1).to_json()
    assert (found["k"], found["k_requested"], found["k_why"]) == (None, "auto", None)
    store = open_store(str(tmp_path / "out.zarr"))
    models = {key: store[key].model for key in store}
    assert {key: model.k for key, model in models.items()} == {"three.png": 3, "two.png": 2}
    assert all(model.k_why and len(model.facts["sweep"]) == 10 for model in models.values())


def test_auto_for_bands(tmp_path: Path, job: Any) -> None:
    source = save_bands(tmp_path / "image.tif", scene(60, 200, 4, 2))
    found = job(source, tmp_path / "out.zarr", k="auto", k_range=(2, 7), features="bands").to_json()
    assert (found["k"], found["k_requested"]) == (4, "auto")


def test_segment_takes_auto(tmp_path: Path) -> None:
    found = workflows.segment(three_colored(), RunConfig(FitSettings("auto", attempts=2)))
    assert (found.model.k, found.model.k_requested) == (3, "auto")
    assert set(np.unique(found.labels["image"].compute())) == {0, 1, 2}


def test_the_same_auto_run_again_changes_nothing_and_a_fixed_k_is_other_settings() -> None:
    plain = RunConfig(FitSettings(5)).fingerprint()
    assert "k_range" not in plain["fit"]
    auto = RunConfig(FitSettings("auto")).fingerprint()
    assert auto == RunConfig(FitSettings("auto", k_range=(1, 10))).fingerprint()
    assert (auto["fit"]["k"], auto["fit"]["k_range"]) == ("auto", [1, 10])
    assert json.loads(json.dumps(auto)) == auto


# ------------------------------------------------------------------------------------------------------ real data


@pytest.mark.slow
def test_photographs_are_swept_as_well_as_by_ten_runs_of_scikit_learn(data_folder: Path, tmp_path: Path) -> None:
    files = sorted((data_folder / "small").glob("*.jpg"))[:4]
    found = sweep(files, tmp_path / "out", (2, 4), attempts=10, scheduler="threads").to_json()
    pixels = []
    for file in files:
        with Image.open(file) as image:
            pixels.append(np.asarray(image.convert("RGB")).reshape(-1, 3))
    colors, weights = np.unique(np.concatenate(pixels), axis=0, return_counts=True)
    for row in found["sweep"]:
        fitted = KMeans(row["k"], n_init=10, random_state=0).fit(colors.astype(np.float64), sample_weight=weights)
        assert row["inertia"] <= fitted.inertia_ * 1.001
