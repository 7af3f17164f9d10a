"""What lies among images and is none: companions of other programs, and what this program made itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kseg_core.inputs.listing import list_inputs
from kseg_core.inputs.passed_over import is_exported


def names(*given: str, **more: Any) -> list[str]:
    return [Path(file.path).name for file in list_inputs(given, **more).files]


def test_companions_of_an_image_are_passed_over_and_counted(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "ortho.tif")
    companions = [
        "ortho.tif.ovr", "ortho.tif.msk", "ortho.tif.msk.ovr", "ortho.tif.aux.xml", "ortho.tfw", "ortho.TFW.wld",
        "ortho.jgw", "ortho.tifw", "ortho.bpw", "ortho.prj", "ortho.rrd",
    ]  # fmt: skip
    for name in companions:
        shutil.copy(tmp_path / "ortho.tif", tmp_path / name)
    assert names(str(tmp_path)) == ["ortho.tif"]
    assert list_inputs([str(tmp_path)]).passed_over == len(companions)
    assert names(str(tmp_path / "ortho.tif.ovr")) == ["ortho.tif.ovr"]  # who names one means it


def test_what_was_made_of_images_is_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Any, small_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    shutil.copy(small_folder / "a.png", "in")
    images = names("in")
    job = "--k 2 --attempts 1"
    assert kseg(*f"run in {job} --edges 50,100 -o in/s.kseg.zarr".split()).code == 0
    every = "segmented,labels,masks,cutout,edges,boundaries,polygons"
    assert kseg(*f"export in/s.kseg.zarr --to in/png --what {every}".split()).code == 0
    assert kseg(*f"export in/s.kseg.zarr --to in/tiff --format tiff --what {every}".split()).code == 0
    assert kseg(*["report", "in/s.kseg.zarr", "--to", "in/report"]).code == 0
    made = [path for path in Path("in").rglob("*") if path.suffix in (".png", ".tif") and "zarr" not in str(path)]
    ours = [path for path in made if path.name not in images]
    assert len(ours) > 12
    listing = list_inputs(["in"])
    assert sorted(Path(file.path).name for file in listing.files) == images
    assert listing.ours == len(ours)
    own = Path("in", "a.png.mask-0.png")  # a name is not enough
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(own)
    assert sorted(names("in")) == sorted([*images, own.name])
    own.unlink()
    outcome = kseg(*f"run in {job} -o again.zarr".split())
    assert outcome.code == 0
    assert f"{len(ours)} pictures that this program made" in outcome.err
    nothing = kseg(*f"run in/png {job} -o no.zarr".split())
    assert nothing.code == 1
    assert "a pattern such as '*.png' takes them" in nothing.err
    assert kseg("run", "in/png/*.cutout*.png", *job.split(), "-o", "parts.zarr").code == 0
    assert names(str(next(iter(ours)))) == [next(iter(ours)).name]


def test_a_georeferenced_export_is_known_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    place = rasterio.Affine(2, 0, 5e5, 0, -2, 5e6)
    profile = {"width": 50, "height": 40, "count": 3, "dtype": "uint8", "crs": "EPSG:32632", "transform": place}
    Path("in").mkdir()
    with rasterio.open("in/a.tif", "w", driver="GTiff", **profile) as dataset:
        dataset.write(pixels)
    assert kseg(*["run", "in", "--k", "2", "-o", "s.zarr"]).code == 0
    assert kseg(*["export", "s.zarr", "--to", "in", "--what", "segmented,labels"]).code == 0
    assert is_exported("in/a.labels.tif")
    with rasterio.open("in/a.labels.tif") as dataset:
        assert (dataset.transform, dataset.crs) == (place, rasterio.CRS.from_epsg(32632))
    assert names("in") == ["a.tif"]
    assert not is_exported("in/a.tif")
