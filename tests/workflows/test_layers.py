"""The seam of layers: one that is not in the product is written, checked and exported like its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image

from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.export.files import ExportFile, Target, export_files
from kseg_core.export.settings import ExportSettings
from kseg_core.layers import LABEL_LAYER, LAYERS
from kseg_core.layers.labelled import LabelLayer
from kseg_core.layers.layer import LayerInput, Layout
from kseg_core.layers.pyramid import mode_of_blocks
from kseg_core.places import arrays_made
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.model import Model
from kseg_core.store.opening import open_store
from kseg_core.store.originals import Originals
from kseg_core.store.verify import ImageCheck
from workflows.computing.context import Context
from workflows.inspect import describe
from workflows.labelling.adding import add_layer
from workflows.planning.plan import Plan
from workflows.request import InputSelection, prepare
from workflows.run import run


class MajorityLayer(LabelLayer):
    """The most frequent label of the 5 x 5 pixels around each valid one, the lowest of equally frequent ones."""

    name, called, group = "majority", "its majority is", "majority"
    added, source, halo = True, "labels", 2

    def is_in(self, layout: Layout) -> bool:
        return False

    def values(self, window: LayerInput, layout: Layout) -> Any:
        assert window.labels is not None
        around = np.pad(window.labels, 2, constant_values=layout.invalid)
        squares = np.lib.stride_tricks.sliding_window_view(around, (5, 5))
        counts = np.stack([(squares == cluster).sum(axis=(2, 3)) for cluster in range(layout.k)])
        most = counts.argmax(axis=0).astype(layout.label_dtype)
        return np.where(window.labels == layout.invalid, layout.invalid, most).astype(layout.label_dtype)


def test_a_layer_of_its_own_has_tiles_pyramid_check_and_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 220, 4)).astype(np.uint8)
    pixels[..., 3] = np.where(pixels[..., 0] > 20, 255, 0)
    picture, layer = tmp_path / "a.png", MajorityLayer()
    Image.fromarray(pixels).save(picture)
    monkeypatch.setitem(LAYERS, layer.name, layer)
    selection, output = InputSelection((str(picture),)), OutputSettings(tile=64, pyramid=True)
    source = ImageSource.open(selection.list().files[0], InputSettings())
    corners = [(top, left) for top in (0, 128, 256) for left in (0, 128)]
    tiled = tuple(Piece(source, y, x, min(128, 300 - y), min(128, 220 - x)) for y, x in corners)
    for name, plan in (("tiled", Plan((), (tiled,))), ("whole", Plan((tuple(source.pieces(64)),)))):
        store = str(tmp_path / name)
        run(prepare(selection, RunConfig(FitSettings(k=3), output), store, "store"))
        with Context.open(ExecutionSettings()) as context:
            assert add_layer(plan, layer, store, 64, context).images == 1
    majority = (tmp_path / name / "images/a.png/majority" for name in ("tiled", "whole"))
    assert contents(next(majority)) == contents(next(majority))

    image, model = open_store(store)["a.png"], Model.load(store)
    labels, found = (np.asarray(array[...]) for array in (image.labels, image.layer(layer)))
    np.testing.assert_array_equal(found, layer.values(LayerInput(labels), Layout((300, 220), 3, 64, masks=False)))
    assert (found != labels).any()
    levels = image.layer_levels(layer)
    assert [array.shape for array in levels] == [(300, 220), (150, 110), (75, 55), (38, 28)]
    np.testing.assert_array_equal(levels[1][...], mode_of_blocks(found, 255))
    assert describe(store)["images"][0]["majority"] == "images/a.png/majority/0"
    file = ExportFile("a.png", "a.png", layer.name, None, "png")
    export_files(store, (file,), Target(str(tmp_path), "x"), ExportSettings(), Originals.of({}), model)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / file.name)), found)

    assert ImageCheck(store, "a.png").whole(model).problems == ()
    for path in ("majority/0", "majority/1"):
        damaged = zarr.open_array(f"{store}/images/a.png/{path}", mode="r+")
        damaged[5, 5] = (int(damaged[5, 5]) + 1) % 3  # type: ignore[arg-type]
    told = ImageCheck(store, "a.png").whole(model).problems
    assert any("1 pixels of its majority are not those of its labels" in line for line in told)
    assert any("level 2 of its majority" in line or "level 1 of its majority" in line for line in told)


@pytest.mark.parametrize("everything", [True, False])
def test_the_arrays_that_a_run_makes_are_those_of_its_layers(everything: bool) -> None:
    output = OutputSettings(
        everything, confidence=everything, copy_image=everything, edges=(1, 2) if everything else None
    )
    wanted = [layer for layer in LAYERS.values() if layer is LABEL_LAYER or layer.is_wanted(output, 3)]
    assert arrays_made(output, 3, added=True) == [layer.path() for layer in wanted]
    assert len(wanted) == (len(LAYERS) if everything else 1)
