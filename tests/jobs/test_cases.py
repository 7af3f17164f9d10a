"""Files that people's programs and devices wrote, and that were once read wrong: each with its right value and judge.

Skipped where the folder of them is not at hand; tests of every kind on files that they make themselves are beside the
modules.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from kseg_core import open_store
from kseg_core.images import read_image
from tests.command_lines import Outcome

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

Kseg = Callable[..., Outcome]
EXAMPLES = Path(__file__).parents[2] / "examples" / "images"


@pytest.fixture
def cases(data_folder: Path) -> Path:
    """The folder of them."""
    folder = data_folder / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases in {folder}")
    return folder


def told(kseg: Kseg, *line: str | Path, output: Path) -> dict[str, Any]:
    """What a run says of itself."""
    outcome = kseg("run", *line, "-o", output, "--json", "--scheduler", "sync")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = outcome.json()
    return found


def best_of_scikit_learn(points: Any, k: int) -> float:
    """The least mse of ten runs."""
    runs = (KMeans(k, n_init=1, random_state=seed, tol=1e-6, max_iter=1000).fit(points) for seed in range(10))
    return float(min(run.inertia_ for run in runs)) / len(points)


@pytest.mark.parametrize(("name", "k"), [("dem32.tif", 4), ("ndvi_fill_small.tif", 6), ("nodata_by_band.tif", 3)])
def test_bands_are_no_worse_clustered_than_by_scikit_learn(
    name: str, k: int, cases: Path, kseg: Kseg, tmp_path: Path
) -> None:
    with rasterio.open(cases / name) as source:
        values = source.read().reshape(source.count, -1).T
        missing = [value for value in source.nodatavals if value is not None]
    points = values[~np.isin(values, missing).any(axis=1)].astype(np.float64)
    found = told(kseg, cases / name, "--features", "bands", "--k", str(k), output=tmp_path / "o.zarr")
    assert found["pixels"]["valid"] == len(points)
    assert found["mse"] <= best_of_scikit_learn(points, k) * (1 + 1e-12)
    if name == "nodata_by_band.tif":
        assert found["mse"] == pytest.approx(6384.685, abs=1e-3)
    else:
        fill = {"dem32.tif": "-2147483648", "ndvi_fill_small.tif": "-9999"}[name]
        assert f"--nodata={fill}" in found["notes"][0]["note"]


def test_data_beyond_the_fitted_range_goes_to_the_nearest_centroid(cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    folder, model = cases / "apply-out-of-range", tmp_path / "m.zarr"
    assert kseg("fit", folder / "fitted.tif", "--features", "bands", "--k", "2", "-o", model).code == 0
    outcome = kseg("apply", folder / "new.tif", "--model", model, "-o", tmp_path / "o.zarr", "--json")
    assert outcome.json()["mse"] == pytest.approx(0.0222, abs=5e-5)
    store = open_store(str(tmp_path / "o.zarr"))
    values = tifffile.imread(folder / "new.tif").astype(np.float64)
    nearest = ((values[..., None, :] - store.model.centroids) ** 2).sum(axis=-1).argmin(axis=-1)
    np.testing.assert_array_equal(store["new.tif"].labels[...], nearest)


def test_populations_in_few_of_16_bits_are_told_apart_by_default(cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    found = told(kseg, cases / "low16.tif", "--k", "3", output=tmp_path / "o.zarr")
    assert (found["features"], found["k"]) == ("bands", 3)
    values = tifffile.imread(cases / "low16.tif").reshape(-1, 1).astype(np.float64)
    wanted = KMeans(3, n_init=10, random_state=0).fit(values).labels_
    labels = open_store(str(tmp_path / "o.zarr"))["low16.tif"].labels[...]
    assert adjusted_rand_score(wanted, np.asarray(labels).reshape(-1)) == 1


@pytest.mark.parametrize(
    "name", ["intmask.tif", "sidecars/ortho.tif", "sparse_rgba.tif", "intake/internal-mask-ignored"]
)
def test_pixels_count_where_gdal_says_so(name: str, cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    files = [cases / name] if (cases / name).is_file() else sorted((cases / name).iterdir())
    for file in files:
        found = told(kseg, file, "--k", "2", output=tmp_path / f"{file.name}.zarr")
        with rasterio.open(file) as source:
            valid = source.dataset_mask() != 0
        assert found["pixels"] == {"total": valid.size, "valid": int(valid.sum())}
    if name == "intmask.tif":
        assert found["pixels"]["total"] - found["pixels"]["valid"] == 36_160


def test_companions_of_an_image_are_no_inputs(cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    found = told(kseg, cases / "sidecars", "--k", "4", output=tmp_path / "o.zarr")
    assert found["images"]["total"] == 1


@pytest.mark.parametrize(
    ("name", "said"), [("slide.scn", "series"), ("thumbfirst.tif", "page"), ("pages.tif", "page 1 of")]
)
def test_the_picture_of_a_file_is_its_largest_and_what_is_left_out_is_said(
    name: str, said: str, cases: Path, kseg: Kseg, tmp_path: Path
) -> None:
    found = told(kseg, cases / name, "--features", "bands", "--k", "2", output=tmp_path / "o.zarr")
    with tifffile.TiffFile(cases / name) as tiff:
        largest = max(page.imagelength * page.imagewidth for page in tiff.pages)
    assert found["pixels"]["total"] == largest
    assert said in found["notes"][0]["note"]
    if name != "pages.tif":
        assert largest == 786_432


def test_an_imagej_composite_has_its_three_channels(cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    found = told(kseg, cases / "ij_c3.tif", "--features", "bands", "--k", "4", output=tmp_path / "o.zarr")
    points = np.moveaxis(tifffile.imread(cases / "ij_c3.tif"), 0, -1).reshape(-1, 3).astype(np.float64)
    assert np.array(found["centroids"]).shape == (4, 3)
    assert found["mse"] <= best_of_scikit_learn(points, 4) * (1 + 1e-12)


def test_slices_of_a_stack_are_chosen(cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    path = cases / "zstack.ome.zarr"
    first = told(kseg, path, "--k", "4", output=tmp_path / "first.zarr")
    assert "z 1 of 5" in first["notes"][0]["note"]
    stack = np.asarray(zarr.open_group(path, mode="r")["0"][...])  # type: ignore[index]
    for choice, wanted in (("2", stack[..., 2, :, :]), ("max", stack.max(axis=-3))):
        output = tmp_path / f"{choice}.zarr"
        found = told(kseg, path, "--k", "4", "--z", choice, output=output)
        colours = wanted.reshape(-1, wanted.shape[-2] * wanted.shape[-1]).T
        (image,) = open_store(str(output)).values()
        labels = np.asarray(image.labels[...]).reshape(-1)
        assert (found["k"], found["mse"]) == (len(np.unique(colours, axis=0)), 0)
        assert all(len(np.unique(colours[labels == j], axis=0)) == 1 for j in range(found["k"]))


@pytest.mark.parametrize(("name", "ends"), [("bioformats2raw.zarr", "/0"), ("plate.zarr", "/A/1/0")])
def test_each_image_of_a_layout_is_an_image(name: str, ends: str, cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    told(kseg, cases / name, "--k", "4", output=tmp_path / "o.zarr")
    shown = kseg("inspect", tmp_path / "o.zarr", "--json").json()
    assert shown["images"][0]["source"].endswith(f"{name}{ends}")


def test_world_files_place_an_image(cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    told(kseg, cases / "wf.tif", "--k", "3", output=tmp_path / "o.zarr")
    assert kseg("export", tmp_path / "o.zarr", "--to", tmp_path / "x", "--what", "labels").code == 0
    (labels,) = (tmp_path / "x").glob("*.tif")
    with rasterio.open(cases / "wf.tif") as one, rasterio.open(labels) as other:
        assert one.transform == other.transform


def test_a_list_in_utf_16_names_its_files(
    cases: Path, kseg: Kseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(cases / "list_utf16.txt", tmp_path)
    shutil.copy(EXAMPLES / "coffee.jpg", tmp_path / "wanted.jpg")
    monkeypatch.chdir(tmp_path)
    found = told(kseg, "--from", "list_utf16.txt", "--k", "2", output=Path("o.zarr"))
    assert found["images"]["total"] == 1


def test_polygons_are_a_mask_or_the_mask_is_named(cases: Path, kseg: Kseg, tmp_path: Path) -> None:
    outcome = kseg("run", EXAMPLES / "coffee.jpg", "--mask", cases / "aoi.geojson", "--k", "2", "-o", tmp_path / "o")
    if json.loads((cases / "aoi.geojson").read_text())["features"]:
        assert outcome.code == 0
    else:
        assert outcome.code == 2
        assert "aoi.geojson" in outcome.err
        assert "coffee.jpg" not in outcome.err


def test_a_folder_of_strange_files_is_labelled_but_for_those_that_are_named(
    cases: Path, kseg: Kseg, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(cases / "intake", folder)
    shutil.copy(EXAMPLES / "coffee.jpg", folder)
    outcome = kseg("run", folder, "--k", "2", "-o", tmp_path / "o.zarr", "--json", "--scheduler", "sync")
    assert outcome.code == 3
    reasons = {Path(each["source"]).name: each["reason"] for each in outcome.json()["failures"]}
    damaged = {name for name, reason in reasons.items() if reason.startswith(("damaged", "truncated"))}
    assert damaged == {
        "badrle4.bmp", "badrlebis.bmp", "127.tif", "m1-3562055aecf63b573f8a18c4034a4a23.tif", "toomanyblocks.tif",
        "huge-number-strips.tif", "huge_line.tif", "image-03.zarr", "operand.tif",
    }  # fmt: skip
    assert reasons.keys() - damaged == {"logluv-3c-16b.tiff", "next_literalrow.tif", "simple_multiscales"}
    assert not [line for line in outcome.err.splitlines() if not line.startswith("WARNING ")]


def test_fax_pages_have_libtiffs_pixels(cases: Path) -> None:
    from PIL import Image

    path = cases / "intake" / "ccitt-sound-labelled-half" / "testfax4.tiff"
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(str(path)).samples, np.array(image.convert("RGB")))


@pytest.mark.parametrize("name", ["fox410.jpg", "jpg-cmyk-2.jpg"])
def test_jpegs_of_unusual_subsampling_have_pillows_pixels(name: str, cases: Path) -> None:
    from PIL import Image

    path = cases / "intake" / "jpeg-subsampling-refused" / name
    with Image.open(path) as image:
        rgb = np.array(image.convert("RGB")).astype(int)
    found = read_image(str(path)).samples.astype(int)
    assert np.abs(found - rgb).max() <= (2 if image.mode == "RGB" else 255)
