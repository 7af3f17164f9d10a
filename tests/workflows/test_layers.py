"""The seam of layers: one that is not in the product is asked for, written, verified, repaired and exported like its
own, though nothing but a class, an entry of the table and a setting is there of it.
"""

from __future__ import annotations

import base64
import inspect
import io
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from kseg_core import config
from kseg_core.config import ExecutionSettings, FitSettings, OutputSettings, RunConfig
from kseg_core.export.settings import ExportSettings
from kseg_core.layers import LABEL_LAYER, LAYERS, asked_layers, by_name
from kseg_core.layers.labelled import LabelLayer
from kseg_core.layers.layer import LayerInput, Layout
from kseg_core.layers.pyramid import mode_of_blocks
from kseg_core.options import option
from kseg_core.products import KINDS, Kind
from kseg_core.report.settings import ReportSettings
from kseg_core.store.opening import open_store
from workflows.check import check_store
from workflows.export import ExportRequest, export
from workflows.inspect import describe
from workflows.labelling import adding
from workflows.repair import repair_store
from workflows.report import ReportRequest, make_report
from workflows.request import InputSelection, prepare
from workflows.run import run

SYNC = ExecutionSettings("sync")
LARGE = (300, 220)


@dataclass(frozen=True, slots=True)
class WithMajority(OutputSettings):
    """The settings that ask for them."""

    majority: bool = option(False, "Also write the most frequent label around each pixel.", "Output")
    shade: bool = option(False, "Also write a shade for each label.", "Output")


class MajorityLayer(LabelLayer):
    """The most frequent label of the 5 x 5 pixels around each valid one, the lowest of equally frequent ones."""

    name, called, group = "majority", "its majority is", "majority"
    added, source, halo, working_px = True, "labels", 2, 600

    def is_in(self, layout: Layout) -> bool:
        return False

    def asked(self, output: OutputSettings) -> MajorityLayer | None:
        return self if getattr(output, "majority", False) else None

    def values(self, window: LayerInput, layout: Layout) -> Any:
        assert window.labels is not None
        around = np.pad(window.labels, 2, constant_values=layout.invalid)
        squares = np.lib.stride_tricks.sliding_window_view(around, (5, 5))
        counts = np.stack([(squares == cluster).sum(axis=(2, 3)) for cluster in range(layout.k)])
        most = counts.argmax(axis=0).astype(layout.label_dtype)
        return np.where(window.labels == layout.invalid, layout.invalid, most).astype(layout.label_dtype)


class ShadeLayer(MajorityLayer):
    """A shade for each label."""

    name, called, group, are_labels, halo = "shade", "its shade is", None, False, 0

    def asked(self, output: OutputSettings) -> ShadeLayer | None:
        return self if getattr(output, "shade", False) else None

    def values(self, window: LayerInput, layout: Layout) -> Any:
        assert window.labels is not None
        return np.where(window.labels == layout.invalid, layout.invalid, 40 * window.labels).astype(np.uint8)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> MajorityLayer:
    return enter(MajorityLayer(), "majority/{}", monkeypatch)


def enter(layer: MajorityLayer, path: str, monkeypatch: pytest.MonkeyPatch) -> MajorityLayer:
    """The layer, entered in the table, with its setting; pieces are of 128 x 128 pixels."""
    monkeypatch.setitem(LAYERS, layer.name, layer)
    monkeypatch.setitem(config.ADDED, layer.name, path)
    monkeypatch.setitem(KINDS, layer.name, Kind(layer.name, "", of_labels=False))  # as they are made of that table
    monkeypatch.setattr("workflows.viewing.verify.OutputSettings", WithMajority)
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 128 * 128)
    return layer


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A small picture, and one that is worked on in pieces, both with invalid pixels."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, shape in (("a.png", (40, 50)), ("large.tif", LARGE)):
        pixels = np.random.default_rng(0).integers(0, 256, (*shape, 4)).astype(np.uint8)
        pixels[..., 3] = np.where(pixels[..., 0] > 20, 255, 0)
        if name.endswith("png"):
            Image.fromarray(pixels).save(folder / name)
        else:
            tifffile.imwrite(folder / name, pixels, tile=(64, 64), photometric="rgb", extrasamples=["unassalpha"])
    return folder


def asked(pictures: Path, output: Path, *, majority: bool = True, shade: bool = False) -> Any:
    wanted = WithMajority(tile=64, pyramid=True, majority=majority, shade=shade)
    settings = RunConfig(FitSettings(k=3, attempts=1), wanted, SYNC)
    return prepare(InputSelection((str(pictures),)), settings, str(output), "store")


def add_one(store: Path, path: str) -> None:
    damaged = zarr.open_array(f"{store}/images/{path}", mode="r+")
    damaged[5, 5] = (int(damaged[5, 5]) + 1) % 3  # type: ignore[arg-type]


def test_a_layer_of_its_own_takes_a_class_an_entry_and_a_setting(
    layer: MajorityLayer, pictures: Path, tmp_path: Path, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inspect.getsource(MajorityLayer).count("\n") < 40
    store, again = tmp_path / "out.zarr", tmp_path / "stopped.zarr"
    assert run(asked(pictures, store)).images.labelled == 2
    for key, shape in (("a.png", (40, 50)), ("large.tif", LARGE)):
        image = open_store(str(store))[key]
        labels, found = (np.asarray(array[...]) for array in (image.labels, image.layer(layer)))
        expected = layer.values(LayerInput(labels), Layout(shape, 3, 64, masks=False))
        np.testing.assert_array_equal(found, expected)  # in pieces as whole
        assert (found != labels).any()
    levels = image.layer_levels(layer)
    assert [array.shape for array in levels] == [(300, 220), (150, 110), (75, 55), (38, 28)]
    np.testing.assert_array_equal(levels[1][...], mode_of_blocks(found, 255))
    assert asked(pictures, store).finished is not None
    assert check_store(str(store), SYNC)["problems"] == []

    with monkeypatch.context() as patch:
        finish, finished = adding.finish_layer, []

        def stop_at_the_second(*arguments: Any) -> None:
            if finished:
                raise KeyboardInterrupt
            finished.append(finish(*arguments))

        patch.setattr(adding, "finish_layer", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run(asked(pictures, again))
    one = open_store(str(again))
    assert [one[key].has_layer(layer) for key in one] == [True, False]
    assert run(asked(pictures, again)).images.reused == 2
    assert contents(again) == contents(store)

    described = describe(str(store))["images"]
    assert [image["majority"] for image in described] == [f"images/{key}/majority/0" for key in one]
    files = tmp_path / "files"
    export(ExportRequest(str(store), str(files), ExportSettings(("majority",))), SYNC)
    np.testing.assert_array_equal(np.asarray(Image.open(files / "large.majority.png")), found)
    painted = open_store(str(store)).model.paint(found)
    on_page = picture_on_page(store, "majority").convert("RGBA")
    np.testing.assert_array_equal(np.asarray(on_page)[..., :3][found != 255], painted[found != 255])


def picture_on_page(store: Path, name: str) -> Image.Image:
    """Of the report, what it shows of a layer of the large image, whole."""
    made = make_report(ReportRequest(str(store), f"{store}.report", None, ReportSettings(thumbnail=300)), SYNC)
    (file,) = re.findall(
        f'src="data:image/png;base64,([^"]*)" alt="large.tif, {name}"', Path(made["report"]).read_text()
    )
    return Image.open(io.BytesIO(base64.b64decode(file)))


def test_a_layer_of_shades_is_gray_in_files_and_on_the_page(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, store = enter(ShadeLayer(), "shade", monkeypatch), tmp_path / "out.zarr"
    run(asked(pictures, store, majority=False, shade=True))
    found = np.asarray(open_store(str(store))["large.tif"].layer(layer))
    assert set(np.unique(found)) == {0, 40, 80, 255}
    export(ExportRequest(str(store), str(tmp_path / "files"), ExportSettings(("shade",))), SYNC)
    for picture in (Image.open(tmp_path / "files" / "large.shade.png"), picture_on_page(store, "shade")):
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), found)


def test_a_layer_that_is_not_called_as_its_setting_and_its_entry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [*LAYERS.values(), MajorityLayer()]
    for path in (None, "elsewhere", "majority/{}"):
        if path is not None:
            monkeypatch.setitem(config.ADDED, "majority", path)
        with pytest.raises(ValueError, match="settings and entries of ADDED"):
            by_name(layers)
    assert by_name(layers, WithMajority).keys() == {*LAYERS, "majority"}


@pytest.mark.parametrize("key", ["a.png", "large.tif"])
def test_damage_to_it_is_found_and_made_anew(
    key: str, layer: MajorityLayer, pictures: Path, tmp_path: Path, contents: Any
) -> None:
    whole, store = tmp_path / "whole.zarr", tmp_path / "out.zarr"
    run(asked(pictures, whole))

    def mended(line: str) -> None:
        problems = check_store(str(store), SYNC)["problems"]
        assert [told for told in problems if line in told and told.startswith(key)], problems
        done = repair_store(str(store), SYNC)
        assert (done["problems"], done["repaired"]) == ([], [key])
        assert contents(store) == contents(whole)

    shutil.copytree(whole, store)
    add_one(store, f"{key}/majority/0")
    mended("1 pixels of its majority are not those of its labels")
    if key == "large.tif":
        add_one(store, f"{key}/majority/1")
        mended("1 pixels of level 1 of its majority are not of the level above")
    shutil.rmtree(store / f"images/{key}/majority")
    assert asked(pictures, store).finished is None
    mended("its majority is missing")
    run(asked(pictures, tmp_path / "without.zarr", majority=False))
    assert check_store(str(tmp_path / "without.zarr"), SYNC)["problems"] == []


@pytest.mark.parametrize("everything", [True, False])
def test_the_arrays_that_a_run_makes_are_those_of_its_layers(everything: bool) -> None:
    more = {
        "confidence": True,
        "copy_image": True,
        "min_region": 9,
        "keep_raw": True,
        "edges": (1.0, 2.0),
        "segments": 0.5,
    }
    output = OutputSettings(everything, **(more if everything else {}))  # type: ignore[arg-type]  # of several types
    wanted = [layer for layer in LAYERS.values() if (everything and not layer.of_model) or layer is LABEL_LAYER]
    assert output.arrays(3, added=True) == [layer.path() for layer in wanted]
    assert asked_layers(output) == tuple(layer.asked(output) for layer in wanted if layer.added)
