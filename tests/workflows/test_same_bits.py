"""Nothing about where or in which order the work is done changes a bit of what a store holds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import zarr
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from kseg_core import open_store
from kseg_core.config import FitSettings
from tests.asking import run_job
from tests.conftest import Contents, store_contents
from tests.progress import killing_a_worker
from workflows.fitting import fit as fitting
from workflows.planning import plan

SIZES = ((90, 160), (97, 70), (60, 90), (33, 100), (1, 130), (70, 1100))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> list[Path]:
    """Pictures above and below tiles of 64, of 256 and of 1024. Not to be changed."""
    folder = tmp_path_factory.mktemp("bits") / "in"
    return [png(folder / f"{seed}.png", smooth(*size, seed)) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def made(pictures: list[Path]) -> Path:
    """A run in this very thread. Not to be changed."""
    output = pictures[0].parent.parent / "made.zarr"
    assert run_job(pictures, output, batch_pixels=3000).images.labelled == 6
    return output


@pytest.fixture(scope="module")
def expected(made: Path) -> Contents:
    return store_contents(made)


def values(found: Contents) -> Contents:
    """The arrays' values alone."""
    return {name: digest for name, digest in found.items() if name.endswith(":values")}


def test_the_digest_of_a_store_covers_all_its_arrays_and_tells_one_changed_pixel(
    made: Path, expected: Contents, tmp_path: Path
) -> None:
    assert len(values(expected)) == 3 + 6 * 2  # the model's three arrays; labels and masks of each image
    key = list(open_store(str(made)))[3]
    assert {":attributes", "model:attributes", f"images/{key}:attributes"} <= expected.keys()
    shutil.copytree(made, tmp_path / "out.zarr")
    labels: Any = zarr.open_array(str(tmp_path / f"out.zarr/images/{key}/labels/kmeans/0"), mode="r+")
    labels[10, 10] = (labels[10, 10] + 1) % 4
    found = store_contents(tmp_path / "out.zarr")
    assert [name for name in expected if found[name] != expected[name]] == [f"images/{key}/labels/kmeans/0:values"]


@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(
    workers=st.sampled_from([None, 1, 2, 4, 16]),
    order=st.permutations(range(len(SIZES))),
    bundle=st.sampled_from([(1, 64), (8_000_000, 1), (9_000, 3)]),
)
@example(workers=4, order=range(6), bundle=(8_000_000, 64))
def test_threads_bundles_and_the_order_of_inputs_change_no_bit_and_nothing_of_an_earlier_output_stays(
    workers: int | None,
    order: Sequence[int],
    bundle: tuple[int, int],
    pictures: list[Path],
    tmp_path: Path,
    expected: Contents,
) -> None:
    """``workers`` None: this thread. Each replaces what the one before made, the first that of other settings."""
    output = tmp_path / "out.zarr"
    where: dict[str, Any] = {} if workers is None else {"scheduler": "threads", "workers": workers}
    if not output.exists():
        run_job(pictures[1], output, k=3, attempts=1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("BUNDLE_PX", "BUNDLE_IMAGES", "HEADERS_PER_TASK"), (*bundle, bundle[1]), strict=True):
            patch.setattr(plan, name, value)
        run_job([pictures[at] for at in order], output, batch_pixels=3000, overwrite=True, **where)
    assert store_contents(output) == expected


@pytest.mark.few(1)
@pytest.mark.parametrize("tile", [64, 256, 4096])
def test_tiles_of_any_size_hold_the_same_values(
    tile: int, pictures: list[Path], tmp_path: Path, expected: Contents
) -> None:
    run_job(pictures, tmp_path / "out.zarr", batch_pixels=3000, tile=tile)  # `expected` has 1024
    tiled = store_contents(tmp_path / "out.zarr")
    assert values(tiled) == values(expected)
    layout = f"images/{list(open_store(str(tmp_path / 'out.zarr')))[5]}/labels/kmeans/0:layout"  # 70 x 1100
    assert tiled[layout] == f"chunks ({min(tile, 70)}, {min(tile, 1100)}), fill 255"
    assert tiled[layout] != expected[layout]
    # Apart from the setting itself the attributes are the same too.
    attributes = {name for name in expected if name.endswith(":attributes")} - {":attributes"}
    assert {name: tiled[name] for name in attributes} == {name: expected[name] for name in attributes}


def test_failures_are_told_in_one_order_whatever_the_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, png: Any, smooth: Any
) -> None:
    for index in range(12):
        whole = png(tmp_path / f"in/{index:02d}.png", smooth(20 + 5 * index, 30, index))
        if index % 3 == 0:
            whole.write_bytes(whole.read_bytes()[:-30])
    found = []
    for workers, images in ((1, 64), (2, 1), (4, 5)):
        monkeypatch.setattr(plan, "BUNDLE_IMAGES", images)
        how: dict[str, Any] = {"scheduler": "threads", "workers": workers, "attempts": 1}
        result = run_job(tmp_path / "in", tmp_path / f"{workers}.zarr", 2, **how)
        assert [Path(failure.source).name for failure in result.failures] == ["00.png", "03.png", "06.png", "09.png"]
        found.append(store_contents(tmp_path / f"{workers}.zarr"))
    assert found[0] == found[1] == found[2]


@pytest.mark.few(3)
@pytest.mark.parametrize("features", ["rgb", "gray", "hsv", "lab"])
@pytest.mark.parametrize("kind", ["smooth", "flat"])
def test_a_table_in_many_shards_gives_the_same_bits_as_in_one(
    kind: str,
    features: str,
    pictures: list[Path],
    flat_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fitting.table_on_workers
    shards: list[int] = []

    def in_shards(summary: Any, settings: FitSettings, executor: Any, **more: Any) -> Any:
        data, first = whole(summary, settings, executor, shard_rows=rows, **more)
        shards.append(len(data.shards))
        return data, first

    monkeypatch.setattr(fitting, "table_on_workers", in_shards)
    found = []
    for rows in (1 << 22, 5000 if kind == "smooth" else 2):
        inputs = pictures if kind == "smooth" else flat_folder
        run_job(inputs, tmp_path / f"{rows}.zarr", k=3, features=features, batch_pixels=3000, attempts=2)
        found.append(store_contents(tmp_path / f"{rows}.zarr"))
    assert shards[0] == 1
    assert shards[1] > 1 or features == "gray"
    assert found[0] == found[1]


# ------------------------------------------------------------------------------------------------------- a cluster


@pytest.mark.parametrize("scope", ["global", "image"])
def test_ties_are_broken_alike_wherever_the_work_is_done(
    scope: str, flat_folder: Path, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And paths may be relative to here, though the workers are elsewhere."""
    monkeypatch.chdir(tmp_path)
    found = []
    for scheduler in ("sync", "threads", cluster.address, str(cluster.scheduler_file)):
        output = Path(f"{len(found)}.zarr")
        workers = 3 if scheduler == "threads" else None
        run_job(os.path.relpath(flat_folder), output, k=3, scope=scope, scheduler=scheduler, workers=workers)
        found.append(store_contents(output))
    assert found[0] == found[1] == found[2] == found[3]
    assert not list(cluster.folder.glob("*.zarr"))


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits(cluster: Any, pictures: list[Path], tmp_path: Path, expected: Contents) -> None:
    run_job(pictures, tmp_path / "out.zarr", batch_pixels=3000, scheduler=cluster.address)
    assert store_contents(tmp_path / "out.zarr") == expected


@pytest.fixture(scope="module")
def many_pictures(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> tuple[Path, Contents]:
    """Enough work for a worker to die in the middle of it, and what a run makes of it."""
    folder = tmp_path_factory.mktemp("many")
    for index in range(24):
        png(folder / f"in/{index:02d}.png", smooth(120, 160, index))
    run_job(folder / "in", folder / "out.zarr")
    return folder / "in", store_contents(folder / "out.zarr")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "after"), [("reading colours", 1), ("finding centroids", 0), ("labelling", 1)])
def test_a_worker_killed_in_the_middle_of_a_run_changes_no_bit(
    stage: str, after: int, cluster: Any, many_pictures: tuple[Path, Contents], tmp_path: Path
) -> None:
    pictures, expected = many_pictures
    killer = killing_a_worker(cluster.address, stage, after)
    result = run_job(pictures, tmp_path / "out.zarr", scheduler=cluster.address, progress=killer)
    assert killer.done
    assert killer.images["reading colours"] == killer.images["labelling"] == result.images.labelled == 24
    assert store_contents(tmp_path / "out.zarr") == expected
