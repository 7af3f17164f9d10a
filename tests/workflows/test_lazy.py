"""What builds a graph computes nothing; only drivers compute, and only when something is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask.delayed import Delayed

from kseg_core.clustering.labelling import label_dtype
from kseg_core.clustering.summary import BatchRule, summarise
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.images import PictureInfo
from kseg_core.inputs.listing import InputFile, list_inputs
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.model import Model
from workflows import segment
from workflows.computing.context import Context, tree_reduce
from workflows.computing.executor import LocalExecutor, Silent
from workflows.fitting.gather import gather_plan
from workflows.labelling.label_plan import label_plan
from workflows.planning.plan import Plan, make_plan


class CountingScheduler:
    """A Dask scheduler that counts how often it is asked for anything."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        self.calls += 1
        return dask.get(graph, keys, **options)


@pytest.fixture
def computed() -> Iterator[CountingScheduler]:
    """Whatever is computed with no scheduler of its own is counted here."""
    scheduler = CountingScheduler()
    with dask.config.set(scheduler=scheduler):
        yield scheduler


class Collecting(LocalExecutor):
    """An executor that computes nothing: it keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__("sync", None)
        self.asked: list[Delayed] = []

    def compute(self, lazy: Sequence[Delayed], *_: Any) -> list[Any]:
        self.asked += lazy
        return []

    def persist(self, lazy: Sequence[Delayed], *_: Any) -> list[Delayed]:
        return list(lazy)


@pytest.fixture
def plan(small_folder: Path) -> Plan:
    """Three pictures, each in a bundle of its own."""
    sources = [ImageSource.open(file, InputSettings()) for file in list_inputs([str(small_folder)]).files]
    return make_plan(sources, 1024, 1)


@pytest.fixture
def plan_in_pieces(plan: Plan) -> Plan:
    """The same and one of 10,000 x 10,000 pixels that is worked on in pieces (and does not exist)."""
    info = PictureInfo("TIFF", (10_000, 10_000), 3, "uint8", (512, 512), None)
    source = ImageSource(InputFile("/no/such.tif", "such.tif", "such.tif", 1, 1), info)
    return Plan(plan.bundles, make_plan([source], 1024, 1).large)


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Piece, *_: Any) -> Any:
        raise AssertionError(f"{self.source.file.source} was read")

    for name in ("read",):
        monkeypatch.setattr(Piece, name, read)


def model_of_two() -> Model:
    return Model(
        "rgb", np.array([[0.0, 0, 0], [255, 255, 255]]), np.array([[0] * 3, [255] * 3], np.uint8), np.ones(2, int), 0.0
    )


def summaries(plan: Plan, seed: int = 0) -> Delayed:
    digest = partial(summarise, rule=BatchRule(0, seed))
    return gather_plan(plan, Piece.read, digest, None, Context(Collecting(), Silent(), strict=True))


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize("kind", ["plan", "plan_in_pieces"])
def test_the_graph_of_summaries_is_built_without_computing(
    kind: str, request: pytest.FixtureRequest, computed: CountingScheduler
) -> None:
    lazy = summaries(request.getfixturevalue(kind))
    assert isinstance(lazy, Delayed)
    assert computed.calls == 0


@pytest.mark.parametrize("kind", ["plan", "plan_in_pieces"])
def test_the_graph_of_summaries_built_twice_has_the_same_keys(kind: str, request: pytest.FixtureRequest) -> None:
    plan = request.getfixturevalue(kind)
    first, again, other = (summaries(plan, seed) for seed in (0, 0, 1))
    assert set(first.dask) == set(again.dask)
    assert first.key == again.key
    assert first.key != other.key


@pytest.mark.usefixtures("nothing_is_read")
def test_the_tasks_that_label_are_built_without_computing_or_writing(
    plan: Plan, computed: CountingScheduler, tmp_path: Path
) -> None:
    executor = Collecting()
    label_plan(plan, model_of_two(), str(tmp_path / "out"), OutputSettings(), Context(executor, Silent(), strict=True))
    assert len(executor.asked) == len(plan.bundles) == 3
    assert computed.calls == 0
    assert list(tmp_path.iterdir()) == []


def test_a_tree_of_lazy_parts_is_built_without_computing(computed: CountingScheduler) -> None:
    parts = [dask.delayed(pytest.fail)(f"part {i} was computed") for i in range(20)]
    assert isinstance(tree_reduce(parts, "test"), Delayed)
    assert computed.calls == 0


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_segment_labels_no_file_before_a_label_array_is_computed(
    scheduler: str, small_folder: Path, computed: CountingScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(FitSettings(2, attempts=1), execution=ExecutionSettings(scheduler))
    found = segment(small_folder, config)
    read: list[str] = []
    original = Piece.read
    monkeypatch.setattr(
        Piece, "read", lambda self, *a, **more: read.append(self.source.file.key) or original(self, *a, **more)
    )
    assert {key: (lazy.shape, lazy.dtype) for key, lazy in found.labels.items()} == {
        "a.png": ((40, 50), np.uint8),
        "b.png": ((40, 51), np.uint8),
        "c.png": ((40, 52), np.uint8),
    }
    assert (computed.calls, read) == (0, [])
    found.labels["b.png"].compute()
    assert (computed.calls, read) == (1, ["b.png"])


def test_segment_with_a_model_reads_no_chunk_of_a_dask_array_before_labels_are_computed(
    computed: CountingScheduler, tmp_path: Path
) -> None:
    model_of_two().save(str(tmp_path / "model.zarr"))
    image = da.from_delayed(dask.delayed(np.zeros)((6, 8, 3), np.uint8), (6, 8, 3), np.uint8).rechunk((3, 4, 3))
    found = segment(image, RunConfig(None, model=str(tmp_path / "model.zarr")))
    labels = found.labels["image"]
    assert computed.calls == 0
    assert (labels.shape, labels.dtype, labels.chunks) == ((6, 8), label_dtype(2), ((3, 3), (4, 4)))
    np.testing.assert_array_equal(labels, np.zeros((6, 8), np.uint8))
    assert computed.calls == 1


def test_segment_reads_each_chunk_of_a_dask_array_once_for_the_fit_and_not_again_before_labels_are_computed(
    computed: CountingScheduler,
) -> None:
    made: list[tuple[int, ...]] = []

    def make(block_info: Any = None) -> Any:
        made.append(block_info[None]["chunk-location"])
        return np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)

    image = da.map_blocks(make, chunks=((4, 4, 4), (5, 5), (3,)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    found = segment(image, RunConfig(FitSettings(3, attempts=1), execution=ExecutionSettings("sync")))
    assert sorted(made) == [(i, j, 0) for i in range(3) for j in range(2)]
    assert computed.calls == 0  # the fit uses its own scheduler, and is done
    found.labels["image"].compute()
    assert (computed.calls, len(made)) == (1, 12)
