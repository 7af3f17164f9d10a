"""Segments are the same to the last bit on threads, in processes, and on a cluster that somebody else started."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile

from kseg_core.config import ExecutionSettings, SegmentsConfig
from kseg_core.segment_settings import SegmentSettings
from tests.asking import selection
from tests.command_lines import TwoProcesses
from tests.conftest import save_png, smooth_picture
from workflows.layer_job import add_to_images
from workflows.layer_request import prepare_layer

SIDE = 2080  # larger than a piece, and more than two blocks each way


class Kind(NamedTuple):
    """What is segmented, and how."""

    scale: str
    palette: str
    of_bands: bool = False


FAST = Kind("photo", "shared")
SLOW = (
    Kind("photo", "image"),
    Kind("native", "image"),
    Kind("native", "shared"),
    Kind("native", "image", of_bands=True),
    Kind("native", "shared", of_bands=True),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Of colours and of bands: an image of several pieces and two small ones."""
    here = tmp_path_factory.mktemp("schedulers")
    large = np.tile(smooth_picture(260, 260, 5), (SIDE // 260, SIDE // 260, 1))
    large[300:1400, 700:1500] //= 3
    for of_bands in (False, True):
        folder = here / ("bands" if of_bands else "colours")
        folder.mkdir()
        for name, picture in (("large", large), ("b", smooth_picture(90, 70, 2)), ("c", smooth_picture(64, 80, 3))):
            if of_bands:
                how = {"photometric": "minisblack", "planarconfig": "contig", "tile": (256, 256)}
                tifffile.imwrite(folder / f"{name}.tif", picture[..., :2].astype(np.uint16) * 31, **how)
            elif name == "large":
                tifffile.imwrite(folder / "large.tif", picture, photometric="rgb", tile=(256, 256))
            else:
                save_png(folder / f"{name}.png", picture)
    return {False: here / "colours", True: here / "bands"}


@pytest.mark.parametrize("kind", [FAST, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)], ids=str)
def test_threads_processes_and_a_cluster_give_the_same_bits(
    kind: Kind, folders: dict[bool, Path], tmp_path: Path, cluster: TwoProcesses, contents: Any
) -> None:
    folder = folders[kind.of_bands]
    ways = {
        "sync": ExecutionSettings("sync"),
        "threads": ExecutionSettings("threads", 3),
        "processes": ExecutionSettings("processes", 2),
        "cluster": ExecutionSettings(cluster.address),
    }
    assert cluster.address.startswith("tcp://")
    found = {}
    for name, execution in ways.items():
        how = SegmentsConfig(SegmentSettings(0.2), execution=execution, scale=kind.scale, palette=kind.palette)  # type: ignore[arg-type]  # a literal
        made = add_to_images(prepare_layer(selection(folder), how, str(tmp_path / f"{name}.zarr"))).to_json()
        assert made["images"] == {"total": 3, "done": 3, "reused": 0, "failed": 0}, name
        found[name] = contents(tmp_path / f"{name}.zarr")
    assert any("contours" in name for name in found["sync"])
    for name, arrays in found.items():
        assert arrays == found["sync"], name
