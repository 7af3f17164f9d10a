"""From an image of a store to its file: found wherever it is, and only if it is still the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kseg_core import open_store
from kseg_core.config import ExecutionSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import UnreadableImage
from kseg_core.images.validity import Nodata
from kseg_core.inputs.keys import printable_source
from kseg_core.reading.sources import ImageSource
from kseg_core.store.model import Model
from kseg_core.store.opening import Store
from kseg_core.store.originals import Originals, ShownPixels, open_shown, paths_printed_as
from workflows import run as jobs
from workflows.check import check_store
from workflows.request import InputSelection, prepare

RunJob = Callable[..., Any]

HOSTILE = [b"leaf.png", b"a%FFb.png", b"\xff.png", b"%FF\xfe.png", "blätter 1.PNG".encode(), b"x%zz\xe9/d\xff/%41.png"]


def open_original(store: Store, key: str, *, masked: bool = True) -> ImageSource:
    return Originals.of(store.attributes).open(store[key], masked=masked)


def open_pixels(store: Store, key: str) -> AbstractContextManager[ShownPixels]:
    return open_shown(store[key], Originals.of(store.attributes), Model.load(store.path).bands)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder whose own name cannot be decoded."""
    folder = os.fsencode(tmp_path) + b"/here\xe9"
    os.mkdir(folder)
    monkeypatch.chdir(os.fsdecode(folder))
    return Path(os.fsdecode(folder))


def save(name: bytes, gray: int) -> None:
    os.makedirs(os.path.dirname(name) or b".", exist_ok=True)
    with open(name, "wb") as file:
        Image.fromarray(np.full((3, 5 + gray, 3), gray, np.uint8)).save(file, "PNG")


@pytest.mark.parametrize("inputs", [("in",), ("in", "other"), ("ABSOLUTE",)])
def test_every_source_is_found_again_whatever_bytes_are_in_its_name(
    inputs: tuple[str, ...], here: Path, tmp_path: Path, job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gray, name in enumerate(HOSTILE):
        save(b"in/" + name, gray)
    save(b"other/one.png", 99)
    given = tuple(str(here / "in") if name == "ABSOLUTE" else name for name in inputs)
    job(given, tmp_path / "out.zarr", k=2)
    monkeypatch.chdir("/")
    store = open_store(str(tmp_path / "out.zarr"))
    assert len(store) == len(HOSTILE) + (len(inputs) > 1)
    found = set()
    for key in store:
        source = open_original(store, key)
        with open_pixels(store, key) as pixels:
            gray = int(pixels.read(slice(0, 1), slice(0, 1))[0, 0, 0])
        assert (source.shape, source.file.key) == ((3, 5 + gray), key)
        name = b"other/one.png" if gray == 99 else b"in/" + HOSTILE[gray]
        assert os.path.samefile(source.file.path, here / os.fsdecode(name))
        found.add(gray)
    assert len(found) == len(store)
    checked = check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))
    assert (checked["status"], checked["compared"]) == ("ok", len(store))


def test_two_files_whose_names_are_printed_alike_are_told_apart(here: Path, tmp_path: Path, job: RunJob) -> None:
    save(b"in/%FF.png", 1)
    save(b"in/\xff.png", 1)  # of the same size
    for name in (b"in/%FF.png", b"in/\xff.png"):
        os.utime(name, ns=(7, 7))
    job("in", tmp_path / "out.zarr", k=1)
    store = open_store(str(tmp_path / "out.zarr"))
    names = {os.fsencode(open_original(store, key).file.below): key for key in store}
    assert set(names) == {b"%FF.png", b"\xff.png"}
    assert {store[key].source for key in store} == {"in/%FF.png"}


@given(
    st.binary(min_size=1, max_size=12).filter(lambda name: not set(b"/\0") & set(name) and name not in (b".", b".."))
)
def test_what_a_name_is_printed_as_leads_back_to_it(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    folder = tmp_path_factory.mktemp("names")
    path = os.path.join(str(folder), os.fsdecode(name))
    Path(path).touch()
    assert list(paths_printed_as(printable_source(path))) == [path]
    shutil.rmtree(folder)


@pytest.mark.parametrize("change", ["gone", "touched", "longer"])
def test_a_source_that_is_not_what_it_was_is_refused_in_one_line(
    change: str, tmp_path: Path, small_folder: Path, job: RunJob
) -> None:
    shutil.copytree(small_folder, tmp_path / "in")
    job(tmp_path / "in", tmp_path / "out.zarr", k=2)
    file, store = tmp_path / "in" / "a.png", open_store(str(tmp_path / "out.zarr"))
    status = file.stat()
    if change == "gone":
        file.unlink()
    elif change == "touched":
        os.utime(file, ns=(5, 5))
    else:
        file.write_bytes(file.read_bytes() + b"x")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UnreadableImage) as error:
        open_original(store, "a.png")
    assert error.value.source == str(file)
    expected = "is not there any more" if change == "gone" else "changed since it was labelled"
    assert expected in error.value.reason
    assert open_original(store, "b.png").shape == (40, 51)


# ------------------------------------------------------------------------------------ the run's input settings


def masked_store(tmp_path: Path, mask: str, monkeypatch: pytest.MonkeyPatch, nodata: str = "auto") -> Any:
    """A store of in/sub/a.png made with a mask, both named relative to where it was made."""
    monkeypatch.chdir(tmp_path)
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    mask_of = np.zeros((4, 4), np.uint8)
    mask_of[:2] = 255
    for path, array in (("in/sub/a.png", picture), ("masks/sub/a.png", mask_of), ("one.png", mask_of)):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        Image.fromarray(array).save(path)
        os.utime(path, (1e9, 1e9))
    config = RunConfig(jobs_fit(), OutputSettings(), input=InputSettings(nodata, mask))
    jobs.run(prepare(InputSelection(("in",)), config, "out.zarr", "store"))
    monkeypatch.chdir("/")
    return open_store(str(tmp_path / "out.zarr"))


def jobs_fit() -> Any:
    from kseg_core.config import FitSettings

    return FitSettings(2, attempts=1)


@pytest.mark.parametrize("mask", ["masks", "one.png"])
def test_the_mask_of_the_run_is_found_again(mask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = masked_store(tmp_path, mask, monkeypatch)
    (key,) = store
    (piece,) = open_original(store, key).pieces(64)
    valid = piece.read().valid
    assert valid is not None
    assert valid.tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    (piece,) = open_original(store, key, masked=False).pieces(64)
    assert piece.read().valid is None


@pytest.mark.parametrize("change", ["gone", "younger"])
def test_a_mask_that_is_not_what_it_was_is_refused_unless_it_is_not_needed(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = masked_store(tmp_path, "masks", monkeypatch)
    (key,) = store
    if change == "gone":
        (tmp_path / "masks" / "sub" / "a.png").unlink()
    else:
        os.utime(tmp_path / "masks" / "sub" / "a.png", (4e9, 4e9))
    with pytest.raises(UnreadableImage, match="mask") as error:
        open_original(store, key)
    assert error.value.source == "in/sub/a.png"
    assert open_original(store, key, masked=False).shape == (4, 4)


def test_the_nodata_of_the_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = masked_store(tmp_path, "one.png", monkeypatch, nodata="7")
    assert open_original(store, *store).nodata == Nodata((7,))


def test_originals_of_a_store_without_settings_are_looked_for_as_by_default() -> None:
    assert Originals.of({}) == Originals("", InputSettings(validity=1))


# ------------------------------------------------------------------------------------------- pixels as shown


def test_a_copy_in_the_store_is_shown_when_the_source_has_gone(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    config = RunConfig(jobs_fit(), OutputSettings(tile=64, copy_image=True))
    jobs.run(prepare(InputSelection((str(tmp_path / "a.png"),)), config, str(tmp_path / "out.zarr"), "store"))
    (tmp_path / "a.png").unlink()
    with open_pixels(open_store(str(tmp_path / "out.zarr")), "a.png") as pixels:
        assert pixels.shape == (70, 90)
        assert (pixels.read(slice(3, 69), slice(10, 90)) == picture[3:69, 10:90]).all()


@pytest.mark.parametrize("copied", [True, False])
def test_bands_are_shown_as_their_clusters_are_coloured(copied: bool, tmp_path: Path) -> None:
    import tifffile

    from kseg_core.config import FitSettings

    samples = np.zeros((4, 40, 40), np.uint16)
    samples[:, :, 20:] = np.array([1000, 3000, 2000, 9])[:, None, None]
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", planarconfig="separate")
    config = RunConfig(FitSettings(2, "bands", attempts=1, bands=(4, 2, 1)), OutputSettings(copy_image=copied))
    jobs.run(prepare(InputSelection((str(tmp_path / "a.tif"),)), config, str(tmp_path / "out.zarr"), "store"))
    store = open_store(str(tmp_path / "out.zarr"))
    (key,) = store
    with open_pixels(store, key) as pixels:
        shown = pixels.read(slice(0, 40), slice(0, 40))
    assert (shown == store.model.paint(np.asarray(store[key].labels))).all()  # each pixel is its cluster's mean
    assert shown[0, 0].tolist() != shown[0, 39].tolist()
