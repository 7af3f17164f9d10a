"""Fill values that nobody named, and what else is told of bands: once, with the way out, and not without reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core import open_store
from kseg_core.errors import NothingReadable
from tests.asking import problems, run_job, run_sweep
from tests.progress import Listener, Stopped
from tests.tiffs import save_tiff
from tests.workflows.test_bands import make
from workflows.inspect import describe

Array = NDArray[Any]


def values(dtype: str, fill: float = 1000) -> Array:
    """Two bands, the second with ten pixels of some value, far beyond all others or not."""
    samples = np.random.default_rng(6).normal(1000, 30, (70, 80, 2)).astype(dtype)
    samples[:2, :5, 1] = fill
    return samples


def about_far_values(result: Any) -> list[str]:
    return [note.note for note in result.notes if "standard deviations" in note.note]


FILLS = [
    ("int16", -32768, "-32768"),
    ("uint16", 65535, "65535"),
    ("int32", -(1 << 31), "-2147483648"),
    ("float32", -9999, "-9999"),
    ("float32", -3.4028234663852886e38, "-3.4028235e+38"),
    ("float64", 1.7976931348623157e308, "1.7976931348623157e+308"),
]


@pytest.mark.few(3)
@pytest.mark.parametrize(("dtype", "fill", "told"), FILLS)
def test_values_far_beyond_all_others_are_named_once_with_the_way_out(
    dtype: str, fill: float, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = save_tiff(tmp_path / "image.tif", values(dtype, fill))
    results: list[Any] = [make(source, tmp_path / "out.zarr"), make(source, tmp_path / "fit.model.zarr")]
    if fill < 1e300:  # or the squares of distances are no numbers, unless every value far away has a cluster
        results.append(run_sweep(source, tmp_path / "swept", (1, 3), features="bands"))
    for result in results:
        (line,) = about_far_values(result)
        assert line.startswith(f"band 2: 10 pixels of {told} in {source}, ")
        assert line.endswith(f"--nodata={told}")
        assert line in json.dumps(result.to_json()["notes"], allow_nan=False)
    assert caplog.text.count("standard deviations") == len(results)
    assert any("--nodata=" in note for note in describe(str(tmp_path / "fit.model.zarr"))["model"]["notes"])
    cured = make(source, tmp_path / "cured.zarr", nodata=told)
    assert (cured.pixels_valid, about_far_values(cured)) == (5600 - 10, [])


@pytest.mark.few(2)
@pytest.mark.parametrize(("dtype", "fill", "told"), FILLS[:-1])
def test_apply_names_values_far_beyond_all_others_as_run_does(
    dtype: str, fill: float, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        save_tiff(tmp_path / f"in/{name}.tif", values(dtype, 1000 if name == "b" else fill))
    clean = save_tiff(tmp_path / "clean.tif", values(dtype))
    assert make(clean, tmp_path / "clean.model.zarr").notes == ()
    make(tmp_path / "in", tmp_path / "filled.model.zarr")
    for model in ("clean", "filled"):
        caplog.clear()
        given = {"model": tmp_path / f"{model}.model.zarr"}
        result = make(tmp_path / "in", tmp_path / f"{model}.zarr", **given)
        (logged,) = [record.getMessage() for record in caplog.records]
        assert logged.startswith(f"band 2: 20 pixels of {told} in {tmp_path / 'in/a.tif'} and 1 more image, ")
        assert logged.endswith(f"--nodata={told}")
        assert [(Path(str(note.source)).name, note.note.split(",")[0]) for note in result.notes] == [
            (name, f"band 2: 10 pixels of {told}") for name in ("a.tif", "c.tif")
        ]
        assert problems(tmp_path / f"{model}.zarr") == []
        assert make(tmp_path / "in", tmp_path / f"{model}2.zarr", nodata=told, **given).notes == ()


def test_apply_names_an_image_that_is_nothing_but_a_fill_value(tmp_path: Path) -> None:
    make(save_tiff(tmp_path / "a.tif", values("float32")), tmp_path / "m.model.zarr", 3)
    blank = save_tiff(tmp_path / "b.tif", np.full((70, 80, 2), -9999, np.float32))
    (note,) = make(blank, tmp_path / "out.zarr", model=tmp_path / "m.model.zarr").notes
    assert note.note.startswith("bands 1, 2: 5600 pixels of -9999, ")


@pytest.mark.parametrize("normalize", ["none", "standard"])
def test_apply_says_nothing_of_values_like_those_of_its_model_nor_of_a_wider_range(
    normalize: str, tmp_path: Path
) -> None:
    low = values("float32")
    make(save_tiff(tmp_path / "low.tif", low), tmp_path / "m.model.zarr", 3, normalize=normalize)
    save_tiff(tmp_path / "in/same.tif", low)
    save_tiff(tmp_path / "in/constant.tif", np.full((70, 80, 2), 1010, np.float32))
    save_tiff(tmp_path / "in/wider.tif", np.random.default_rng(8).uniform(0, 9000, (70, 80, 2)).astype(np.float32))
    assert make(tmp_path / "in", tmp_path / "out.zarr", model=tmp_path / "m.model.zarr").notes == ()


@pytest.mark.parametrize("stops", [0, 4])
def test_pieces_of_a_large_image_are_looked_at_together_however_often_the_job_was_stopped(
    stops: int, tmp_path: Path, parts: Any
) -> None:
    parts(piece=64)
    samples = np.random.default_rng(6).normal(1000, 30, (130, 190, 2)).astype(np.float32)
    make(save_tiff(tmp_path / "clean.tif", samples), tmp_path / "m.model.zarr", 3)
    samples[5, 5, 0], samples[70:72, 150] = 1e9, -9999
    source, model = save_tiff(tmp_path / "image.tif", samples), tmp_path / "m.model.zarr"
    if stops:
        with pytest.raises(Stopped):
            make(source, tmp_path / "out.zarr", model=model, progress=Listener("labelling", stops))
        assert not open_store(str(tmp_path / "out.zarr")).complete
    result = make(source, tmp_path / "out.zarr", model=model)
    assert [note.note.split(",")[0] for note in result.notes] == ["bands 1", "band 1: 1 pixel of 1e+09"]
    assert result.notes[0].note.startswith("bands 1, 2: 2 pixels of -9999, ")
    assert all(note.note.endswith("--nodata=-9999,1e+09") for note in result.notes)


HARMLESS = {
    "classes": lambda rng, shape: rng.choice([0, 1, 2], shape, p=[0.98, 0.015, 0.005]).astype(np.uint16),
    "rare class": lambda rng, shape: np.where(rng.random(shape) < 0.001, 2, 0).astype(np.int32),
    "8 bits": lambda rng, shape: np.where(rng.random(shape) < 0.001, 255, 3).astype(np.uint8),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape).astype(np.float32),
    "normal": lambda rng, shape: rng.normal(5, 2, shape),
    "lognormal": lambda rng, shape: np.exp(rng.normal(size=shape)).astype(np.float32),
    "constant": lambda _, shape: np.full(shape, 7.5, np.float32),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_is_said_of_data_without_such_values(name: str, tmp_path: Path) -> None:
    samples = HARMLESS[name](np.random.default_rng(7), (70, 80, 1))
    assert about_far_values(make(save_tiff(tmp_path / "a.tif", samples), tmp_path / "fit.model.zarr", 3)) == []


# ------------------------------------------------------------------------------- what else is told of nodata and bands


def test_apply_says_which_bands_of_a_file_its_model_leaves_out(tmp_path: Path) -> None:
    four = np.random.default_rng(6).integers(0, 900, (70, 80, 4)).astype(np.uint16)
    make(save_tiff(tmp_path / "three.tif", four[..., :3]), tmp_path / "m.model.zarr", 3)
    (note,) = make(save_tiff(tmp_path / "four.tif", four), tmp_path / "out.zarr", model=tmp_path / "m.model.zarr").notes
    assert note.note == "band 4 is left out: the model is of bands 1,2,3"


def test_a_model_of_another_dtype_is_refused_with_a_way_out(tmp_path: Path) -> None:
    make(save_tiff(tmp_path / "a.tif", values("float32")), tmp_path / "m.model.zarr", 3)
    source = save_tiff(tmp_path / "b.tif", values("uint16"))
    refused = r"b\.tif: its bands are uint16, .* convert it to float32 .*kseg-batch fit"
    with pytest.raises(NothingReadable, match=refused):
        make(source, tmp_path / "out.zarr", model=tmp_path / "m.model.zarr")


def test_nodata_may_be_what_files_say_and_more(tmp_path: Path) -> None:
    samples = np.random.default_rng(6).normal(100, 3, (70, 80, 1)).astype(np.float32)
    samples[0], samples[1, :9] = -9999, -1
    source = save_tiff(tmp_path / "a.tif", samples, extratags=[(42113, "s", 0, "-9999", True)])
    expected = {"auto": 5520, "none": 5600, "-1": 5591, "auto,-1": 5511, "-1,auto": 5511}
    for nodata, valid in expected.items():
        made = run_job(source, tmp_path / f"{nodata}.model.zarr", 2, features="bands", attempts=1, nodata=nodata)
        assert made.pixels_valid == valid, nodata


def test_a_value_of_nodata_that_no_pixel_can_have_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        save_tiff(tmp_path / f"in/{name}.tif", values("uint16"))
    result = make(tmp_path / "in", tmp_path / "out.zarr", nodata="-5,7")
    (logged,) = [record.getMessage() for record in caplog.records]
    where = f"{tmp_path / 'in/a.tif'} and 1 more image"
    assert logged == f"--nodata -5: no pixel of uint16 can have this value; it leaves out nothing of {where}"
    assert [note.note for note in result.notes] == [logged]
    caplog.clear()
    assert make(tmp_path / "in", tmp_path / "7.zarr", nodata="7").notes == ()
    assert caplog.text == ""
