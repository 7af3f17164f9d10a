"""Reports of whole stores: what they tell is what the store holds."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from kseg_core.clustering.labelling import invalid_label
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, StoreError
from kseg_core.layers.layer import ArraySpec
from kseg_core.layers.pyramid import mode_of_blocks
from kseg_core.report.facts import read_facts
from kseg_core.report.settings import ReportSettings
from kseg_core.report.thumbnails import pixels_of
from kseg_core.report.views import ViewPlan
from kseg_core.segments.cutting import cut_window
from kseg_core.store.model import Model
from kseg_core.store.nodes import write_array
from kseg_core.store.opening import open_store
from kseg_core.store.originals import Originals
from tests.asking import SYNC
from workflows.computing.context import Context
from workflows.report import ReportRequest, make_report, pictures_of
from workflows.viewing.verify import output_settings

U8 = NDArray[np.uint8]


def report(
    store: Path, to: Path, sweep: str | None = None, execution: ExecutionSettings = SYNC, *,
    figures: bool = False, **settings: Any,
) -> dict[str, Any]:  # fmt: skip
    """A report; most tests look at the page alone."""
    with pytest.MonkeyPatch.context() as patch:
        if not figures:
            patch.setattr("kseg_core.report.figures.figure_files", lambda _: {})
        return make_report(ReportRequest(str(store), str(to), sweep, ReportSettings(**settings)), execution)


def data_of(folder: Path) -> Any:
    page = (folder / "report.html").read_text()
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def seen(store: Path, longest: int = 64, **plan: Any) -> dict[str, Any]:
    """The pictures of all images of a store."""
    opened = open_store(str(store))
    model = Model.load(str(store)) if opened.has_model else None
    facts = [read_facts(str(store), key, None) for key in opened]
    asked = {"others": {}, "painted": None, "masked": frozenset(opened), **plan}
    with Context.open(SYNC) as context:
        views = ViewPlan(str(store), Originals.of(opened.attributes), output_settings(opened), longest, model, **asked)
        pictures, failures = pictures_of(views, facts, context)
    assert failures == []
    return pictures


def halved(labels: U8, k: int, longest: int) -> U8:
    while max(labels.shape) > longest:
        labels = mode_of_blocks(labels, invalid_label(k))
    return labels


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path, job: Any) -> Path:
    """Eight smooth pictures in four clusters."""
    path = tmp_path_factory.mktemp("report") / "smooth.zarr"
    job(smooth_folder, path, 4)
    return path


@pytest.fixture(scope="module")
def folder(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report."""
    folder = tmp_path_factory.mktemp("reports") / "smooth.report"
    found = report(store, folder, figures=True)
    assert found["status"] == "ok"
    assert found["images"] == {"total": 8, "shown": 8}
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["report.html", *(Path(name).name for name in found["figures"])]
    )
    return folder


@pytest.fixture(scope="module")
def pictures(store: Path) -> dict[str, Any]:
    """Those of its images."""
    return seen(store)


def test_the_numbers_are_those_of_the_store(store: Path, folder: Path) -> None:
    data = data_of(folder)
    columns = [column["id"] for column in data["columns"]]
    opened, model = open_store(str(store)), Model.load(str(store))
    total = sum(image.attributes["inertia"] for image in opened.values()) / model.pixels
    shares = {
        key: np.array(image.attributes["counts"]) / sum(image.attributes["counts"]) for key, image in opened.items()
    }
    average = np.mean(list(shares.values()), axis=0)
    assert len(data["images"]) == 8
    for row in data["images"]:
        told = dict(zip(columns, row, strict=True))
        facts = opened[told["name"]].attributes
        assert told["pixels"] == sum(facts["counts"])
        assert told["mse"] == pytest.approx(facts["mse"], rel=1e-6)
        assert told["ratio"] == pytest.approx(facts["mse"] / total, rel=1e-6)
        own = shares[told["name"]]
        assert [told[f"c{j}"] for j in range(4)] == pytest.approx(own.tolist(), rel=1e-6)
        assert told["distance"] == pytest.approx(np.abs(own - average).sum() / 2, rel=1e-6)
    far = [row[columns.index("distance")] + abs(math.log2(row[columns.index("ratio")])) / 2 for row in data["images"]]
    assert far == sorted(far, reverse=True)


def test_the_clusters_are_those_of_the_store(store: Path, folder: Path) -> None:
    page = (folder / "report.html").read_text()
    model = Model.load(str(store))
    for color, count in zip(model.colors.tolist(), model.counts.tolist(), strict=True):
        assert "#{:02x}{:02x}{:02x}".format(*color) in page
        assert f"{count:,}" in page
        assert f"{100 * count / model.pixels:.1f} %" in page
    for attempt in model.facts["history"]:
        for inertia in (attempt["batch"], attempt["steps"]):
            assert not inertia or f"{inertia[-1]:.6g}" in page


def test_pictures_are_the_labels_and_the_spread_is_that_of_the_pixels(store: Path, pictures: dict[str, Any]) -> None:
    """A hundredth of all pixels is enough for three digits."""
    opened, model = open_store(str(store)), Model.load(str(store))
    for key, found in pictures.items():
        small = halved(np.asarray(opened[key].labels[:]), 4, 64)
        painted = pixels_of(found.segmented)
        valid = small != 255
        assert (painted[..., :3][valid] == model.colors[small[valid]]).all()
        assert (painted[..., 3] == np.where(valid, 255, 0)).all()
        assert [j for j, _ in found.masks] == [0, 1, 2, 3]
        for j, file in found.masks:
            assert (pixels_of(file) == (small == j) * np.uint8(255)).all()
    squares = sum(found.sample.squares for found in pictures.values())
    counts = sum(found.sample.counts for found in pictures.values())
    exact = math.sqrt(model.inertia / model.pixels)
    assert math.sqrt(squares.sum() / counts.sum()) == pytest.approx(exact, rel=0.01)
    assert (counts / counts.sum()) == pytest.approx(model.counts / model.pixels, abs=0.01)


@pytest.mark.few(1)
@pytest.mark.parametrize("tile", [64, 100])
def test_windows_pyramids_and_copies_change_no_picture(
    tile: int, tmp_path: Path, smooth: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiled TIFF read by pieces, with and without a pyramid and a copy, looks as it does read at once."""
    import tifffile

    import kseg_core.reading.sources as sources
    import kseg_core.report.views as views

    tifffile.imwrite(tmp_path / "in.tif", smooth(500, 700, 3), tile=(64, 64), photometric="rgb")
    made = []
    for name, output, piece_px in (
        ("whole", {}, 1 << 22),
        ("pieces", {"tile": tile, "pyramid": False}, 1 << 14),
        ("pyramid", {"tile": tile, "pyramid": True}, 1 << 14),
        ("copy", {"tile": tile, "pyramid": True, "copy_image": True}, 1 << 14),
    ):
        monkeypatch.setattr(sources, "PIECE_PX", piece_px)
        monkeypatch.setattr(views, "GRID", 64 if piece_px < 1 << 20 else 1024)
        monkeypatch.setattr(views, "WINDOW_PX", 192)
        path = tmp_path / f"{name}.zarr"
        job(tmp_path / "in.tif", path, 3, attempts=2, **output)
        if name == "copy":
            (tmp_path / "in.tif").rename(tmp_path / "gone.tif")  # the store has all that is needed
        made.append(seen(path, longest=100)["in.tif"])
    for other in made[1:]:
        assert other.segmented == made[0].segmented
        assert other.original == made[0].original
        assert other.masks == made[0].masks
        assert other.sample.counts.sum() == made[0].sample.counts.sum()


def test_edges_are_shown_where_there_are_any(store: Path, tmp_path: Path, smooth_folder: Path, job: Any) -> None:
    path = tmp_path / "s.zarr"
    job(smooth_folder, path, 2)
    marked = np.zeros((300, 520), bool)
    marked[96] = True
    edges = path / "images" / "picture-0.png" / "edges"
    write_array(str(edges), marked, ArraySpec(marked.shape, marked.shape, "bool", False, ("y", "x"), "bits"))
    assert seen(path, longest=65)["picture-0.png"].added == ()  # not finished
    zarr.open_array(edges).attrs["kseg"] = {"status": "complete", "edge_pixels": 1}
    found = seen(path, longest=65)
    shown = pixels_of(dict(found["picture-0.png"].added)["edges"])
    assert shown.shape == (38, 65)  # three times halved
    assert (shown[12] == 255).all()
    assert not np.delete(shown, 12, axis=0).any()
    assert found["picture-1.png"].added == ()
    told = report(path, tmp_path / "r", figures=True)
    assert [Path(name).name for name in told["figures"]].count("edges.png") == 1


def test_segments_are_shown_and_can_be_cut_on_the_page(
    tmp_path: Path, smooth_folder: Path, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, key = tmp_path / "s.zarr", "picture-7.png"
    job(smooth_folder / key, path, 3, segments=0.1)
    image = open_store(str(path))[key]
    numbers, contours = (np.asarray(image.array(name)[...]) for name in ("labels/segments/0", "contours"))
    found = seen(path, longest=2000)[key]  # at its own size
    hierarchy = found.hierarchy
    assert (hierarchy.count, hierarchy.level, hierarchy.step) == (numbers.max(), 0.1, 25)
    kept = pixels_of(hierarchy.file)
    np.testing.assert_array_equal(np.moveaxis(kept[..., :2], -1, 0), contours)
    picture, original = pixels_of(dict(found.added)["segments"]), pixels_of(found.original)
    for number in range(1, numbers.max() + 1):
        mean = original[numbers == number].mean(axis=0)
        assert (abs(picture[numbers == number] - mean) <= 0.5).all()
    small = seen(path, longest=300)[key]
    monkeypatch.setattr("kseg_core.report.views.WINDOW_PX", 64)
    assert seen(path, longest=300)[key].hierarchy == small.hierarchy
    report(path, tmp_path / "r", figures=True)
    page = (tmp_path / "r" / "report.html").read_text()
    assert f"{numbers.max()} segments, level 0.1" in page
    assert page.count('data-step="25"') == 1
    coarse, medium, fine = (cut_window(contours, round(level * 253)).max() for level in (0.6, 0.5, 0.36))
    assert f"segments: coarse {coarse} · medium {medium} · fine {fine}" in page
    assert f"<dd>{numbers.max()}, level 0.1</dd>" in page
    assert data_of(tmp_path / "r")["levels"]["medium"] == 126
    assert (tmp_path / "r" / "segments.png").is_file()


def test_a_sweep_is_shown_and_one_picture_painted(store: Path, tmp_path: Path) -> None:
    model = Model.load(str(store))
    rows = []
    for k in (2, 3, 4):
        row = {"k": k, "k_found": k, "inertia": 100.0 / k, "mse": 1.0 / k, "silhouette": 0.5, "calinski_harabasz": 9.0}
        rows.append({**row, "centroids": model.centroids[:k].tolist(), "colors": model.colors[:k].tolist()})
    swept = {"k": 3, "knee": 3, "why": "the knee of it", "features": "rgb", "sweep": rows, "each": None}
    (tmp_path / "sweep.json").write_text(json.dumps(swept))
    told = report(store, tmp_path / "r", sweep=str(tmp_path), figures=True, limit=2)
    assert {"elbow.png", "several-k.png"} <= {Path(name).name for name in told["figures"]}
    page = (tmp_path / "r" / "report.html").read_text()
    assert "k = 3, the knee of it" in page
    key = "picture-0.png"
    others = {k: Model("rgb", model.centroids[:k], model.colors[:k], np.zeros(k, np.int64), 0.0) for k in (2, 4)}
    found = seen(store, longest=130, others=others, painted=key)[key]
    two, four = found.painted
    assert four == found.segmented  # the same centroids
    assert len(np.unique(pixels_of(two).reshape(-1, 4), axis=0)) == 2


def test_originals_that_have_gone_and_damaged_images_are_told_and_the_rest_is_shown(
    tmp_path: Path, png: Any, smooth: Any, job: Any
) -> None:
    for name in "abcdef":
        png(tmp_path / "in" / f"{name}.png", smooth(40, 50, ord(name)))
    job(tmp_path / "in", tmp_path / "s.zarr", 2)
    (tmp_path / "in" / "a.png").unlink()
    png(tmp_path / "in" / "b.png", smooth(40, 50, 9))
    told = report(tmp_path / "s.zarr", tmp_path / "r")
    assert (told["status"], told["failures"]) == ("ok", [])
    page = (tmp_path / "r" / "report.html").read_text()
    assert "No original: the image it was labelled from is not there any more" in page
    assert "No original: changed since it was labelled" in page
    assert "The originals of 2 pictures cannot be shown" in page
    assert page.count(", original&quot;") + page.count(', original"') >= 4
    found = seen(tmp_path / "s.zarr")
    assert [found[f"{name}.png"].original is None for name in "abc"] == [True, True, False]
    images = tmp_path / "s.zarr" / "images"
    (images / "d.png" / "zarr.json").write_text("{}")
    (images / "e.png" / "labels" / "kmeans" / "0" / "c" / "0" / "0").write_bytes(b"not a chunk")
    zarr.open_array(str(images / "f.png" / "labels" / "kmeans" / "0"), mode="r+")[3:9, 3:9] = 77
    told = report(tmp_path / "s.zarr", tmp_path / "r")
    assert told["status"] == "partial"
    assert [failure["source"] for failure in told["failures"]] == ["d.png", "e.png", "f.png"]
    assert told["images"] == {"total": 6, "shown": 3}
    assert "3 of the store" in (tmp_path / "r" / "report.html").read_text()


def test_a_palette_for_each_image(tmp_path: Path, small_folder: Path, png: Any, job: Any) -> None:
    for file in small_folder.iterdir():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / file.name).write_bytes(file.read_bytes())
    png(tmp_path / "in" / "blank.png", np.zeros((6, 5, 4), np.uint8))
    job(tmp_path / "in", tmp_path / "s.zarr", 3, scope="image")
    told = report(tmp_path / "s.zarr", tmp_path / "r")
    assert told["images"] == {"total": 4, "shown": 4}
    page = (tmp_path / "r" / "report.html").read_text()
    assert "a palette for each image" in page
    assert "no valid pixel" in page
    opened = open_store(str(tmp_path / "s.zarr"))
    for key in ("a.png", "b.png", "c.png"):
        model = opened[key].model
        assert model is not None
        for color in model.colors.tolist():
            assert "#{:02x}{:02x}{:02x}".format(*color) in page
    data = data_of(tmp_path / "r")
    assert not data["cloud"]["numbered"]
    assert [column["id"] for column in data["columns"]] == ["rank", "name", "pixels", "mse", "ratio"]
    assert data["images"][-1][1:] == ["blank.png", 0, None, None]


def test_bands_are_shown_in_the_colours_of_their_stretch(tmp_path: Path, job: Any) -> None:
    import tifffile

    random = np.random.default_rng(0)
    values = np.cumsum(random.integers(0, 200, (4, 60, 70)), axis=2).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", values, planarconfig="separate", photometric="minisblack")
    job(tmp_path / "in.tif", tmp_path / "s.zarr", 3, features="bands", bands=(4, 1, 2))
    found = seen(tmp_path / "s.zarr", longest=100)["in.tif"]
    model = Model.load(str(tmp_path / "s.zarr"))
    assert model.bands is not None
    shown = model.bands.shades(np.moveaxis(values[[3, 0, 1]], 0, -1))
    assert np.abs(pixels_of(found.original).astype(int) - shown).mean() < 12  # WebP is lossy
    report(tmp_path / "s.zarr", tmp_path / "r")
    assert data_of(tmp_path / "r")["cloud"]["axes"] == ["band 4", "band 1", "band 2"]


@pytest.mark.few(1)
@pytest.mark.parametrize("k", [1, 300])
def test_one_cluster_and_hundreds(k: int, tmp_path: Path, small_folder: Path, job: Any) -> None:
    job(small_folder, tmp_path / "s.zarr", k, attempts=1)
    told = report(tmp_path / "s.zarr", tmp_path / "r")
    assert told["images"]["shown"] == 3
    columns = [column["id"] for column in data_of(tmp_path / "r")["columns"]]
    assert len(columns) == 6 + min(k, 12)


def test_a_limit_leaves_pictures_out_and_no_row(store: Path, tmp_path: Path) -> None:
    told = report(store, tmp_path / "r", limit=3)
    assert told["images"] == {"total": 8, "shown": 3}
    data = data_of(tmp_path / "r")
    assert len(data["images"]) == 8
    assert [link is not None for link in data["links"]][:2] == [True, True]  # the outliers
    assert sum(link is not None for link in data["links"]) == 3
    assert report(store, tmp_path / "none", limit=0)["images"]["shown"] == 0
    assert data_of(tmp_path / "none")["cloud"] is None


def test_any_scheduler_makes_the_same_files(store: Path, folder: Path, tmp_path: Path) -> None:
    report(store, tmp_path / "threads", execution=ExecutionSettings("threads", 3), figures=True)
    for path in folder.iterdir():
        assert (tmp_path / "threads" / path.name).read_bytes() == path.read_bytes()


def test_what_is_no_finished_store_is_told_as_such(tmp_path: Path, small_folder: Path, job: Any) -> None:
    with pytest.raises(StoreError, match="no kseg store there"):
        report(tmp_path, tmp_path / "r")
    job(small_folder, tmp_path / "m.model.zarr", 2)
    with pytest.raises(StoreError, match="a kseg model, not a store"):
        report(tmp_path / "m.model.zarr", tmp_path / "r")
    job(small_folder, tmp_path / "s.zarr", 2)
    root = zarr.open_group(str(tmp_path / "s.zarr"), mode="r+")
    root.attrs["kseg"] = {**dict(root.attrs["kseg"]), "status": "running"}  # type: ignore[arg-type]
    assert report(tmp_path / "s.zarr", tmp_path / "r")["status"] == "ok"
    assert "has not finished" in (tmp_path / "r" / "report.html").read_text()
    for key in ("a.png", "b.png", "c.png"):
        del root[f"images/{key}"]
    with pytest.raises(KsegError, match="no finished image"):
        report(tmp_path / "s.zarr", tmp_path / "none")
    assert not (tmp_path / "none").exists()
