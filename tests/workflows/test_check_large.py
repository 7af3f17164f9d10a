"""A large image is verified by windows, in as many tasks; what is found is what one task finds that looks at all."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from kseg_core.config import ExecutionSettings
from kseg_core.store.model import Model
from kseg_core.store.opening import open_store
from kseg_core.store.originals import Originals
from kseg_core.store.tally import Tally, image_windows
from kseg_core.store.verify import ImageCheck
from tests.asking import run_job
from tests.conftest import in_parts
from workflows.check import check_store
from workflows.repair import repair_store
from workflows.viewing.verify import output_settings

KEY = "large.tif"
SHAPE = (200, 270)
THREADS = ExecutionSettings("threads", 2)


@pytest.fixture(scope="module", autouse=True)
def pieces() -> Iterator[None]:
    """Of 128 pixels, as the source is labelled and compared."""
    with pytest.MonkeyPatch.context() as patch:
        in_parts(patch, piece=128)
        yield


@pytest.fixture(scope="module")
def pictures(small_folder: Path, smooth: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(small_folder, tmp_path_factory.mktemp("large") / "in"))
    tifffile.imwrite(folder / KEY, smooth(*SHAPE, 5), tile=(64, 64), photometric="rgb")
    return folder


@pytest.fixture(scope="module")
def made(pictures: Path) -> Path:
    """A store with all that a store can hold. Not to be changed."""
    layers = {"masks": True, "copy_image": True, "confidence": True, "edges": (50.0, 100.0)}
    run_job(pictures, pictures.parent / "made.zarr", 3, attempts=1, tile=64, **layers)
    return pictures.parent / "made.zarr"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out.zarr"))


# ------------------------------------------------------------------------------------------------------- damage


def image(store: Path) -> Any:
    return zarr.open_group(str(store), path=f"images/{KEY}", mode="r+")


def add_one(name: str, *places: tuple[Any, ...]) -> Callable[[Path], None]:
    """Change values of an array, in several windows."""

    def apply(store: Path) -> None:
        array = image(store)[name]
        for place in places:
            array[place] = ~np.asarray(array[place]) if array.dtype == bool else np.asarray(array[place]) ^ 1

    return apply


def without(*names: str) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        for name in names:
            path = store / "images" / KEY / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def flip(name: str) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        path = store / "images" / KEY / name
        content = bytearray(path.read_bytes())
        content[-6] ^= 1
        path.write_bytes(content)

    return apply


def say(**facts: Any) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        path = store / "images" / KEY / "zarr.json"
        document = json.loads(path.read_text())
        document["attributes"]["kseg"] |= facts
        path.write_text(json.dumps(document))

    return apply


def both(*damages: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        for damage in damages:
            damage(store)

    return apply


def break_document(name: str) -> Callable[[Path], None]:
    def apply(store: Path) -> None:
        (store / "images" / KEY / name).write_text("{")

    return apply


def nothing(store: Path) -> None:
    pass


LABELS = "labels/kmeans"
CORNERS: tuple[tuple[Any, ...], ...] = ((0, 0), (150, 17), (199, 269), (100, slice(250, 260)))
PLACES = tuple((2, *corner) for corner in CORNERS)  # of an array of planes

DAMAGES: dict[str, tuple[Callable[[Path], None], int]] = {  # and how many problems there are
    "nothing": (nothing, 0),
    "labels": (add_one(f"{LABELS}/0", *CORNERS), 4),
    "masks": (add_one("masks", *PLACES), 1),
    "confidence": (add_one("confidence", *CORNERS), 1),
    "a level": (add_one(f"{LABELS}/1", (0, 0), (99, 134), (40, 70)), 1),
    "the third level": (add_one(f"{LABELS}/3", (0, 0), (24, 33)), 1),
    "the copy": (add_one("0", *PLACES), 2),
    "a level of the copy": (add_one("2", (0, 0, 0), (1, 49, 67)), 2),
    "edges": (add_one("edges", (5, 5), (100, 100), (180, 250)), 1),
    "tiles": (without(f"{LABELS}/0/c/0/3", f"{LABELS}/0/c/2/2", f"{LABELS}/0/c/3/4"), 6),
    "tiles of a level": (without(f"{LABELS}/1/c/1/2", "1/c/0/0/0"), 4),
    "a chunk": (flip(f"{LABELS}/0/c/2/2"), 1),
    "a chunk of edges, and of masks": (both(flip("edges/c/2/3"), flip("masks/c/0/0/0")), 1),
    "a chunk of a level": (flip(f"{LABELS}/2/c/0/1"), 1),
    "a chunk of the copy": (flip("0/c/1/3/0"), 1),
    "a level's array": (without(f"{LABELS}/3"), 1),
    "a level's document": (break_document("2/zarr.json"), 1),
    "its figures": (say(counts=[1, 2, 3]), 3),
    "its status": (say(status="damaged"), 1),
    "its shape": (say(shape=[10**9, 10**9]), 2),
    "its masks": (without("masks"), 1),
    "its labels": (without("labels"), 1),
    "its document": (without("zarr.json"), 1),
}
SEVERAL = ("labels", "masks", "confidence", "a level", "the third level", "a level of the copy", "edges")
DAMAGES = {"several": (both(*(DAMAGES[name][0] for name in SEVERAL)), 10), **DAMAGES}


@pytest.mark.few(3)
@pytest.mark.parametrize("side", [128, 256])
@pytest.mark.parametrize(("damage", "count"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_found_by_windows_is_what_is_found_by_looking_at_all(
    damage: Callable[[Path], None], count: int, side: int, store: Path, parts: Any
) -> None:
    damage(store)
    parts(window=512)
    whole = check_store(str(store), ExecutionSettings("sync"))
    found = whole["problems"]
    assert len(found) == count, found
    parts(window=side)
    assert check_store(str(store), THREADS) == whole


@pytest.mark.parametrize("change", ["gone", "touched"])
def test_a_source_that_was_changed_is_not_compared_by_windows_either(
    change: str, store: Path, pictures: Path, parts: Any
) -> None:
    add_one(f"{LABELS}/0", *CORNERS)(store)
    file, away = pictures / KEY, pictures.parent / "away.tif"
    before = file.stat()
    if change == "gone":
        file.rename(away)
    else:
        os.utime(file, ns=(0, 0))
    try:
        told = []
        for side in (512, 128):
            parts(window=side)
            told.append(check_store(str(store), THREADS))
    finally:
        if change == "gone":
            away.rename(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert told[0] == told[1]
    assert (told[0]["compared"], len(told[0]["problems"])) == (3, 3)


def test_windows_may_be_seen_in_any_order(store: Path, parts: Any) -> None:
    add_one(f"{LABELS}/0", *CORNERS)(store)
    flip("edges/c/2/3")(store)
    opened = open_store(str(store))
    originals, model, output = Originals.of(opened.attributes), Model.load(str(store)), output_settings(opened)
    parts(window=64)
    image = ImageCheck(str(store), KEY, originals, output)
    counted = [image.window(each, model) for each in image_windows(SHAPE)]
    assert len(counted) == 20
    expected = image.whole(model)
    assert expected.problems[0].startswith(f"{KEY}: cannot be read (")
    for seed in range(5):
        random.Random(seed).shuffle(counted)
        half = [reduce(Tally.merge, part) for part in (counted[:9], counted[9:])]
        assert image.judged(half[1].merge(half[0]), model) == expected


def test_the_windows_of_a_large_image_are_several_tasks_and_a_small_one_is_one(made: Path, parts: Any) -> None:
    parts(window=128)
    progress = Recorded()
    assert check_store(str(made), THREADS, progress)["compared"] == 4
    assert progress.told.count((0, 0)) > 1  # tasks that finish no image
    assert [each for each in progress.told if each != (0, 0)] == [("verifying", 4, 0), *[(1, 0)] * 4]


class Recorded:
    """All that a job says of its progress."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def stage(self, name: str, images: int, pixels: int) -> None:
        self.told.append((name, images, pixels))

    def advance(self, images: int, pixels: int) -> None:
        self.told.append((images, pixels))


def test_what_was_found_by_windows_is_mended(store: Path, made: Path, parts: Any, contents: Any) -> None:
    parts(window=128)
    add_one(f"{LABELS}/0", *CORNERS)(store)
    flip("edges/c/2/3")(store)
    assert repair_store(str(store), THREADS)["repaired"] == [KEY]
    assert contents(store) == contents(made)
