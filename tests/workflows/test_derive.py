"""Bands by name and ``--derive``: as if somebody had worked them out and stored them, whatever the pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from kseg_core import Model, open_store
from kseg_core.config import UNSAID, FitSettings
from kseg_core.errors import NothingReadable, UnreadableImage, UsageError
from tests.asking import SYNC, configured, failed, labels_of, problems, run_job
from tests.conftest import in_parts
from tests.reference import smoothed
from tests.tiffs import save_tiff
from workflows.inspect import describe_model
from workflows.repair import repair_store
from workflows.segmentation import segment

Array = NDArray[Any]
NDVI = ("ndvi=(nir-red)/(nir+red)",)
OTHERS = ("sum=nir+red", "ratio=sqrt(nir/(green+1))")
HOLES = np.s_[30:40, 50:90]


def scene(height: int = 150, width: int = 200) -> Array:
    """Near infrared, red, green: reflectances of three kinds of ground, some of it without data."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width]
    kind = ((np.sin(x / 19) + np.cos(y / 23)) * 1.2 + rng.normal(0, 0.2, (height, width))).astype(int) % 3
    means = np.array([[3000, 500, 800], [1500, 1400, 900], [300, 200, 400]])
    samples = (means[kind] + rng.normal(0, 80, (height, width, 3))).clip(1).astype(np.uint16)
    samples[HOLES] = 0
    return samples


def save(path: Path, samples: Array, names: tuple[str, ...] = ("nir", "red", "green"), **more: Any) -> Path:
    """A TIFF whose bands have names as GDAL writes them."""
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{n}" role="description">{name}</Item>' for n, name in enumerate(names)
    )
    tag = (42112, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True)
    return save_tiff(path, samples, photometric="minisblack", extratags=[tag], **more)


def worked_out(samples: Array) -> Array:
    """NDVI, sum and ratio by NumPy, NaN where there is none."""
    nir, red, green = np.moveaxis(samples.astype(np.float64), 2, 0)
    with np.errstate(all="ignore"):
        made = np.stack([(nir - red) / (nir + red), nir + red, np.sqrt(nir / (green + 1))], axis=2)
    return np.where(np.isfinite(made).all(axis=2)[..., None], made, np.nan).astype(np.float32)


@pytest.fixture
def scenes(tmp_path: Path) -> dict[str, Path]:
    samples = scene()
    return {
        "bands": save(tmp_path / "bands.tif", samples),
        "derived": save_tiff(tmp_path / "derived.tif", worked_out(samples), photometric="minisblack"),
    }


@pytest.mark.parametrize("normalize", ["none", "standard"])
@pytest.mark.parametrize(("piece", "held"), [(None, None), (64, None), (64, 500)])
def test_as_if_the_bands_were_stored(
    tmp_path: Path, scenes: dict[str, Path], normalize: str, piece: int | None, held: int | None, monkeypatch: Any
) -> None:
    expected = run_job(scenes["derived"], tmp_path / "a", features="bands", normalize=normalize, tile=64)
    in_parts(monkeypatch, piece=piece, held=held, window=64)
    how = {"derive": NDVI + OTHERS, "normalize": normalize, "tile": 64, "copy_image": True}
    found = run_job(scenes["bands"], tmp_path / "b", **how)
    if held is None:
        assert found.inertia == expected.inertia
        assert labels_of(tmp_path / "b").tobytes() == labels_of(tmp_path / "a").tobytes()
    else:  # mini-batches are others
        assert found.inertia == pytest.approx(expected.inertia, rel=0.05)
    assert (labels_of(tmp_path / "b")[HOLES] == 255).all()
    assert problems(tmp_path / "b") == []
    copy = open_store(str(tmp_path / "b"))["bands.tif"].image
    assert copy is not None
    stored, made = np.moveaxis(copy[:], 0, 2), worked_out(scene())
    assert np.array_equal(stored[..., 0], made[..., 0], equal_nan=True)
    assert np.array_equal(stored[labels_of(tmp_path / "b") < 255], made[np.isfinite(made).all(axis=2)])
    model = Model.load(str(tmp_path / "b"))
    assert model.space.components == ("ndvi", "sum", "ratio")
    assert describe_model(model)["bands"][0] == "ndvi=('nir' - 'red') / ('nir' + 'red')"
    again = model.predict(worked_out(scene()))
    assert again.tobytes() == labels_of(tmp_path / "b").tobytes()


def test_a_band_is_the_right_one_in_whatever_order_files_have_it(tmp_path: Path) -> None:
    samples = scene()
    folder = tmp_path / "in"
    folder.mkdir()
    save(folder / "a.tif", samples)
    save(folder / "b.tif", samples[..., [2, 0, 1]], ("Green", "NIR", "RED"))
    run_job(folder / "a.tif", tmp_path / "fit", bands=("nir", "green"), derive=NDVI, normalize="standard")
    run_job(folder, tmp_path / "out", model=tmp_path / "fit")
    assert np.array_equal(labels_of(tmp_path / "out", "a.tif"), labels_of(tmp_path / "out", "b.tif"))
    assert Model.load(str(tmp_path / "out")).space.components == ("nir", "green", "ndvi")
    both = run_job(folder, tmp_path / "both", bands=("nir", "green"), derive=NDVI, normalize="standard")
    assert both.images.labelled == 2


def test_a_file_without_a_band_is_left_out_by_name(tmp_path: Path) -> None:
    samples, folder = scene(), tmp_path / "in"
    folder.mkdir()
    save(folder / "a.tif", samples)
    save(folder / "b.tif", samples[..., :2], ("nir", "swir"))
    save_tiff(folder / "c.tif", samples, photometric="minisblack")
    for output, how in (("fitted", {"derive": NDVI}), ("applied", {"model": tmp_path / "fitted"})):
        result = run_job(folder, tmp_path / output, **how)
        assert failed(result) == {
            "b.tif": "it has no band 'red'; its bands are nir, swir",
            "c.tif": "it has no band 'nir'; its bands have no names: they are b1 to b3",
        }
    with pytest.raises(NothingReadable, match=r"c\.tif: it has no band 'nir'"):
        run_job(folder / "c.tif", tmp_path / "none", bands=("nir",))


def test_a_short_name_means_the_same_in_every_file(tmp_path: Path) -> None:
    """``b2`` is a name where the first file has it, and then no other band's number."""
    samples, folder = scene(), tmp_path / "in"
    folder.mkdir()
    save(folder / "a.tif", samples, ("B2", "B1", "B3"))
    save(folder / "b.tif", samples[..., [1, 0, 2]], ("B1", "B2", "B3"))
    save_tiff(folder / "c.tif", samples, photometric="minisblack")
    result = run_job(folder, tmp_path / "out", derive=("x=b2-b1",))
    assert [*failed(result).values()] == ["it has no band 'B2'; its bands have no names: they are b1 to b3"]
    assert np.array_equal(labels_of(tmp_path / "out", "a.tif"), labels_of(tmp_path / "out", "b.tif"))
    numbered = run_job(folder / "c.tif", tmp_path / "numbered", derive=("x=b2-b1",))
    assert numbered.images.labelled == 1
    assert Model.load(str(tmp_path / "numbered")).bands.attributes()["derive"] == ["x=band(2) - band(1)"]  # type: ignore[union-attr]


@pytest.mark.parametrize("within", ["any", "all"])
def test_nodata_in_any_band_that_is_used(tmp_path: Path, within: str) -> None:
    samples = scene()
    samples[0, :50, 0], samples[1, :50, 1], samples[2, :50, 2] = 7, 7, 7
    path = save(tmp_path / "a.tif", samples)
    run_job(path, tmp_path / "out", derive=NDVI, nodata="7", nodata_in=within)
    labels = labels_of(tmp_path / "out")
    assert (labels[:2, :50] == 255).all()
    assert (labels[2, :50] != 255).all()
    assert problems(tmp_path / "out") == []


@pytest.mark.parametrize("piece", [None, 64])
def test_derived_bands_are_of_smoothed_ones(tmp_path: Path, piece: int | None, monkeypatch: Any) -> None:
    samples = scene()
    samples[HOLES] = 1
    in_parts(monkeypatch, piece=piece)
    run_job(save(tmp_path / "a.tif", samples), tmp_path / "a", derive=NDVI + OTHERS, smooth=2, tile=64, copy_image=True)
    made = worked_out(smoothed(samples, None, 2, together=False))
    run_job(save_tiff(tmp_path / "b.tif", made, photometric="minisblack"), tmp_path / "b", features="bands", tile=64)
    assert np.array_equal(labels_of(tmp_path / "a"), labels_of(tmp_path / "b"))
    copy = open_store(str(tmp_path / "a"))["a.tif"].image
    assert copy is not None
    assert np.array_equal(np.moveaxis(copy[:], 0, 2), worked_out(samples))


def test_a_repair_makes_the_same_again(tmp_path: Path, scenes: dict[str, Path]) -> None:
    run_job(scenes["bands"], tmp_path / "out", derive=NDVI, bands=("red",))
    before = labels_of(tmp_path / "out")
    for chunk in (tmp_path / "out/images/bands.tif/labels/kmeans/0").rglob("c/*/*"):
        chunk.write_bytes(b"damaged")
    assert repair_store(str(tmp_path / "out"), SYNC)["repaired"] == ["bands.tif"]
    assert np.array_equal(labels_of(tmp_path / "out"), before)


@pytest.mark.parametrize("lazy", [False, True])
def test_an_array_as_a_file(tmp_path: Path, scenes: dict[str, Path], lazy: bool) -> None:
    """Bands of an array have no names, only numbers."""
    derive = ("ndvi=(b1-b2)/(b1+b2)", "c=b3+1")
    run_job(scenes["bands"], tmp_path / "out", derive=derive, bands=(2,), nodata="0")
    array = da.from_array(scene(), chunks=(64, 90, 3)) if lazy else scene()
    for how in ({"derive": derive, "bands": (2,)}, {"model": str(tmp_path / "out")}):
        found = segment(array, configured(nodata="0", **how))  # type: ignore[arg-type]
        labels = next(iter(found.labels.values())).compute()
        assert np.array_equal(labels, labels_of(tmp_path / "out"))
    with pytest.raises(UnreadableImage, match="it has no band 'nir'"):
        segment(array, configured(derive=NDVI))


def test_a_fit_goes_on_from_derived_bands(tmp_path: Path, scenes: dict[str, Path]) -> None:
    run_job(scenes["bands"], tmp_path / "a", derive=NDVI, bands=("nir",))
    run_job(scenes["bands"], tmp_path / "b", match=tmp_path / "a")
    assert np.array_equal(labels_of(tmp_path / "a"), labels_of(tmp_path / "b"))
    with pytest.raises(
        UsageError, match=r"--match has centroids of bands nir,ndvi=.*add --bands nir,ndvi --derive \"ndvi="
    ):
        run_job(scenes["bands"], tmp_path / "c", derive=("x=nir",), match=tmp_path / "a")


def test_files_in_windows_and_whole_are_one(tmp_path: Path) -> None:
    samples = scene()
    tifffile.imwrite(tmp_path / "whole.tif", samples, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(
        tmp_path / "planes.tif", np.moveaxis(samples, 2, 0), photometric="minisblack", planarconfig="separate"
    )
    for name in ("whole", "planes"):
        run_job(tmp_path / f"{name}.tif", tmp_path / name, derive=("x=b1/b2",))
    assert np.array_equal(labels_of(tmp_path / "whole"), labels_of(tmp_path / "planes"))


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="--derive goes with --features bands"):
        FitSettings(3, "lab", derive=NDVI)
    with pytest.raises(UsageError, match="--derive gives ndvi twice"):
        FitSettings(3, derive=(*NDVI, "NDVI=b1"))
    with pytest.raises(UsageError, match="--bands names a band twice: nir,NIR"):
        FitSettings(3, bands=("nir", "NIR"))
    assert FitSettings(3, derive=NDVI).features == FitSettings(3, bands=("nir",)).features == "bands"
    assert UNSAID["derive"] == []
