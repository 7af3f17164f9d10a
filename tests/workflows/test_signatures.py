"""Signatures of classes: NumPy's figures of all pixels of a class, the same bytes whatever the tiles."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from kseg_core.classes import Classes, NamedClass
from kseg_core.config import ExecutionSettings
from kseg_core.object_settings import ObjectSettings
from kseg_core.store.opening import write_classes
from tests.asking import SYNC, labels_of, run_job
from workflows import objects
from workflows.objects import ObjectRequest
from workflows.signatures import Signatures, write_signatures


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WINDOW_PX", 64)


def signed(
    store: Path, file: Path, execution: ExecutionSettings = SYNC, of: str | None = None
) -> tuple[Signatures, list[dict[str, str]]]:
    made = write_signatures(ObjectRequest(str(store), str(file), ObjectSettings(of)), execution)
    with file.open(newline="", encoding="utf-8") as opened:
        return made, list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory, smooth: Any) -> Path:
    """Two float images of two bands, with pixels that do not count. Not to be changed."""
    folder = tmp_path_factory.mktemp("signatures") / "in"
    folder.mkdir()
    for at, name in enumerate("ab"):
        samples = (smooth(130 + at, 170, at)[..., :2] / 7 - 9).astype(np.float32)
        samples[20:40, 30:90] = np.nan
        tifffile.imwrite(folder / f"{name}.tif", samples, photometric="minisblack", planarconfig="contig")
    return folder


def test_numpy_says_the_same_of_every_image_and_of_all(bands: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run_job(bands, store, 4, attempts=2, tile=64)
    write_classes(str(store / "model"), Classes((NamedClass("water", (0, 3)),)))
    made, rows = signed(store, tmp_path / "t.csv")
    samples = {name: tifffile.imread(bands / name).astype(float) for name in ("a.tif", "b.tif")}
    labels = {name: labels_of(store, name) for name in samples}
    groups = {"water": (0, 3), "1": (1,), "2": (2,)}
    wanted = []
    for image in ("", *samples):
        of = [name for name in samples if image in ("", name)]
        for name, clusters in groups.items():
            values = np.concatenate([samples[each][np.isin(labels[each], clusters)] for each in of])
            for band in range(2):
                own = values[:, band]
                figures = [own.mean(), own.std(), own.min(), own.max()]
                wanted.append([image, name, str(own.size), f"band_{band + 1}", *figures])
    names = ("image", "class", "pixels", "band")
    assert [[row[name] for name in names] for row in rows] == [row[:4] for row in wanted]
    found = [[float(row[name]) for name in ("mean", "std", "min", "max")] for row in rows]
    np.testing.assert_allclose(found, [row[4:] for row in wanted], rtol=1e-9)
    assert len(made.rows) == 6
    assert made.to_json()["signatures"][0]["mean"] == found[0][0]
    _, by_cluster = signed(store, tmp_path / "c.csv", of="clusters")
    assert len(by_cluster) == 3 * 4 * 2


def test_tiles_and_schedulers_change_no_byte(bands: Path, tmp_path: Path) -> None:
    for tile in (64, 200):
        run_job(bands, tmp_path / f"{tile}.zarr", 3, attempts=2, tile=tile)
    signed(tmp_path / "64.zarr", tmp_path / "64.csv")
    signed(tmp_path / "200.zarr", tmp_path / "200.csv", ExecutionSettings("threads", workers=2))
    assert (tmp_path / "64.csv").read_bytes() == (tmp_path / "200.csv").read_bytes()


def test_pixels_are_counted_where_an_image_is_gone(smooth: Any, png: Any, tmp_path: Path) -> None:
    for at, name in enumerate("ab"):
        png(tmp_path / "in" / f"{name}.png", smooth(70, 80, at))
    png(tmp_path / "in" / "nothing.png", np.zeros((5, 6, 4), np.uint8))
    run_job(tmp_path / "in", tmp_path / "s.zarr", 2, attempts=2, tile=64)
    _, whole = signed(tmp_path / "s.zarr", tmp_path / "whole.csv")
    os.unlink(tmp_path / "in/a.png")
    made, rows = signed(tmp_path / "s.zarr", tmp_path / "t.csv")
    assert list(made.without_bands) == ["a.png"]
    own = [row for row in rows if row["image"] == "a.png"]
    assert [(row["class"], row["mean"]) for row in own] == [("0", ""), ("1", "")]
    counts = np.bincount(labels_of(tmp_path / "s.zarr", "a.png").reshape(-1))
    assert [int(row["pixels"]) for row in own] == counts.tolist()
    of_b = [row | {"image": ""} for row in whole if row["image"] in ("b.png",)]
    assert [row["mean"] for row in rows if row["image"] == ""] == [row["mean"] for row in of_b]


def test_images_with_models_of_their_own_are_not_put_together(smooth: Any, png: Any, tmp_path: Path) -> None:
    for at, name in enumerate("ab"):
        png(tmp_path / "in" / f"{name}.png", smooth(70, 80, at))
    run_job(tmp_path / "in", tmp_path / "s.zarr", 3, attempts=2, tile=64, scope="image")
    made, rows = signed(tmp_path / "s.zarr", tmp_path / "t.csv")
    assert {row["image"] for row in rows} == {"a.png", "b.png"}
    assert made.rows == ()
