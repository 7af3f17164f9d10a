"""``--stack``: a folder of single bands is labelled as the stacked files are, to the last bit, night after night."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import workflows
from kseg_core import open_store
from kseg_core.config import RunConfig
from kseg_core.errors import KsegError, KsegWarning, StoreError
from kseg_core.store.model import Model
from tests.asking import SYNC, asked, configured, problems, run_job
from tests.command_lines import Outcome
from tests.conftest import in_parts, pieces_of
from tests.scenes import BANDS, LOSSLESS, deliver, ground, save_band
from workflows.dry_run import dry_run
from workflows.inspect import describe
from workflows.repair import repair_store
from workflows.run import run

Kseg = Callable[..., Outcome]
FIRST, SECOND, THIRD = (f"T32UPU_202306{day}T102031" for day in (10, 15, 20))
HOW: dict[str, Any] = {"k": 4, "tile": 64, "attempts": 1}
NUMBERED = "bands in files of their own, by number: 1 B02, 2 B04, 3 B05, 4 B08, 5 B8A, 6 B09"
RESAMPLED = (
    "bands are read at the finest resolution, by nearest neighbour: B05, B8A (2 times coarser), B09 (6 times coarser)"
)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three scenes as Sentinel-2 delivers them, and the same stacked. Not to be changed."""
    place = tmp_path_factory.mktemp("scenes")
    for seed, name in enumerate((FIRST, SECOND, THIRD)):
        deliver(place / "in" / f"{name}.SAFE" / "IMG_DATA", name, ground(240, 180, seed), stacked=place / "stacked")
    return place / "in", place / "stacked"


@pytest.fixture
def folder(delivered: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(delivered[0], tmp_path / "in"))


@pytest.fixture(scope="module")
def model(delivered: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the scenes. Not to be changed."""
    made = tmp_path_factory.mktemp("model") / "m.model.zarr"
    run_job(delivered[0], made, stack="auto", **HOW)
    return made


def labels(store: Path) -> dict[str, NDArray[Any]]:
    """By the name of the scene."""
    images = open_store(str(store))
    return {
        name: np.asarray(image.labels[...])
        for image in images.values()
        for name in (FIRST, SECOND, THIRD)
        if name in image.source
    }


def same(one: Path, other: Path, count: int = 3) -> None:
    ours, theirs = labels(one), labels(other)
    assert len(ours) == len(theirs) == count
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])
        assert len(np.unique(values)) > 2


@pytest.mark.parametrize(("tile", "piece"), [(64, 64), (64, 128), (128, 2048), (1024, 2048)])
def test_a_folder_of_bands_has_the_labels_of_stacked_files(
    delivered: tuple[Path, Path], model: Path, tmp_path: Path, tile: int, piece: int
) -> None:
    bands, stacked = delivered
    with pieces_of(piece):
        made = run_job(bands, tmp_path / "a.zarr", **HOW | {"tile": tile}, stack="auto")
        whole = run_job(stacked, tmp_path / "b.zarr", **HOW | {"tile": tile})
        same(tmp_path / "a.zarr", tmp_path / "b.zarr")
        assert (made.images.labelled, made.failures) == (3, ())
        assert (made.inertia, made.features_why) == (whole.inertia, whole.features_why)
        for name, inputs, how in (("c", bands, {"stack": "auto"}), ("d", stacked, {})):
            run_job(inputs, tmp_path / f"{name}.zarr", model=model, tile=tile, **how)
        same(tmp_path / "c.zarr", tmp_path / "a.zarr")
        same(tmp_path / "c.zarr", tmp_path / "d.zarr")
    assert problems(tmp_path / "a.zarr") == problems(tmp_path / "c.zarr") == []


@pytest.mark.parametrize("how", [{"scheduler": "threads", "workers": 2}, {"scheduler": "processes", "workers": 2}])
def test_so_it_has_with_threads_and_on_a_cluster(
    delivered: tuple[Path, Path], model: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    run_job(delivered[0], tmp_path / "a.zarr", model=model, stack="auto", tile=64, **how)
    run_job(delivered[0], tmp_path / "b.zarr", model=model, stack="auto", tile=64)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_chosen_bands_streamed_and_smoothed_are_those_of_stacked_files(
    delivered: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(monkeypatch, piece=64, held=5000)
    how = HOW | {"features": "bands", "bands": (4, 3, 6), "smooth": 2, "batch_pixels": 4000}
    run_job(delivered[0], tmp_path / "a.zarr", stack="auto", **how)
    run_job(delivered[1], tmp_path / "b.zarr", **how)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_bands_are_chosen_and_derived_by_the_names_of_their_files(delivered: tuple[Path, Path], tmp_path: Path) -> None:
    how = HOW | {"features": "bands", "normalize": "standard"}
    named = {"bands": ("B08", "B8A"), "derive": ("ndvi=(B08-B04)/(B08+B04)",)}
    numbered = {"bands": (4, 5), "derive": ("ndvi=(b4-b2)/(b4+b2)",)}
    run_job(delivered[0], tmp_path / "a.zarr", stack="auto", **how, **named)
    run_job(delivered[1], tmp_path / "b.zarr", **how, **numbered)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_a_scene_is_named_and_its_files_and_bands_are_said(
    delivered: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    made = run_job(delivered[0], tmp_path / "a.zarr", model=model, stack="auto")
    image = open_store(str(tmp_path / "a.zarr"))
    below = [f"{name}.SAFE/IMG_DATA/{name}" for name in (FIRST, SECOND, THIRD)]
    assert list(image) == sorted(below)
    files = ",".join(f"R{metres}m/{FIRST}_{band}_{metres}m" for band, metres in BANDS.items())
    assert image[below[0]].source == f"{delivered[0]}/{FIRST}.SAFE/IMG_DATA/{{{files}}}.jp2"
    notes = [(note.source, note.note) for note in made.notes]
    assert notes == [(None, NUMBERED), (None, RESAMPLED)]
    assert describe(str(model))["model"]["stack"] == [*BANDS]
    assert Model.load(str(model)).stack == tuple(BANDS)
    assert describe(str(model))["model"]["notes"] == [NUMBERED, RESAMPLED]
    geo = image[below[0]].georeference
    assert geo is not None
    assert geo.transform == (10.0, 0.0, 399_960.0, 0.0, -10.0, 5_000_040.0)


def night(folder: Path, model: Path, output: Path, **how: Any) -> dict[str, Any] | None:
    request = asked(folder, output, model=model, stack="auto", tile=64, **how)
    return None if request.finished is not None else run(request).to_json()


def test_a_scene_whose_files_are_not_all_there_waits_for_them(folder: Path, model: Path, tmp_path: Path) -> None:
    """Night after night, even where it is the one that is there."""
    store, late = tmp_path / "out.zarr", folder / f"{SECOND}.SAFE/IMG_DATA/R10m/{SECOND}_B04_10m.jp2"
    content, status = late.read_bytes(), late.stat()
    for name in (FIRST, THIRD):
        shutil.move(folder / f"{name}.SAFE", tmp_path / name)
    late.unlink()
    coarse = folder / f"{SECOND}.SAFE/IMG_DATA/R20m/{SECOND}_B08_20m.jp2"
    with pytest.raises(KsegError, match=r"it has no band B04, which the model is of \(there is B02, B05,"):
        night(folder, model, store)
    assert not store.exists()
    shutil.move(tmp_path / FIRST, folder / f"{FIRST}.SAFE")
    first = night(folder, model, store)
    assert first is not None
    assert first["images"] == {"total": 2, "labelled": 1, "reused": 0, "failed": 1}
    (failure,) = first["failures"]
    assert failure["source"] == f"{folder}/{SECOND}.SAFE/IMG_DATA/{SECOND}"
    assert "no band B04" in failure["reason"]
    late.write_bytes(content)
    os.utime(late, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.move(tmp_path / THIRD, folder / f"{THIRD}.SAFE")
    second = night(folder, model, store)
    assert second is not None
    assert (second["status"], second["images"]["labelled"], second["images"]["reused"]) == ("ok", 2, 1)
    assert night(folder, model, store) is None
    assert not coarse.exists()
    fresh = tmp_path / "fresh.zarr"
    night(folder, model, fresh)
    same(store, fresh)


def test_a_scene_one_of_whose_files_changed_is_labelled_anew(folder: Path, model: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store)
    before = labels(store)
    path = folder / f"{SECOND}.SAFE/IMG_DATA/R20m/{SECOND}_B05_20m.jp2"
    other = np.ascontiguousarray(ground(240, 180, 9)[2, ::2, ::2])
    save_band(path, other, 20, **LOSSLESS)
    os.utime(path, ns=(1, 1))  # older than any other
    result = night(folder, model, store)
    assert result is not None
    assert (result["images"]["labelled"], result["changes"]["changed"]) == (1, 1)
    after = labels(store)
    assert (after[SECOND] != before[SECOND]).any()
    for name in (FIRST, THIRD):
        np.testing.assert_array_equal(after[name], before[name])
    assert problems(store) == []


def test_it_is_checked_repaired_and_shown_from_its_files(folder: Path, model: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    night(folder, model, store, checksum=True)
    before = labels(store)
    key = next(key for key in open_store(str(store)) if SECOND in key)
    for chunk in (store / "images" / key / "labels/kmeans/0/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damage")
    assert any(key in line for line in problems(store))
    assert repair_store(str(store), SYNC)["repaired"] == [key]
    assert problems(store) == []
    after = labels(store)
    np.testing.assert_array_equal(after[SECOND], before[SECOND])
    (folder / f"{SECOND}.SAFE/IMG_DATA/R60m/{SECOND}_B09_60m.jp2").unlink()
    for chunk in (store / "images" / key / "labels/kmeans/0/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damage")
    lost = repair_store(str(store), SYNC)
    assert any("is not there any more" in line for line in lost["problems"])


def test_commands_take_it(folder: Path, tmp_path: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    beforehand = kseg("run in --k 3 --attempts 1 --tile 64 -o a.zarr --dry-run --json --stack")
    assert beforehand.code == 0
    assert beforehand.json()["images"]["to_do"] == 3
    assert NUMBERED in [note["note"] for note in beforehand.json()["notes"]]
    assert kseg("run in --k 3 --attempts 1 --tile 64 -o a.zarr --stack auto --json").json()["images"]["labelled"] == 3
    again = kseg("run in --k 3 --attempts 1 --tile 64 -o a.zarr --stack auto --json")
    assert again.json()["images"]["reused"] == 3
    assert kseg("check a.zarr").code == 0
    told = kseg("inspect a.zarr").out
    assert "1 B02, 2 B04, 3 B05" in told
    assert "R10m/" in told
    assert kseg("segments a.zarr --level fine --json").json()["images"]["done"] == 3
    assert kseg("export a.zarr --to cut --what cutout --cluster 1 --json").code == 0
    assert kseg("report a.zarr --to page --json").code == 0
    other = kseg("run in --k 3 --attempts 1 --tile 64 -o a.zarr")
    assert other.code != 0
    assert "stack" in other.err
    wrong = kseg("run --k 3 --stack in -o b.zarr x")
    assert wrong.code == 2
    assert "--stack takes auto, or a pattern with {band} such as '{scene}_{band}.tif'; got 'in'" in wrong.err
    rgb = kseg("run in --k 3 --features rgb --stack auto -o c.zarr")
    assert rgb.code != 0
    assert "bands in files of their own are no colours; use --features bands" in rgb.err
    swept = kseg("sweep in --k-range 2:3 --attempts 1 --stack auto -o s.sweep --json")
    assert swept.json()["images"]["swept"] == 3


def test_bands_of_ones_own_names_from_python(tmp_path: Path) -> None:
    samples = ground(50, 40, 3)
    for number, name in enumerate(("one", "two", "three")):
        save_band(tmp_path / f"in/{name}/field.tif", samples[number])
    save_band(tmp_path / "whole/field.tif", samples[[0, 2, 1]])
    config = configured(3, attempts=1, stack="{band}/{scene}.tif")
    assert isinstance(config, RunConfig)
    with pytest.warns(KsegWarning, match="bands in files of their own, by number: 1 one, 2 three, 3 two"):
        stacked = workflows.segment(str(tmp_path / "in"), config)
    ((key, made),) = stacked.labels.items()
    (whole,) = workflows.segment(str(tmp_path / "whole"), configured(3, attempts=1)).labels.values()
    assert key == "field"
    np.testing.assert_array_equal(made.compute(), whole.compute())
    assert stacked.model.stack == ("one", "three", "two")


def test_the_rule_is_a_setting_of_the_store(tmp_path: Path) -> None:
    samples = ground(50, 40, 3)
    for number, name in enumerate(("red", "nir")):
        save_band(tmp_path / f"in/field_{name}.tif", samples[number])
    run_job(tmp_path / "in", tmp_path / "a.zarr", k=2, stack="auto")
    assert asked(tmp_path / "in", tmp_path / "a.zarr", k=2, stack="auto").finished is not None
    with pytest.raises(StoreError, match=r"other settings \(--stack auto → \{scene\}_\{band\}.tif\)"):
        asked(tmp_path / "in", tmp_path / "a.zarr", k=2, stack="{scene}_{band}.tif")


def test_a_mask_has_the_name_of_the_scene(folder: Path, model: Path, tmp_path: Path) -> None:
    mask = np.zeros((240, 180), np.uint8)
    mask[:100] = 1
    for name in (FIRST, SECOND, THIRD):
        save_band(tmp_path / f"masks/{name}.SAFE/IMG_DATA/{name}.tif", mask)
    run_job(folder, tmp_path / "a.zarr", model=model, stack="auto", mask=tmp_path / "masks")
    for values in labels(tmp_path / "a.zarr").values():
        assert (values[100:] == 255).all()
        assert (values[:100] != 255).all()
    assert problems(tmp_path / "a.zarr") == []


def test_a_vrt_of_bands_of_all_resolutions_has_the_labels_of_the_stack(
    delivered: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    """Read through GDAL, which repeats coarser pixels as a stack does."""
    shutil.copytree(delivered[0] / f"{FIRST}.SAFE", tmp_path / "in")
    parts = []
    for number, (band, metres) in enumerate(BANDS.items(), 1):
        name, step = f"IMG_DATA/R{metres}m/{FIRST}_{band}_{metres}m.jp2", metres // 10
        parts.append(
            f'<VRTRasterBand dataType="UInt16" band="{number}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{180 // step}" ySize="{240 // step}"/>'
            '<DstRect xOff="0" yOff="0" xSize="180" ySize="240"/></SimpleSource></VRTRasterBand>'
        )
    vrt = tmp_path / "in" / f"{FIRST}.vrt"
    vrt.write_text(f'<VRTDataset rasterXSize="180" rasterYSize="240">{"".join(parts)}</VRTDataset>')
    with pieces_of(64):
        run_job(vrt, tmp_path / "a.zarr", model=model, tile=64)
        run_job(tmp_path / "in", tmp_path / "b.zarr", model=model, stack="auto", tile=64)
    same(tmp_path / "a.zarr", tmp_path / "b.zarr", 1)


def test_what_would_be_read_is_known_beforehand(delivered: tuple[Path, Path], tmp_path: Path) -> None:
    found = dry_run(asked(delivered[0], tmp_path / "a.zarr", stack="auto", **HOW))
    sizes = [path.stat().st_size for path in delivered[0].rglob("*.jp2")]
    assert 0 < found.read_bytes < sum(sizes)  # less what is none of the bands
    assert (found.images, found.pixels) == (3, 3 * 240 * 180)
