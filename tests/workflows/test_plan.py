"""Bundles: every image in one of them, none larger than need be, and never dependent on the order of inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg_core.config import ExecutionSettings
from kseg_core.errors import UnreadableImage
from kseg_core.inputs import InputFile, list_inputs
from kseg_core.sources import ImageSource
from workflows import plan
from workflows.executor import open_executor
from workflows.plan import BUNDLE_IMAGES, BUNDLE_PX, bundle_images, look_at_headers
from workflows.progress import Silent

sizes = st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 9000)), min_size=1, max_size=300)


def sources_of(shapes: list[tuple[int, int]]) -> list[ImageSource]:
    return [
        ImageSource(InputFile(f"/p/{i}", f"p/{i}", f"{i:04d}", 1, 1), (height, width))
        for i, (height, width) in enumerate(shapes)
    ]


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 64))
def test_every_image_is_in_one_bundle(shapes: list[tuple[int, int]], workers: int) -> None:
    sources = sources_of(shapes)
    bundled = [source for bundle in bundle_images(sources, workers) for source in bundle]
    assert sorted(bundled, key=lambda source: source.file.key) == sources


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 64))
def test_a_bundle_of_several_images_is_bounded(shapes: list[tuple[int, int]], workers: int) -> None:
    for bundle in bundle_images(sources_of(shapes), workers):
        assert 1 <= len(bundle) <= BUNDLE_IMAGES
        assert len(bundle) == 1 or sum(source.pixels for source in bundle) <= BUNDLE_PX


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 64))
def test_the_largest_bundle_comes_first_so_that_none_is_waited_for_alone(
    shapes: list[tuple[int, int]], workers: int
) -> None:
    pixels = [sum(source.pixels for source in bundle) for bundle in bundle_images(sources_of(shapes), workers)]
    assert pixels == sorted(pixels, reverse=True)


def test_many_tiny_images_share_a_task() -> None:
    assert len(bundle_images(sources_of([(10, 10)] * 640), workers=1)) <= 640 / 16


def test_there_is_work_for_every_worker() -> None:
    assert len(bundle_images(sources_of([(100, 100)] * 64), workers=8)) >= 8


def test_the_order_in_which_inputs_are_named_changes_no_bundle(small_folder: Path) -> None:
    files = [str(path) for path in sorted(small_folder.iterdir())]
    with open_executor(ExecutionSettings("sync")) as executor:
        bundles = [
            bundle_images(look_at_headers(list_inputs(order).files, executor, Silent(), strict=False)[0], 2)
            for order in (files, files[::-1], files + files)
        ]
    assert bundles[0] == bundles[1] == bundles[2]


@pytest.fixture
def mixed(tmp_path: Path, small_folder: Path) -> Path:
    """Two good pictures, and two files that are none."""
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes((small_folder / name).read_bytes())
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "d.png").write_bytes(b"no picture")
    return tmp_path


def test_headers_tell_images_from_other_files_in_the_order_given(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "HEADERS_PER_TASK", 3)
    with open_executor(ExecutionSettings("sync")) as executor:
        sources, failures = look_at_headers(list_inputs([str(mixed)]).files, executor, Silent(), strict=False)
    assert [source.file.key for source in sources] == ["a.png", "c.png"]
    assert [source.shape for source in sources] == [(40, 50), (40, 52)]
    assert [(failure.key, failure.error.reason) for failure in failures] == [
        ("b.png", "empty file"),
        ("d.png", "not an image (text)"),
    ]


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_strict_headers_stop_at_the_first_file_that_is_no_image(mixed: Path, scheduler: Any) -> None:
    files = list_inputs([str(mixed)]).files
    with open_executor(ExecutionSettings(scheduler)) as executor, pytest.raises(UnreadableImage) as caught:
        look_at_headers(files, executor, Silent(), strict=True)
    assert caught.value.source.endswith("b.png")
