"""Nothing about where or in which order the work is done changes a bit of what a store holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr
from distributed import Client

from kseg_core.config import FitSettings
from workflows.fitting import fit as fitting
from workflows.planning import plan

Contents = dict[str, str]


@pytest.fixture(scope="module")
def expected(
    smooth_folder: Path, tmp_path_factory: pytest.TempPathFactory, job: Any, contents: Callable[[Path], Contents]
) -> Contents:
    """What a run in this very thread writes."""
    output = tmp_path_factory.mktemp("expected") / "out.zarr"
    assert job(smooth_folder, output).images.labelled == 8
    return contents(output)


def values(found: Contents) -> Contents:
    """The arrays' values alone."""
    return {name: digest for name, digest in found.items() if name.endswith(":values")}


def test_the_digest_of_a_store_covers_all_its_arrays_and_groups(expected: Contents) -> None:
    assert len(values(expected)) == 3 + 8 * 2  # the model's three arrays; labels and masks of each image
    assert {":attributes", "model:attributes", "images/picture-0.png:attributes"} <= expected.keys()


def test_the_digest_of_a_store_tells_one_changed_pixel(
    expected: Contents, tmp_path: Path, job: Any, contents: Any, smooth_folder: Path
) -> None:
    job(smooth_folder, tmp_path / "out.zarr")
    labels: Any = zarr.open_array(str(tmp_path / "out.zarr/images/picture-3.png/labels/kmeans/0"), mode="r+")
    labels[10, 10] = (labels[10, 10] + 1) % 4
    found = contents(tmp_path / "out.zarr")
    assert [name for name in expected if found[name] != expected[name]] == [
        "images/picture-3.png/labels/kmeans/0:values"
    ]


@pytest.mark.parametrize("workers", [1, 4, pytest.param(2, marks=pytest.mark.slow)])
def test_any_number_of_threads_gives_the_same_bits(
    workers: int, smooth_folder: Path, tmp_path: Path, job: Any, contents: Any, expected: Contents
) -> None:
    job(smooth_folder, tmp_path / "out.zarr", scheduler="threads", workers=workers)
    assert contents(tmp_path / "out.zarr") == expected


@pytest.mark.slow
def test_a_cluster_by_address_gives_the_same_bits(
    cluster: Any, smooth_folder: Path, tmp_path: Path, job: Any, contents: Any, expected: Contents
) -> None:
    job(smooth_folder, tmp_path / "out.zarr", scheduler=cluster.address)
    assert contents(tmp_path / "out.zarr") == expected


@pytest.mark.few(1)
@pytest.mark.parametrize("tile", [64, 256, 4096])
def test_tiles_of_any_size_hold_the_same_values(
    tile: int, smooth_folder: Path, tmp_path: Path, job: Any, contents: Any, expected: Contents
) -> None:
    job(smooth_folder, tmp_path / "out.zarr", tile=tile)  # `expected` has 1024
    tiled = contents(tmp_path / "out.zarr")
    assert values(tiled) == values(expected)
    layout = "images/picture-7.png/labels/kmeans/0:layout"  # 40 x 1100
    assert tiled[layout] == f"chunks (40, {min(tile, 1100)}), fill 255"
    assert tiled[layout] != expected[layout]
    # Apart from the setting itself the attributes are the same too.
    attributes = {name for name in expected if name.endswith(":attributes")} - {":attributes"}
    assert {name: tiled[name] for name in attributes} == {name: expected[name] for name in attributes}


def test_a_run_over_an_earlier_output_gives_the_same_bits_and_nothing_of_the_earlier_stays(
    small_folder: Path, smooth_folder: Path, tmp_path: Path, job: Any, contents: Any, expected: Contents
) -> None:
    output = tmp_path / "out.zarr"
    job(small_folder / "b.png", output, k=3)
    for _ in range(2):  # the second replaces what the same command made, and is no reuse
        job(smooth_folder, output, overwrite=True)
        assert contents(output) == expected


def test_a_cluster_by_scheduler_file_and_a_relative_output_give_the_same_bits(
    cluster: Any,
    smooth_folder: Path,
    tmp_path: Path,
    job: Any,
    contents: Any,
    expected: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    job(os.path.relpath(smooth_folder), Path("out.zarr"), scheduler=str(cluster.scheduler_file))
    assert values(contents(tmp_path / "out.zarr")) == values(expected)
    assert not (cluster.folder / "out.zarr").exists()


class KillOneWorker:
    """Progress that kills one of two worker processes, with no warning, as soon as a stage has got somewhere."""

    def __init__(self, client: Client, stage: str) -> None:
        client.wait_for_workers(2, timeout=60)  # one killed before is started again by its nanny
        self._pids = sorted(client.run(os.getpid).values())
        assert len(self._pids) == 2
        self._wanted = stage
        self._stage = ""
        self.killed = False
        self.images_before = self.images_after = 0

    def stage(self, name: str, images: int, pixels: int) -> None:
        self._stage = name
        if name == self._wanted and not images:  # a stage that never tells how far it is
            self._kill()

    def advance(self, images: int, pixels: int) -> None:
        if self._stage != self._wanted:
            return
        if self.killed:
            self.images_after += images
        else:
            self.images_before += images
            self._kill()

    def _kill(self) -> None:
        os.kill(self._pids[0], signal.SIGKILL)
        self.killed = True


@pytest.fixture(scope="module")
def many_pictures(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """Enough work for a worker to die in the middle of it."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    for index in range(24):
        png(folder / f"{index:02d}.png", smooth(120, 160, index))
    return folder


@pytest.fixture(scope="module")
def expected_of_many(
    many_pictures: Path, tmp_path_factory: pytest.TempPathFactory, job: Any, contents: Callable[[Path], Contents]
) -> Contents:
    output = tmp_path_factory.mktemp("expected") / "out.zarr"
    job(many_pictures, output)
    return contents(output)


@pytest.mark.slow
@pytest.mark.few(1)
@pytest.mark.parametrize(
    "stage", ["reading colours", "finding centroids", pytest.param("labelling", marks=pytest.mark.slow)]
)
def test_a_worker_killed_in_the_middle_of_a_run_changes_no_bit(
    stage: str, cluster: Any, many_pictures: Path, tmp_path: Path, job: Any, contents: Any, expected_of_many: Contents
) -> None:
    with Client(cluster.address, timeout=60, set_as_default=False) as client:
        killer = KillOneWorker(client, stage)
    result = job(many_pictures, tmp_path / "out.zarr", scheduler=cluster.address, progress=killer)
    assert killer.killed
    if stage != "finding centroids":
        assert 0 < killer.images_before < 24
        assert killer.images_before + killer.images_after == 24
    assert result.images.labelled == 24
    assert contents(tmp_path / "out.zarr") == expected_of_many


def test_inputs_listed_in_another_order_give_the_same_bits(
    smooth_folder: Path, tmp_path: Path, job: Any, contents: Any
) -> None:
    files = sorted(smooth_folder.iterdir())
    job(files, tmp_path / "one.zarr")
    job([files[i] for i in (5, 0, 7, 2, 1, 6, 4, 3)], tmp_path / "two.zarr")
    assert contents(tmp_path / "one.zarr") == contents(tmp_path / "two.zarr")


@pytest.fixture(params=["smooth", "flat"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(f"{request.param}_folder")
    return found


@pytest.mark.few(3)
@pytest.mark.parametrize("features", ["rgb", "gray", "hsv", "lab"])
def test_a_table_in_many_shards_gives_the_same_bits_as_in_one(
    features: str, folder: Path, tmp_path: Path, job: Any, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitting.table_on_workers
    used: list[int] = []

    def in_shards(summary: Any, settings: FitSettings, executor: Any, **more: Any) -> Any:
        used.append(rows)
        return whole(summary, settings, executor, shard_rows=rows, **more)

    monkeypatch.setattr(fitting, "table_on_workers", in_shards)
    found = []
    for rows in (1 << 22, 5000 if folder.parent.name.startswith("smooth") else 2):
        output = tmp_path / f"{rows}.zarr"
        job(folder, output, k=3, features=features, batch_pixels=3000)
        found.append(contents(output))
    assert len(set(used)) == 2
    assert found[0] == found[1]


@pytest.mark.few(1)
@pytest.mark.parametrize(("px", "images"), [(1, 64), (8_000_000, 1), (20_000, 3)])
def test_bundles_of_any_size_give_the_same_bits(
    px: int,
    images: int,
    smooth_folder: Path,
    tmp_path: Path,
    job: Any,
    contents: Any,
    expected: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "BUNDLE_PX", px)
    monkeypatch.setattr(plan, "BUNDLE_IMAGES", images)
    monkeypatch.setattr(plan, "HEADERS_PER_TASK", images)
    job(smooth_folder, tmp_path / "out.zarr")
    assert contents(tmp_path / "out.zarr") == expected


def test_failures_are_told_in_one_order_whatever_the_bundles(
    many_pictures: Path, tmp_path: Path, job: Any, contents: Any, monkeypatch: pytest.MonkeyPatch, png: Any, smooth: Any
) -> None:
    folder = tmp_path / "in"
    for index, path in enumerate(sorted(many_pictures.iterdir())[:12]):
        whole = png(folder / path.name, smooth(20 + 5 * index, 30, index))
        if index % 3 == 0:
            whole.write_bytes(whole.read_bytes()[:-30])
    found = []
    for workers, images in ((1, 64), (2, 1), (4, 5)):
        monkeypatch.setattr(plan, "BUNDLE_IMAGES", images)
        result = job(folder, tmp_path / f"{workers}.zarr", scheduler="threads", workers=workers)
        assert [Path(failure.source).name for failure in result.failures] == ["00.png", "03.png", "06.png", "09.png"]
        found.append(contents(tmp_path / f"{workers}.zarr"))
    assert found[0] == found[1] == found[2]


def test_the_first_batch_of_a_picture_does_not_depend_on_its_bundle(
    smooth_folder: Path, tmp_path: Path, job: Any, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(smooth_folder, tmp_path / "one.zarr", batch_pixels=500)
    monkeypatch.setattr(plan, "BUNDLE_IMAGES", 1)
    job(smooth_folder, tmp_path / "two.zarr", batch_pixels=500)
    assert contents(tmp_path / "one.zarr") == contents(tmp_path / "two.zarr")


@pytest.mark.parametrize("scope", ["global", "image"])
def test_ties_are_broken_alike_wherever_the_work_is_done(
    scope: str, flat_folder: Path, tmp_path: Path, job: Any, contents: Any, cluster: Any
) -> None:
    job(flat_folder, tmp_path / "sync.zarr", k=3, scope=scope)
    job(flat_folder, tmp_path / "threads.zarr", k=3, scope=scope, scheduler="threads", workers=3)
    job(flat_folder, tmp_path / "cluster.zarr", k=3, scope=scope, scheduler=cluster.address)
    found = [contents(tmp_path / f"{name}.zarr") for name in ("sync", "threads", "cluster")]
    assert found[0] == found[1] == found[2]
