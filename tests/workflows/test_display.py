"""Pictures of bands: in the colours that files describe, or in those bands that are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp

from kseg_core import Model, open_store
from kseg_core.config import ExecutionSettings, FitSettings, RunConfig
from kseg_core.errors import StoreError, UsageError
from kseg_core.export.settings import ExportSettings
from workflows import segment
from workflows.export import export
from workflows.export_plan import ExportRequest

KINDS = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined)


def scene(path: Path, *, described: bool) -> NDArray[np.uint16]:
    """A TIFF of bands in the order blue, green, red and one more: (y, x, 4)."""
    values = np.random.default_rng(4).integers(200, 9000, (40, 50, 4), dtype=np.uint16)
    with rasterio.open(path, "w", driver="GTiff", width=50, height=40, count=4, dtype="uint16") as file:
        file.write(np.moveaxis(values, -1, 0))
        if described:
            file.colorinterp = KINDS
    return values


def stretched(values: NDArray[np.uint16], bands: tuple[int, ...]) -> NDArray[np.uint8]:
    """Bands from 0 as they should be seen."""
    shown = values[..., list(bands)].astype(np.float64)
    low, high = np.percentile(shown, (2, 98), axis=(0, 1), method="inverted_cdf")
    shades = np.clip((shown - low) / (high - low), 0, 1)
    return np.asarray(np.floor(shades * 255 + 0.5), np.uint8)


def cut_out(store: Path, folder: Path) -> NDArray[np.uint8]:
    """Every pixel of the one image, as an export shows it: (y, x, 3)."""
    wanted = ExportSettings(what=("cutout",), clusters=tuple(range(Model.load(str(store)).k)))
    made = export(ExportRequest(str(store), str(folder), wanted), ExecutionSettings("sync"))
    parts = [np.asarray(Image.open(folder / file.name)) for file in made.files]
    return np.max([part[..., :3] * (part[..., 3:] > 0) for part in parts], axis=0)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("copy_image", [False, True])
@pytest.mark.parametrize(
    ("described", "display", "bands"),
    [
        (True, (), (2, 1, 0)),
        (False, (), (0, 1, 2)),
        (True, (4, 2, 1), (3, 1, 0)),
        (False, (4, 1, 4), (3, 0, 3)),
        (True, (4,), (3, 3, 3)),
    ],
)
def test_pictures_and_colours_are_of_the_bands_that_are_shown(
    described: bool, display: tuple[int, ...], bands: tuple[int, ...], copy_image: bool, tmp_path: Path, job: Any
) -> None:
    values = scene(tmp_path / "in.tif", described=described)
    plain = job(tmp_path / "in.tif", tmp_path / "plain.zarr", 2, features="bands", display=(1, 2, 3))
    job(tmp_path / "in.tif", tmp_path / "s.zarr", 2, display=display, features="bands", copy_image=copy_image)
    store, model = open_store(str(tmp_path / "s.zarr")), Model.load(str(tmp_path / "s.zarr"))
    expected = stretched(values, bands)
    np.testing.assert_array_equal(cut_out(tmp_path / "s.zarr", tmp_path / "cut"), expected)
    labels = np.asarray(store["in.tif"].labels)
    means = [values[labels == cluster].mean(axis=0) for cluster in range(2)]
    assert model.bands is not None
    np.testing.assert_array_equal(model.colors, model.bands.shades(np.array(means)))
    usual = bands == (0, 1, 2)
    assert model.attributes().get("display") == (
        None if usual else [band + 1 for band in bands][: len(model.bands.shown)]
    )
    first = open_store(str(tmp_path / "plain.zarr"))
    np.testing.assert_array_equal(labels, np.asarray(first["in.tif"].labels))  # it is the same clustering
    assert (first.model.digest == model.digest) == usual
    assert plain is not None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_same_display_goes_on_and_another_is_another_store(tmp_path: Path, job: Any) -> None:
    scene(tmp_path / "in.tif", described=True)
    store = tmp_path / "s.zarr"

    def run(*display: int) -> str:
        config = RunConfig(FitSettings(2, display=display), execution=ExecutionSettings("sync"))
        return segment(tmp_path / "in.tif", config, output=str(store)).model.digest

    assert run(4, 2, 1) == run(4, 2, 1)
    with pytest.raises(StoreError, match=r"display.*--overwrite"):
        run(3, 2, 1)
    job(tmp_path / "in.tif", tmp_path / "again.zarr", 2, match=store)
    assert Model.load(str(tmp_path / "again.zarr")).attributes()["display"] == [4, 2, 1]  # seen as last week


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bands_to_show_that_are_not_clustered_are_refused(tmp_path: Path, job: Any) -> None:
    scene(tmp_path / "in.tif", described=True)
    with pytest.raises(UsageError, match=r"--display.*in\.tif.*band 3.*4, 1"):
        job(tmp_path / "in.tif", tmp_path / "s.zarr", 2, bands=(4, 1), display=(3,))
