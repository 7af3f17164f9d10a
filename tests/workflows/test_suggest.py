"""Proposals of classes: textures of speckles are put together again, whatever tiles, windows and schedulers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from kseg_core import open_store
from kseg_core.classes import Classes
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError
from tests.asking import SYNC, run_job
from tests.conftest import save_png
from workflows import suggest
from workflows.classes import ClassChanges, classes_of_all
from workflows.suggest import suggest_classes

TEXTURES = (((150, 110, 80), (180, 140, 100)), ((40, 110, 40), (70, 150, 60)), ((120, 160, 220), (140, 180, 235)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of soil, leaf and sky, each of them speckles of two colours."""
    here = tmp_path_factory.mktemp("suggest")
    for seed, (height, width) in enumerate([(230, 310), (90, 150)]):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        parts = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, 1, 0)
        parts[: height // 6] = 2
        picture = np.array(TEXTURES)[parts, (random.random(parts.shape) < 0.35).astype(int)]
        (here / "in").mkdir(exist_ok=True)
        save_png(here / "in" / f"{seed}.png", picture.astype(np.uint8))
    return here / "in"


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    store = folder.parent / "o.zarr"
    run_job(folder, store, k=6, tile=64)
    return store


def textures_of(store: Path) -> set[tuple[int, ...]]:
    """The two clusters of each texture, by their colours."""
    colors = [tuple(color) for color in open_store(str(store)).model.colors.tolist()]
    return {tuple(sorted(colors.index(color) for color in pair)) for pair in TEXTURES}


@pytest.mark.parametrize("wanted", [None, 3])
def test_speckles_of_one_texture_are_one_class(made: Path, wanted: int | None) -> None:
    told = suggest_classes(str(made), wanted, execution=SYNC)
    assert {tuple(each["clusters"]) for each in told["classes"]} == textures_of(made)
    counts = [each["count"] for each in told["classes"]]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == sum(open_store(str(made)).attributes["result"]["counts"])
    assert (told["status"], told["k"], told["failures"]) == ("ok", 6, [])


def test_tiles_windows_and_schedulers_propose_the_same(
    folder: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = suggest_classes(str(made), execution=SYNC)
    run_job(folder, tmp_path / "other.zarr", k=6, tile=100)
    for path, side, execution in (
        (made, 64, ExecutionSettings("threads", 2)),
        (tmp_path / "other.zarr", 100, SYNC),
        (tmp_path / "other.zarr", 1024, SYNC),
    ):
        monkeypatch.setattr(suggest, "WINDOW_PX", side)
        assert suggest_classes(str(path), execution=execution) == expected | {"store": str(path)}


def test_a_written_proposal_sets_classes(made: Path, tmp_path: Path) -> None:
    store, file = Path(shutil.copytree(made, tmp_path / "s.zarr")), tmp_path / "c.toml"
    told = suggest_classes(str(store), 3, str(file), SYNC)
    assert told["output"] == str(file)
    set_now = classes_of_all(str(store), ClassChanges(file=str(file)), SYNC)
    assert set_now["classes"] == told["classes"]
    assert open_store(str(store)).classes == Classes.from_toml(str(file))
    with pytest.raises(KsegError, match=r"c\.toml exists; name another"):
        suggest_classes(str(store), 3, str(file), SYNC)


def test_a_damaged_image_is_left_out_and_named(made: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(made, tmp_path / "s.zarr"))
    alone = suggest_classes(str(store), 3, execution=SYNC)
    for chunk in (store / "images" / "1.png" / "labels" / "kmeans" / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"no chunk")
    told = suggest_classes(str(store), 3, execution=SYNC)
    assert (told["status"], [each["key"] for each in told["failures"]]) == ("partial", ["1.png"])
    assert 0 < sum(each["count"] for each in told["classes"]) < sum(each["count"] for each in alone["classes"])


def test_too_many_contacts_for_memory_are_refused_with_a_way_out(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggest, "TOUCHING_BYTES", 1 << 60)
    monkeypatch.setattr(suggest, "LEAST_CONTACTS", 2)
    with pytest.raises(KsegError, match=r"o\.zarr: \d+ pairs of its 6 clusters touch.*--memory"):
        suggest_classes(str(made), execution=SYNC)
