"""With a model for each image every task has a table of its own: all of them are counted, and each is bounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from dask.base import tokenize
from numpy.typing import NDArray
from PIL import Image

from kseg_core.clustering.summary import BatchRule
from kseg_core.config import InputSettings, OutputSettings
from kseg_core.errors import KsegError, UnreadableImage
from kseg_core.inputs.listing import list_inputs
from kseg_core.memory import COLOR_BYTES, KNEE_BYTES, LEAST_COLORS, MOST_COLORS
from kseg_core.reading.sources import ImageSource
from kseg_core.store.opening import open_store
from tests.asking import failed, run_job, run_sweep
from workflows.computing.executor import LocalExecutor
from workflows.fitting.colours import Summarise
from workflows.planning.budget import Budget, Work, largest_of, make_budget, stages_of
from workflows.planning.plan import Plan, make_plan

GB = 10**9
ALONE = Work(5, 0, 1 << 18, OutputSettings(), alone=True)


def every_colour_once(height: int, width: int) -> NDArray[np.uint8]:
    """Pixels no two of which have the same colour."""
    codes = np.random.default_rng(0).permutation(height * width).astype(np.uint32).reshape(height, width) * 3
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small picture, and two of more colours than the least that there is room for: one whole, one in pieces."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(every_colour_once(40, 50)).save(folder / "few.png")
    Image.fromarray(every_colour_once(1400, 1400)).save(folder / "many.png", compress_level=1)
    tifffile.imwrite(folder / "pieces.tif", every_colour_once(2100, 2200), tile=(512, 512), photometric="rgb")
    return folder


def plan_of(folder: Path, *names: str) -> Plan:
    files = list_inputs([str(folder / name) for name in names]).files
    return make_plan([ImageSource.open(file, InputSettings()) for file in files], 1024, 4)


def test_each_task_has_room_for_a_table_of_its_own(pictures: Path) -> None:
    plan = plan_of(pictures, "few.png", "many.png")
    together, _, _ = make_budget(plan, replace(ALONE, alone=False), LocalExecutor("threads", 2, 8 * GB))
    each, _, _ = make_budget(plan, ALONE, LocalExecutor("threads", 2, 8 * GB))
    assert (together.tables, together.colors) == (1, 1400 * 1400 + 40 * 50)
    assert (each.tables, each.colors) == (2, 1400 * 1400)
    # As many tasks as fit with the least table each; all colours of all tables are within the limit.
    short = LocalExecutor("threads", 2, each.fixed + COLOR_BYTES * LEAST_COLORS // 2)
    budget, _, _ = make_budget(plan, ALONE, short)
    assert budget.tables == budget.threads == short.workers < 2
    assert budget.colors is not None
    assert budget.colors >= LEAST_COLORS
    stages = stages_of(largest_of(plan, budget.threads), budget.threads, plan, ALONE)
    assert stages.taking(budget.colors or 0) + budget.kept <= short.memory_bytes
    alone, _, _ = make_budget(plan, replace(ALONE, alone=False), LocalExecutor("threads", 2, short.memory_bytes))
    assert alone.threads > budget.threads


def test_an_image_in_pieces_has_the_room_of_all_tables() -> None:
    budget = Budget(4 * GB, 1, 4, GB, 3_000_000, 4)
    assert (budget.for_one_table().colors, budget.for_one_table().tables) == (12_000_000, 1)
    assert replace(budget, colors=MOST_COLORS).for_one_table().colors == MOST_COLORS
    assert replace(budget, colors=None).for_one_table().colors is None


def least_room(plan: Plan) -> int:
    """Memory in which one task has room for hardly more than the least table."""
    budget, _, _ = make_budget(plan, ALONE, LocalExecutor("threads", 1, 8 * GB))
    return budget.fixed + COLOR_BYTES * (LEAST_COLORS + 1000)


def how(pictures: Path, more: int = 0) -> dict[str, Any]:
    """A model for each image, with hardly more memory than one task needs."""
    memory = least_room(plan_of(pictures, "few.png", "many.png", "pieces.tif")) + more
    return {"scope": "image", "attempts": 1, "max_iter": 2, "workers": 1, "memory": memory, "scheduler": "threads"}


def test_images_of_more_colours_than_fit_are_named_and_the_others_go_on(pictures: Path, tmp_path: Path) -> None:
    result = run_job(pictures, tmp_path / "out.zarr", 2, **how(pictures))
    assert (result.images.labelled, result.images.failed) == (1, 2)
    assert list(failed(result)) == ["many.png", "pieces.tif"]
    for failure in result.failures:
        assert failure.reason.startswith("it has more than 1.")
        assert " million distinct colours, which " in failure.reason
        assert "give --memory" in failure.reason
    assert [key for key, image in open_store(str(tmp_path / "out.zarr")).items() if image.has_labels] == ["few.png"]


def test_with_strict_the_first_of_them_ends_the_run(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"many\.png: it has more than 1\.\d million distinct colours"):
        run_job(pictures, tmp_path / "out.zarr", 2, strict=True, **how(pictures))


def test_a_sweep_of_each_image_names_them_too(pictures: Path, tmp_path: Path) -> None:
    result = run_sweep(pictures, tmp_path / "out", (1, 2), **how(pictures, KNEE_BYTES))
    assert [swept.key for swept in result.each] == ["few.png"]
    assert [Path(failure.source).name for failure in result.failures] == ["many.png", "pieces.tif"]
    assert all(" million distinct colours" in failure.reason for failure in result.failures)


def test_with_one_model_the_task_that_finds_too_many_says_so_before_it_makes_their_table(pictures: Path) -> None:
    (piece,) = plan_of(pictures, "many.png").bundles[0]
    budget = Budget(GB, 1, 1, GB // 2, LEAST_COLORS)
    with pytest.raises(KsegError, match=r"the images have more than 1\.0 million distinct colours"):
        Summarise(BatchRule(0, 0), budget)([piece.read()])


def test_what_is_kept_with_little_memory_is_known_with_more() -> None:
    names: set[Any] = {
        tokenize(Summarise(BatchRule(3, 7), budget))
        for budget in (None, Budget(GB, 1, 1, 1, 5), Budget(GB, 2, 2, 2, 9))
    }
    assert len(names) == 1
    assert tokenize(Summarise(BatchRule(3, 8), None)) not in names
