"""Bundles: every image in one of them, none larger than need be, and never dependent on the order of inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg_core.config import ExecutionSettings, InputSettings
from kseg_core.errors import UnreadableImage
from kseg_core.images import PictureInfo
from kseg_core.inputs.listing import InputFile, list_inputs
from kseg_core.reading.sources import ImageSource, Piece
from workflows.computing.context import Context, open_executor
from workflows.computing.executor import Silent
from workflows.planning import plan
from workflows.planning.plan import BUNDLE_IMAGES, BUNDLE_PX, Bundle, Plan, make_plan
from workflows.planning.plan import scan_headers as look

TILE = 1024
BY_WINDOWS = (512, 512)  # the tiles of a file that is read by windows

sizes = st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 9000)), min_size=1, max_size=300)


def sources_of(shapes: list[tuple[int, int]], block: tuple[int, int] | None = None) -> list[ImageSource]:
    """Images that are read whole unless they have blocks."""
    return [
        ImageSource(
            InputFile(f"/p/{i}", f"p/{i}", f"{i:04d}", 1, 1),
            PictureInfo("TIFF", (height, width), 3, "uint8", block, None),
        )
        for i, (height, width) in enumerate(shapes)
    ]


def bundles_of(sources: list[ImageSource], workers: int) -> tuple[Bundle, ...]:
    """The bundles of images none of which is worked on in pieces."""
    planned = make_plan(sources, TILE, workers)
    assert planned.large == ()
    return planned.bundles


def scan_headers(files: Any, executor: Any, *, strict: bool) -> Any:
    return look(files, InputSettings(), Context(executor, Silent(), strict))


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 64))
def test_every_image_is_in_one_bundle(shapes: list[tuple[int, int]], workers: int) -> None:
    sources = sources_of(shapes)
    bundled = [piece for bundle in bundles_of(sources, workers) for piece in bundle]
    assert all(piece.is_whole for piece in bundled)
    assert sorted([piece.source for piece in bundled], key=lambda source: source.file.key) == sources


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 64))
def test_a_bundle_of_several_images_is_bounded(shapes: list[tuple[int, int]], workers: int) -> None:
    for bundle in bundles_of(sources_of(shapes), workers):
        assert 1 <= len(bundle) <= BUNDLE_IMAGES
        assert len(bundle) == 1 or sum(piece.pixels for piece in bundle) <= BUNDLE_PX


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 64))
def test_the_largest_bundle_comes_first_so_that_none_is_waited_for_alone(
    shapes: list[tuple[int, int]], workers: int
) -> None:
    pixels = [sum(piece.pixels for piece in bundle) for bundle in bundles_of(sources_of(shapes), workers)]
    assert pixels == sorted(pixels, reverse=True)


def test_many_tiny_images_share_a_task() -> None:
    assert len(bundles_of(sources_of([(10, 10)] * 640), workers=1)) <= 640 / 16


def test_there_is_work_for_every_worker() -> None:
    assert len(bundles_of(sources_of([(100, 100)] * 64), workers=8)) >= 8


@settings(max_examples=40, deadline=None)
@given(sizes, st.booleans())
def test_an_image_is_in_one_bundle_or_in_pieces_that_cover_it_once(shapes: list[tuple[int, int]], tiled: bool) -> None:
    sources = sources_of(shapes, BY_WINDOWS if tiled else None)
    planned = make_plan(sources, TILE, 2)
    assert sorted(planned.sources, key=lambda source: source.file.key) == sources
    assert planned.pixels == sum(source.pixels for source in sources)
    assert all(piece.is_whole for bundle in planned.bundles for piece in bundle)
    assert [pieces[0].source for pieces in planned.large] == [source for source in sources if source.in_pieces]
    for pieces in planned.large:
        assert {piece.source for piece in pieces} == {pieces[0].source}
        assert cover_once(pieces)


@settings(max_examples=40, deadline=None)
@given(sizes, st.booleans())
def test_which_image_stands_for_all_depends_on_neither_tiles_nor_workers(
    shapes: list[tuple[int, int]], tiled: bool
) -> None:
    sources = sources_of(shapes, BY_WINDOWS if tiled else None)
    for tile, workers in ((64, 1), (TILE, 2), (4096, 16)):
        assert make_plan(sources, tile, workers).first == sources[0]


def cover_once(pieces: tuple[Piece, ...]) -> bool:
    """Whether pieces are cut along the tile grid, and no pixel of the image is in two of them or in none."""
    height, width = pieces[0].source.shape
    aligned = all(
        piece.top % TILE == piece.left % TILE == 0
        and (piece.height % TILE == 0 or piece.top + piece.height == height)
        and (piece.width % TILE == 0 or piece.left + piece.width == width)
        for piece in pieces
    )
    corners = {(piece.top, piece.left) for piece in pieces}
    return aligned and len(corners) == len(pieces) and sum(piece.pixels for piece in pieces) == height * width


def test_a_plan_without_an_image_has_all_others() -> None:
    sources = sources_of([(10, 10)] * 3) + sources_of([(3000, 3000)] * 5, BY_WINDOWS)[3:]
    planned = make_plan(sources, TILE, 1)
    assert [len(planned.bundles), len(planned.large)] == [3, 2]
    failures = [plan.Failure(key, UnreadableImage(key, "damaged")) for key in ("0001", "0003")]
    left = planned.without(failures)
    assert [source.file.key for source in left.sources] == ["0000", "0002", "0004"]
    assert left.without([plan.Failure(key, failures[0].error) for key in ("0000", "0002", "0004")]) == Plan(())


def test_the_order_in_which_inputs_are_named_changes_no_bundle(small_folder: Path) -> None:
    files = [str(path) for path in sorted(small_folder.iterdir())]
    with open_executor(ExecutionSettings("sync")) as executor:
        plans = [
            make_plan(scan_headers(list_inputs(order).files, executor, strict=False)[0], TILE, 2)
            for order in (files, files[::-1], files + files)
        ]
    assert plans[0] == plans[1] == plans[2]


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
        sources, failures = scan_headers(list_inputs([str(mixed)]).files, executor, strict=False)
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
        scan_headers(files, executor, strict=True)
    assert caught.value.source.endswith("b.png")
