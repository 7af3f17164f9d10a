"""Segments by one palette of all images: found once, stored, and the same bits whatever becomes of the job."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from kseg_core import open_store
from kseg_core.config import SegmentsConfig
from kseg_core.errors import StoreError, UsageError
from kseg_core.images import read_image
from kseg_core.segment_settings import SegmentSettings
from kseg_core.segments.shared import BoxCounts
from kseg_core.segments.whole import contours_of
from tests.asking import SYNC, problems, run_job, selection, stopped_at
from tests.conftest import save_png
from workflows.layer_job import add_to_images
from workflows.layer_request import prepare_layer
from workflows.repair import repair_store

SHARED = {"palette": "shared", "tile": 64, "scale": "native"}
RUN = {"segments": 0.2, "segment_scale": "native", "segment_palette": "shared", "tile": 64}


@pytest.fixture
def folder(tmp_path: Path, smooth: Any) -> Path:
    """Two pictures, of which none has the colours of the other."""
    here = tmp_path / "in"
    for number, name in enumerate("ab"):
        save_png(here / f"{name}.png", smooth(70, 90 + number, number) // 2 + np.uint8(120 * number))
    return here


def add(inputs: Path, output: Path | None = None, level: float = 0.2, execution: Any = SYNC, **config: Any) -> Any:
    how = SegmentsConfig(SegmentSettings(level), execution=execution, **{**SHARED, **config})
    return add_to_images(prepare_layer(selection(inputs), how, None if output is None else str(output)))


def facts(store: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((store / "zarr.json").read_text())["attributes"]["kseg"]
    return told


def palette(store: Path) -> Any:
    return facts(store)["segment_palette"]


def forget_palette(store: Path) -> None:
    document = json.loads((store / "zarr.json").read_text())
    del document["attributes"]["kseg"]["segment_palette"]
    (store / "zarr.json").write_text(json.dumps(document))


def test_all_images_have_the_segments_of_the_palette_of_all(folder: Path, tmp_path: Path) -> None:
    add(folder, tmp_path / "out.zarr")
    samples = {key: read_image(str(folder / key)).samples for key in ("a.png", "b.png")}
    shared = BoxCounts.of(samples["a.png"], None).merge(BoxCounts.of(samples["b.png"], None)).palette()
    assert palette(tmp_path / "out.zarr") == shared.to_json()
    for key, each in samples.items():
        stored = np.asarray(open_store(str(tmp_path / "out.zarr"))[key].array("contours")[...])
        np.testing.assert_array_equal(stored, contours_of(each, None, of_bands=False, ways=shared.ways()))
        assert (stored != contours_of(each, None, of_bands=False)).any()
    assert problems(tmp_path / "out.zarr") == []


def test_a_run_finds_the_same_and_the_same_command_again_does_nothing(folder: Path, tmp_path: Path) -> None:
    add(folder, tmp_path / "alone.zarr")
    run_job(folder, tmp_path / "run.zarr", 3, **RUN)
    run_job(folder, tmp_path / "smooth.zarr", 3, **RUN, smooth=2)
    for store in ("run", "smooth"):
        assert palette(tmp_path / f"{store}.zarr") == palette(tmp_path / "alone.zarr")
    for key in ("a.png", "b.png"):
        one, other = (open_store(str(tmp_path / f"{each}.zarr"))[key] for each in ("alone", "run"))
        np.testing.assert_array_equal(one.array("contours")[...], other.array("contours")[...])
    for inputs, output in ((folder, tmp_path / "run.zarr"), (tmp_path / "run.zarr", None)):
        how = SegmentsConfig(SegmentSettings(0.2), execution=SYNC)  # it is the store's, where none is asked for
        assert prepare_layer(selection(inputs), how, output and str(output)).finished
    own = SegmentsConfig(SegmentSettings(0.2), execution=SYNC, palette="image")
    with pytest.raises(StoreError, match=r"--segment-palette shared → image.*--overwrite"):
        prepare_layer(selection(tmp_path / "run.zarr"), own, None)


@pytest.mark.parametrize("bands", [False, True])
def test_pieces_and_tiles_change_no_bit(bands: bool, tmp_path: Path, smooth: Any, parts: Any) -> None:
    here = tmp_path / "in"
    here.mkdir()
    for seed in (1, 2):
        picture = smooth(150, 130, seed).astype(np.uint16) * 31 if bands else smooth(150, 130, seed)
        how = {"photometric": "minisblack", "planarconfig": "contig"} if bands else {"photometric": "rgb"}
        tifffile.imwrite(here / f"{seed}.tif", picture, tile=(32, 32), **how)
    found = []
    for number, (side, tile) in enumerate(((64, 64), (4096, 64), (100, 100))):
        parts(piece=side, block=80)
        store = tmp_path / f"{number}.zarr"
        add(here, store, tile=tile)
        arrays = [open_store(str(store))[f"{seed}.tif"].array("contours")[...] for seed in (1, 2)]
        found.append((palette(store), [np.asarray(each).tolist() for each in arrays]))
    assert found[0] == found[1] == found[2]
    assert (found[0][0]["bands"] is not None) == bands
    assert len(found[0][0]["centres"]) == 64


def test_a_folder_that_grows_and_another_level_keep_the_palette(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    shutil.move(folder / "b.png", tmp_path / "b.png")
    add(folder, store)
    before = palette(store)
    shutil.move(tmp_path / "b.png", folder / "b.png")
    assert add(folder, store).to_json()["images"] == {"total": 2, "done": 1, "reused": 1, "failed": 0}
    add(store, level=0.3, palette=None, scale=None, tile=None)
    add(store, overwrite=True, tile=None)
    assert palette(store) == before
    add(folder, tmp_path / "whole.zarr")
    assert palette(tmp_path / "whole.zarr") != before


#: Where a job is stopped, by the file that it was to write next: first of all the store's document gets the palette.
STOPS = {"before": (r"out\.zarr/zarr\.json$", 1), "after": (r"contours/c/", 1), "between": (r"/b\.png/contours/c/", 1)}


@pytest.mark.parametrize("when", STOPS)
def test_a_stopped_job_given_again_ends_with_the_same_bits(
    when: str, folder: Path, tmp_path: Path, contents: Any
) -> None:
    store = tmp_path / "out.zarr"
    with stopped_at(*STOPS[when]):
        add(folder, store)
    assert ("segment_palette" in facts(store)) == (when != "before")
    add(folder, store)
    add(folder, tmp_path / "whole.zarr")
    assert palette(store) == palette(tmp_path / "whole.zarr")
    assert contents(store) == contents(tmp_path / "whole.zarr")


def test_a_repair_uses_the_palette_of_the_store(folder: Path, tmp_path: Path, contents: Any) -> None:
    store = tmp_path / "run.zarr"
    run_job(folder, store, 3, **RUN)
    expected = contents(store)
    for chunk in (store / "images" / "a.png" / "contours").rglob("c/*/*/*"):
        chunk.write_bytes(b"no chunk")
    assert repair_store(str(store), SYNC)["repaired"] == ["a.png"]
    assert contents(store) == expected


def test_a_lost_palette_is_noticed_never_found_in_some_of_the_images_and_found_anew_for_all(
    folder: Path, tmp_path: Path, smooth: Any
) -> None:
    store = tmp_path / "out.zarr"
    add(folder, store)
    was = palette(store)
    forget_palette(store)
    (line,) = problems(store)
    assert "palette" in line
    assert f"kseg-batch segments {store} --overwrite" in line
    save_png(folder / "c.png", smooth(50, 60, 3))
    (failure,) = add(folder, store).to_json()["failures"]
    assert failure["source"].endswith("c.png")
    assert "is lost" in failure["reason"]
    assert "--overwrite" in failure["reason"]
    (folder / "c.png").unlink()
    for chunk in (store / "images" / "a.png" / "contours").rglob("c/*/*/*"):
        chunk.write_bytes(b"no chunk")
    told = repair_store(str(store), SYNC)
    assert told["repaired"] == []
    assert any("palette" in line and "--overwrite" in line for line in told["problems"])
    add(folder, store, overwrite=True)
    assert palette(store) == was
    assert problems(store) == []


def test_images_of_several_kinds_are_refused_and_one_that_comes_later_fails_alone(
    folder: Path, tmp_path: Path, smooth: Any
) -> None:
    store = tmp_path / "out.zarr"
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, smooth(60, 50, 1).astype(np.uint16) * 31, photometric="minisblack", planarconfig="contig")
    shutil.copy(deep, folder)
    with pytest.raises(UsageError, match=r"--segment-palette shared.*a\.png has colours.*deep\.tif 3 bands.*-o"):
        add(folder, store)
    assert not store.exists()
    (folder / "deep.tif").unlink()
    add(folder, store)
    shutil.copy(deep, folder)
    told = add(folder, store).to_json()
    assert told["images"] == {"total": 3, "done": 0, "reused": 2, "failed": 1}
    assert "3 bands" in told["failures"][0]["reason"]
    assert "-o" in told["failures"][0]["reason"]


def test_an_image_that_cannot_be_read_is_in_no_palette_and_fails_once(folder: Path, tmp_path: Path) -> None:
    add(folder, tmp_path / "whole.zarr")
    broken = (folder / "a.png").read_bytes()
    (folder / "c.png").write_bytes(broken[: len(broken) // 2])
    told = add(folder, tmp_path / "out.zarr").to_json()
    assert [Path(failure["source"]).name for failure in told["failures"]] == ["c.png"]
    assert told["images"] == {"total": 3, "done": 2, "reused": 0, "failed": 1}
    assert palette(tmp_path / "out.zarr") == palette(tmp_path / "whole.zarr")


def test_a_damaged_palette_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    add(folder, store)
    document = json.loads((store / "zarr.json").read_text())
    document["attributes"]["kseg"]["segment_palette"]["centres"] = [[1, 2]]
    (store / "zarr.json").write_text(json.dumps(document))
    (folder / "b.png").rename(folder / "c.png")
    with pytest.raises(StoreError, match="segment_palette"):
        add(folder, store)
