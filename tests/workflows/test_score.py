"""Scores of stores are those of scikit-learn over the whole pictures, whatever windows, files and schedulers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
import tifffile
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.warp import reproject
from sklearn import metrics

from kseg_core import open_store
from kseg_core.classes import Classes, NamedClass
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, UsageError
from kseg_core.report.settings import ReportSettings
from kseg_core.scoring import counting, reading
from kseg_core.scoring.files import read_score
from kseg_core.scoring.settings import ScoreSettings
from kseg_core.store.opening import write_classes
from tests.asking import SYNC, labels_of, run_job
from tests.pictures import by_gdal
from workflows import score as workflow
from workflows.report import ReportRequest, make_report
from workflows.score import ScoreRequest, score

I64 = NDArray[np.int64]
UTM, PLACE = "EPSG:32633", Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)
CLOSE = {"rel": 0, "abs": 1e-12}


def scored(store: Path, reference: Path, execution: ExecutionSettings = SYNC, **more: Any) -> dict[str, Any]:
    given = {name: more.pop(name) for name in ("images", "to") if name in more}
    return score(ScoreRequest(str(store), str(reference), ScoreSettings(**more), **given), execution)


def reasons(result: dict[str, Any]) -> dict[str, str]:
    return {each["image"]: each["reason"] for each in result["failures"]}


def noisy(labels: NDArray[Any], seed: int, classes: int = 3) -> I64:
    """Classes 1, 2, … that labels have something to do with; some pixels are 0."""
    rng = np.random.default_rng(seed)
    truth = labels.astype(np.int64) % classes + 1
    wrong = rng.random(labels.shape) < 0.2
    truth[wrong] = rng.integers(0, classes + 1, int(wrong.sum()))
    return truth


def save(path: Path, codes: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".png", ".bmp"):
        Image.fromarray(codes).save(path)
    else:
        tifffile.imwrite(path, codes)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path) -> Path:
    """A store of eight pictures, one of which has pixels that are not valid."""
    store = tmp_path_factory.mktemp("score") / "s.zarr"
    run_job(smooth_folder, store, k=5, tile=64, segments="medium")
    return store


@pytest.fixture(scope="module")
def truth(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference for each of its images."""
    folder = tmp_path_factory.mktemp("truth")
    for seed, image in enumerate(open_store(made).values()):
        codes = noisy(np.asarray(image.labels[...]), seed).astype(np.uint8)
        save(folder / f"{Path(image.source).stem}{('.png', '.tif')[seed % 2]}", codes)
    return folder


def compared(made: Path, truth: Path) -> tuple[I64, I64]:
    """All pixels that count, of all images: labels and reference."""
    labels, codes = [], []
    for image in open_store(made).values():
        (path,) = truth.glob(f"{Path(image.source).stem}.*")
        theirs = np.asarray(Image.open(path)).astype(np.int64)
        mine = np.asarray(image.labels[...]).astype(np.int64)
        counts = (theirs > 0) & (mine != 255)
        labels.append(mine[counts])
        codes.append(theirs[counts])
    return np.concatenate(labels), np.concatenate(codes)


# ------------------------------------------------------------------------------------------------------- classes


def test_a_store_is_scored_as_scikit_learn_does(made: Path, truth: Path) -> None:
    labels, codes = compared(made, truth)
    result = scored(made, truth)
    assert (result["status"], result["assign"], result["what"]) == ("ok", "majority", "labels")
    assert result["images"] == {"total": 8, "scored": 8, "unjudged": 0, "failed": 0}
    assert result["pixels"]["judged"] == len(labels)
    assert result["pixels"]["unlabelled"] > 0
    mapped = {each["label"]: int(each["class"]) for each in result["assignment"]}
    predicted = np.array([mapped[label] for label in labels.tolist()])
    classes = result["classes"]
    assert classes["accuracy"] == pytest.approx(metrics.accuracy_score(codes, predicted), **CLOSE)
    assert classes["kappa"] == pytest.approx(metrics.cohen_kappa_score(codes, predicted), **CLOSE)
    expected = metrics.confusion_matrix(codes, predicted)
    np.testing.assert_array_equal(np.array(classes["confusion"])[:, :-1], expected)
    assert [each["name"] for each in classes["each"]] == ["1", "2", "3"]
    for name, found in zip(
        ("precision", "recall", "f1", "iou"),
        (
            *metrics.precision_recall_fscore_support(codes, predicted)[:3],
            metrics.jaccard_score(codes, predicted, average=None),
        ),
        strict=True,
    ):
        assert [each[name] for each in classes["each"]] == pytest.approx(found.tolist(), **CLOSE)
    agreement = result["agreement"]
    assert agreement["adjusted_rand"] == pytest.approx(metrics.adjusted_rand_score(codes, labels), **CLOSE)
    assert agreement["mutual_information"] == pytest.approx(
        metrics.normalized_mutual_info_score(codes, labels), **CLOSE
    )
    judged = [each["judged"] * each["accuracy"] for each in result["each"]]
    assert sum(judged) / len(labels) == pytest.approx(classes["accuracy"], **CLOSE)


@pytest.mark.parametrize("execution", [SYNC, ExecutionSettings("threads", workers=3)])
def test_windows_and_schedulers_change_no_bit(
    made: Path, truth: Path, execution: ExecutionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scored(made, truth)
    monkeypatch.setattr(counting, "WINDOW_PX", 64)
    monkeypatch.setattr(workflow, "AHEAD", 2)
    assert scored(made, truth, execution) == expected
    expected = scored(made, truth, what="segments")
    monkeypatch.setattr(counting, "WINDOW_PX", 100)
    assert scored(made, truth, execution, what="segments") == expected


def test_strips_are_read_as_wide_as_they_are(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = open_store(made)["picture-1.png"]
    codes = noisy(np.asarray(image.labels[...]), 3).astype(np.int32)
    tifffile.imwrite(tmp_path / "strips.tif", codes, rowsperstrip=7)
    tifffile.imwrite(tmp_path / "tiles.tif", codes, tile=(32, 48))
    monkeypatch.setattr(counting, "WINDOW_PX", 80)
    found = [scored(made, tmp_path / f"{name}.tif", images=("picture-1.png",)) for name in ("strips", "tiles")]
    assert found[0]["classes"] == found[1]["classes"]
    assert found[0]["pixels"]["judged"] == np.count_nonzero(codes)


def test_classes_by_name_and_one_to_one(made: Path, truth: Path, tmp_path: Path) -> None:
    store = tmp_path / "named.zarr"
    os.system(f"cp -r {made} {store}")
    folder = tmp_path / "polygons"
    folder.mkdir()
    write_classes(str(store / "model"), Classes((NamedClass("Plant", (0, 3)), NamedClass("soil", (1,)))))
    for image in open_store(store).values():
        height, width = image.labels.shape
        halves = [shapely.box(0, 0, width // 2, height), shapely.box(width // 2, 0, width, height)]
        geojson(folder / f"{Path(image.source).stem}.geojson", zip(halves, ("plant", "soil"), strict=True))
    result = scored(store, folder)
    assert (result["what"], result["assign"]) == ("classes", "name")
    named = {each["name"]: each["class"] for each in result["assignment"]}
    assert named == {"Plant": "plant", "soil": "soil", "2": None, "4": None}
    codes, labels = [], []
    for image in open_store(store).values():
        mine = np.asarray(image.labels[...])
        half = np.arange(mine.shape[1])[None] >= mine.shape[1] // 2
        codes.append(np.broadcast_to(half, mine.shape)[mine != 255])
        labels.append(np.array([0, 1, -1, 0, -1] + [-9] * 251)[mine][mine != 255])
    theirs, mine = np.concatenate(codes).astype(int), np.concatenate(labels)
    assert result["classes"]["accuracy"] == pytest.approx(metrics.accuracy_score(theirs, mine), **CLOSE)
    assert result["classes"]["unassigned"] == (mine == -1).sum()
    own = scored(store, truth)  # whose classes have other names
    assert (own["what"], own["assign"]) == ("classes", "majority")
    labelled = scored(store, truth, what="labels", assign="one-to-one")
    assert sorted(each["class"] or "" for each in labelled["assignment"]) == ["", "", "1", "2", "3"]
    with pytest.raises(UsageError, match=r"--assign name: no class of the reference \(1, 2, 3\) .*kseg-batch classes"):
        scored(store, truth, assign="name")
    with pytest.raises(UsageError, match="kseg-batch classes"):
        scored(made, truth, what="classes")


def test_images_with_clusters_of_their_own_are_assigned_by_themselves(
    smooth_folder: Path, truth: Path, tmp_path: Path
) -> None:
    store = tmp_path / "own.zarr"
    run_job(smooth_folder, store, k=3, scope="image")
    result = scored(store, truth)
    right = total = 0
    for image in open_store(store).values():
        (path,) = truth.glob(f"{Path(image.source).stem}.*")
        mine, theirs = np.asarray(image.labels[...]), np.asarray(Image.open(path))
        counts = (mine != 255) & (theirs > 0)
        table = metrics.cluster.contingency_matrix(mine[counts], theirs[counts])
        right, total = right + table.max(axis=1).sum(), total + table.sum()
    assert result["classes"]["accuracy"] == right / total
    assert result["assignment"] is None
    mean = np.mean([each["adjusted_rand"] for each in result["each"]])
    assert result["agreement"]["adjusted_rand"] == pytest.approx(mean, **CLOSE)


# ------------------------------------------------------------------------------------------------- people's regions


def test_segments_are_held_against_all_people(made: Path, tmp_path: Path) -> None:
    """Several files, a folder, and pages of a TIFF are several people."""
    image = open_store(made)["picture-0.png"]
    segments = np.asarray(image.segments[...])
    rng = np.random.default_rng(5)
    people = [noisy(segments, seed, classes=int(rng.integers(3, 9))).astype(np.uint16) for seed in range(3)]
    for at, each in enumerate(people, 1):
        save(tmp_path / "files" / f"picture-0_{at}.tif", each)
        save(tmp_path / "names" / f"picture-0.person{at}.tif", each)
        save(tmp_path / "folder" / "picture-0" / f"{'abc'[at - 1]}.tif", each)
    save(tmp_path / "files" / "picture-1_1.tif", people[0])  # of another image
    (tmp_path / "pages").mkdir()
    with tifffile.TiffWriter(tmp_path / "pages" / "picture-0.tif") as file:
        for each in people:
            file.write(each, metadata=None)
        file.write(people[0][::2, ::2], subfiletype=1, metadata=None)
    found = [
        scored(made, tmp_path / name, what="segments", images=("picture-0.png",))
        for name in ("files", "names", "folder", "pages")
    ]
    for each in found:
        assert each["references"] == 3
        assert each["agreement"] == found[0]["agreement"]
        assert each["classes"] is None
    judged = [(each > 0) & (segments > 0) for each in people]
    rand = np.mean([metrics.rand_score(each[ok], segments[ok]) for each, ok in zip(people, judged, strict=True)])
    assert found[0]["agreement"]["rand"] == pytest.approx(rand, **CLOSE)
    assert found[0]["pixels"]["judged"] == sum(ok.sum() for ok in judged)


def test_segments_at_another_level_are_those_that_an_export_has(made: Path, tmp_path: Path) -> None:
    """The same labels on both sides agree wholly; a segment is one whatever it is called."""
    from kseg_core.export.settings import ExportSettings
    from workflows.export import export
    from workflows.export_plan import ExportRequest

    export(
        ExportRequest(str(made), str(tmp_path / "out"), ExportSettings(("segments",), format="tiff", level=0.2)), SYNC
    )
    for file in (tmp_path / "out").iterdir():
        file.rename(tmp_path / "out" / f"{file.name.split('.')[0]}.tif")
    result = scored(made, tmp_path / "out", what="segments", level=0.2)
    assert result["status"] == "ok"
    assert {result["agreement"][name] for name in ("covering", "rand", "adjusted_rand", "mutual_information")} == {1.0}
    assert result["agreement"]["variation_of_information"] == pytest.approx(0, **CLOSE)
    assert scored(made, tmp_path / "out", what="segments")["agreement"]["covering"] < 1


def test_segments_may_be_assigned_to_classes(made: Path, truth: Path) -> None:
    result = scored(made, truth, what="segments", assign="majority")
    right = total = 0
    for image in open_store(made).values():
        (path,) = truth.glob(f"{Path(image.source).stem}.*")
        mine, theirs = np.asarray(image.segments[...]), np.asarray(Image.open(path))
        counts = (mine > 0) & (theirs > 0)
        table = metrics.cluster.contingency_matrix(mine[counts], theirs[counts])
        right, total = right + table.max(axis=1).sum(), total + table.sum()
    assert result["classes"]["accuracy"] == right / total


def test_more_pairs_than_there_is_room_for_are_refused_by_image(
    made: Path, truth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "_most_pairs", lambda context: 4)
    with pytest.raises(KsegError, match=r"picture-0\.png: \d+ pairs .* --memory, or score coarser"):
        scored(made, truth)


# ------------------------------------------------------------------------------------------------------ references


def geojson(path: Path, shapes: Any, name: str = "class", **members: Any) -> Path:
    features = [
        {"type": "Feature", "properties": {name: told}, "geometry": shapely.geometry.mapping(shape)}
        for shape, told in shapes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **members}))
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, smooth: Any) -> Path:
    """A store of one image that is on the ground."""
    folder = tmp_path_factory.mktemp("scene")
    by_gdal(folder / "scene.tif", smooth(150, 210, 3), crs=UTM, transform=PLACE)
    run_job(folder / "scene.tif", folder / "s.zarr", k=4, tile=64)
    return folder / "s.zarr"


def codes_of(store: Path, reference: Path, monkeypatch: pytest.MonkeyPatch) -> I64:
    """What a score takes a reference for in the store's first image, put together from windows; 0: not judged."""
    image = next(iter(open_store(store).values()))
    monkeypatch.setattr(counting, "WINDOW_PX", 64)
    settings = ScoreSettings()
    (found,) = workflow.look_at(image, (str(reference),), settings)
    codes = np.zeros(image.labels.shape, np.int64)
    for unit in counting.units_of(image, (found,)):
        with reading.opened_reference(found, image, settings) as reader:
            for window in unit.windows:
                part = reader.read(*window)
                codes[window] = np.where(part.judged, part.codes, 0)
    return codes


@pytest.mark.parametrize(
    ("crs", "place", "shape"),
    [
        (UTM, PLACE @ Affine.translation(-7, 12), (120, 230)),
        (UTM, Affine(23.0, 0.0, 499_900.3, 0.0, -17.0, 4_600_100.7), (80, 90)),
        (UTM, Affine(3.0, 0.0, 500_100.0, 0.0, -3.0, 4_599_900.0), (420, 530)),
        ("EPSG:4326", Affine(0.0001, 0.0, 15.0, 0.0, -0.0001, 41.552), (170, 260)),
        ("EPSG:32634", Affine(10.0, 0.0, 0.0, 0.0, -10.0, 4_622_000.0), (1200, 1400)),
    ],
)
def test_a_reference_on_the_ground_is_resampled_by_nearest_as_gdal_does(
    scene: Path, tmp_path: Path, crs: str, place: Affine, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = np.random.default_rng(1).integers(1, 250, shape).astype(np.uint8)
    path = by_gdal(tmp_path / "reference.tif", codes[..., None], crs=crs, transform=place)
    expected = np.zeros((150, 210), np.uint8)
    reproject(
        codes, expected, src_transform=place, src_crs=crs, dst_transform=PLACE, dst_crs=UTM,
        resampling=Resampling.nearest, tolerance=0, src_nodata=255,
    )  # fmt: skip
    found = codes_of(scene, path, monkeypatch)
    assert (found > 0).any()
    expected[expected == 255] = 0
    if crs == UTM:
        assert np.array_equal(found, expected)
    else:  # GDAL brings but a few of a row's places to the other system, and finds those between on a line
        assert (found != expected).mean() < 0.005
    assert np.array_equal(found, codes_of(scene, path, monkeypatch))
    whole = codes_of_whole(scene, path)
    assert np.array_equal(found, whole)


def codes_of_whole(store: Path, reference: Path) -> I64:
    image = next(iter(open_store(store).values()))
    (found,) = workflow.look_at(image, (str(reference),), ScoreSettings())
    with reading.opened_reference(found, image, ScoreSettings()) as reader:
        height, width = image.labels.shape
        part = reader.read(slice(0, height), slice(0, width))
    return np.where(part.judged, part.codes, 0)


def test_a_far_finer_reference_is_read_in_parts(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(1).integers(1, 250, (600, 840)).astype(np.uint8)
    path = by_gdal(tmp_path / "fine.tif", codes[..., None], crs=UTM, transform=PLACE @ Affine.scale(0.25))
    expected = codes[2::4, 2::4]
    assert np.array_equal(codes_of(scene, path, monkeypatch), expected)
    monkeypatch.setattr(reading, "MOST_READ_PX", 100)
    assert np.array_equal(codes_of(scene, path, monkeypatch), expected)


def test_polygons_on_the_ground_have_classes_by_an_attribute(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of two that overlap counts, those without a class do not; as GDAL burns them."""
    shapes = [shapely.box(20, 10, 120, 90), shapely.box(80, 50, 200, 140), shapely.box(0, 0, 210, 150)]
    placed = [shapely.transform(each, lambda xy: xy * (10, -10) + (500_000, 4_600_000)) for each in shapes]
    wkb = np.array([shapely.to_wkb(each) for each in placed], object)
    values = [np.array(["wheat", "barley", None], object), np.array([7, 0, 3], np.int32)]
    pyogrio.raw.write(
        str(tmp_path / "f.gpkg"), wkb, values, np.array(["crop", "code"], object), geometry_type="Polygon", crs=UTM
    )
    expected = rasterio.features.rasterize([(shapes[0], 2), (shapes[1], 1)], (150, 210))
    result = scored(scene, tmp_path / "f.gpkg", attribute="crop")
    assert [each["name"] for each in result["classes"]["each"]] == ["barley", "wheat"]
    assert [each["reference"] for each in result["classes"]["each"]] == [(expected == 1).sum(), (expected == 2).sum()]
    numbers = scored(scene, tmp_path / "f.gpkg", attribute="code")
    assert [each["name"] for each in numbers["classes"]["each"]] == ["3"]  # over all; 0 is not judged
    assert numbers["pixels"] == {"judged": 150 * 210, "unlabelled": 0, "unjudged": 0}
    with pytest.raises(
        KsegError, match=r"f\.gpkg: its polygons have no attribute 'class'; it has: crop, code; .*--attribute"
    ):
        scored(scene, tmp_path / "f.gpkg")


def test_classifications_of_qupath_are_understood(made: Path, tmp_path: Path) -> None:
    shapes = [
        (shapely.box(0, 0, 30, 30), {"name": "Tumor", "color": [1, 2, 3]}),
        (shapely.box(30, 0, 60, 30), {"name": "Stroma"}),
    ]
    path = geojson(tmp_path / "r.geojson", shapes, "classification")
    result = scored(made, path, images=("picture-0.png",))
    assert [(each["name"], each["reference"]) for each in result["classes"]["each"]] == [
        ("Stroma", 900),
        ("Tumor", 900),
    ]


def test_palettes_colours_floats_and_masks_are_references(made: Path, tmp_path: Path) -> None:
    labels = labels_of(made, "picture-0.png")
    codes = noisy(labels, 1).astype(np.uint8)
    expected = scored(made, save(tmp_path / "gray.png", codes), images=("picture-0.png",))
    palette = Image.fromarray(codes, "P")
    palette.putpalette([9, 9, 9, 0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    colours = np.array([(0, 0, 0), (1, 2, 3), (200, 0, 0), (255, 255, 255)], np.uint8)[codes]
    save(tmp_path / "colours.png", colours)
    floats = np.where(codes == 0, np.nan, codes).astype(np.float32)
    save(tmp_path / "floats.tif", floats)
    names = {
        "palette.png": ["1", "2", "3"],
        "colours.png": ["#010203", "#c80000", "#ffffff"],
        "floats.tif": ["1", "2", "3"],
    }
    for name, called in names.items():
        found = scored(made, tmp_path / name, images=("picture-0.png",))
        assert [each["name"] for each in found["classes"]["each"]] == called
        assert found["classes"]["confusion"] == expected["classes"]["confusion"]
    with_zero = scored(made, tmp_path / "gray.png", images=("picture-0.png",), nodata="none")
    assert [each["name"] for each in with_zero["classes"]["each"]] == ["0", "1", "2", "3"]
    without = scored(made, tmp_path / "gray.png", images=("picture-0.png",), nodata="0,2")
    assert [each["name"] for each in without["classes"]["each"]] == ["1", "3"]


def test_what_is_missing_or_wrong_is_named_and_the_rest_goes_on(made: Path, truth: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    os.system(f"cp -r {truth} {folder}")
    (folder / "picture-0.png").unlink()
    save(folder / "picture-1.tif", np.ones((5, 6), np.uint8))
    (folder / "picture-2.png").unlink()
    Image.fromarray(np.ones((4, 4), np.uint8)).save(folder / "picture-2.jpg")
    save(folder / "picture-3.tif", np.full(labels_of(made, "picture-3.png").shape, 0.5, np.float32))
    save(folder / "picture-4.png", np.zeros(labels_of(made, "picture-4.png").shape, np.uint8))
    save(folder / "picture-5.bmp", np.ones((4, 4), np.uint8))  # beside picture-5.tif
    (folder / "picture-6.png").write_bytes(b"nonsense")
    result = scored(made, folder)
    assert (result["status"], result["images"]["scored"], result["images"]["failed"]) == ("partial", 1, 7)
    found = reasons(result)
    assert found["picture-0.png"].startswith(f"no reference for it in {folder}: expected picture-0.png")
    assert "picture-1.tif: it is 6 x 5, the image" in found["picture-1.png"]
    assert found["picture-2.png"].endswith("a JPEG, which changes values: save it as PNG or TIFF")
    assert "picture-3.tif: its values are no whole numbers" in found["picture-3.png"]
    assert found["picture-4.png"].startswith("no pixel of it is judged")
    assert "picture-5.bmp, picture-5.tif in" in found["picture-5.png"]
    assert "picture-6.png: not an image" in found["picture-6.png"]
    assert all(each["source"].endswith(each["image"]) for each in result["failures"])
    with pytest.raises(UsageError, match="--reference nowhere"):
        scored(made, Path("nowhere"))
    with pytest.raises(KsegError, match=r"nothing of .* could be scored: .*expected picture-0\.png"):
        scored(made, folder, images=("picture-0.png",))


def test_one_file_of_polygons_need_not_lie_in_every_image(made: Path, scene: Path, tmp_path: Path, smooth: Any) -> None:
    far = Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 4_600_000.0)
    (tmp_path / "in").mkdir()
    by_gdal(tmp_path / "in" / "here.tif", smooth(60, 70, 1), crs=UTM, transform=PLACE)
    by_gdal(tmp_path / "in" / "there.tif", smooth(60, 70, 2), crs=UTM, transform=far)
    run_job(tmp_path / "in", tmp_path / "s.zarr", k=3)
    shape = shapely.box(500_000, 4_599_500, 500_500, 4_600_000)
    wkb, names = np.array([shapely.to_wkb(shape)], object), np.array(["class"], object)
    pyogrio.raw.write(str(tmp_path / "f.gpkg"), wkb, [np.array(["a"], object)], names, geometry_type="Polygon", crs=UTM)
    result = scored(tmp_path / "s.zarr", tmp_path / "f.gpkg")
    assert result["images"] == {"total": 2, "scored": 1, "unjudged": 1, "failed": 0}


def test_numbers_of_regions_are_no_classes(
    made: Path, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = labels_of(made, "picture-0.png")
    path = save(tmp_path / "r.tif", np.arange(1, labels.size + 1, dtype=np.uint32).reshape(labels.shape))
    with pytest.raises(KsegError, match=rf"r\.tif: with it there are {labels.size} classes .* 1000; --regions says"):
        scored(made, path, images=("picture-0.png",))
    result = scored(made, path, images=("picture-0.png",), regions=True)
    assert (result["classes"], result["assignment"], result["agreement"]["adjusted_rand"]) == (None, None, 0.0)


# ------------------------------------------------------------------------------------------------------------ files


def test_files_of_a_score_are_replaced_and_nothing_else(made: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = scored(made, truth, to=str(out))
    assert sorted(os.listdir(out)) == ["classes.csv", "confusion.csv", "confusion.png", "images.csv", "score.json"]
    assert sorted(map(os.path.basename, result["files"])) == sorted(os.listdir(out))
    record = read_score(str(out))
    assert {name: result[name] for name in record if name != "kind"} == {k: v for k, v in record.items() if k != "kind"}
    rows = (out / "confusion.csv").read_text().splitlines()
    assert rows[0] == "reference,1,2,3,unassigned"
    assert [list(map(int, row.split(",")[1:])) for row in rows[1:]] == result["classes"]["confusion"]
    scored(made, truth, to=str(out), what="segments")
    assert sorted(os.listdir(out)) == ["images.csv", "score.json"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(KsegError, match="--overwrite"):
        scored(made, truth, to=str(tmp_path / "other"))
    scored(made, truth, to=str(tmp_path / "other"), overwrite=True)
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="in the store"):
        scored(made, truth, to=str(made / "x"))


def test_a_report_shows_a_score_of_classes_and_one_of_regions(made: Path, truth: Path, tmp_path: Path) -> None:
    classes = scored(made, truth, to=str(tmp_path / "classes"))
    scored(made, truth, to=str(tmp_path / "regions"), what="segments")
    for name, shown in {
        "classes": [f"accuracy {100 * classes['classes']['accuracy']:.1f} %", "One row a class of the reference"],
        "regions": ["probabilistic Rand index", "One row an image", "picture-3.png"],
    }.items():
        record = tmp_path / name / "score.json"
        request = ReportRequest(str(made), str(tmp_path / f"{name}.report"), None, ReportSettings(limit=0), str(record))
        told = make_report(request, SYNC)
        assert any(each.endswith("score.png") for each in told["figures"])
        page = Path(told["report"]).read_text(encoding="utf-8")
        part = page[page.index('<section id="score"') :]
        assert [text for text in shown if text not in part] == []
    with pytest.raises(KsegError, match="kseg-batch score"):
        make_report(ReportRequest(str(made), str(tmp_path / "none"), score=str(tmp_path / "nowhere.json")), SYNC)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"kind": "score", "classes": {"each": []}}'])
def test_what_is_no_score_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "score.json").write_text(text)
    with pytest.raises(KsegError, match=r"score\.json: not what the score command writes"):
        read_score(str(tmp_path))
    with pytest.raises(KsegError, match="kseg-batch score"):
        read_score(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"what": "colours"}, "--what"),
        ({"assign": "best"}, "--assign"),
        ({"level": 0.5}, "--what segments"),
        ({"what": "segments", "assign": "name"}, "majority"),
        ({"regions": True, "assign": "name"}, "--regions"),
        ({"nodata": "some"}, "--nodata"),
        ({"attribute": " "}, "--attribute"),
    ],
)
def test_wrong_usage_names_the_option(given: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        ScoreSettings(**given)
