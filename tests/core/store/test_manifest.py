"""What a store says of itself, and that nothing else is ever deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.errors import StoreError
from kseg_core.store.manifest import differences, inputs_digest, read_attributes, remove_kseg_store
from kseg_core.store.model import Model
from kseg_core.store.opening import create_store


def folder_with(path: Path, content: bytes) -> Path:
    path.mkdir()
    (path / "zarr.json").write_bytes(content)
    return path


def test_attributes_are_those_written_and_none_where_the_document_is_not_ours(tmp_path: Path) -> None:
    create_store(str(tmp_path / "s.zarr"), {"config": {"a": [1, None]}})
    attributes = read_attributes(tmp_path / "s.zarr") or {}
    wanted = {"config": {"a": [1, None]}, "format": 1, "kind": "store", "status": "running"}
    assert attributes.items() >= wanted.items()
    (tmp_path / "file").write_text("{}")
    others = [
        *(
            b"{}",
            b"[]",
            b"null",
            b"3",
            b'"kseg"',
            b'{"attributes": null}',
            b'{"attributes": []}',
            b'{"attributes": {}}',
        ),
        *(b'{"attributes": {"kseg": null}}', b'{"attributes": {"kseg": "yes"}}', b'{"kseg": {"kind": "store"}}'),
        b'{"attributes": {"ome": {"version": "0.5"}}}',
    ]
    places = [folder_with(tmp_path / str(at), content) for at, content in enumerate(others)]
    for place in (*places, tmp_path / "missing", tmp_path, tmp_path / "file"):
        assert read_attributes(place) is None, place


@pytest.mark.parametrize(
    "text", [b"", b"{", b"not json", b"\xff\xfe\x00", b'{"attributes": {"kseg": {', b"[" * 100_000, None]
)
def test_metadata_that_cannot_be_read_is_an_error_that_names_the_path(tmp_path: Path, text: bytes | None) -> None:
    path = folder_with(tmp_path / "a", text or b"")
    if text is None:
        (path / "zarr.json").unlink()
        (path / "zarr.json").mkdir()
    with pytest.raises(StoreError) as caught:
        read_attributes(path)
    assert str(caught.value).startswith(f"{path}: its zarr.json cannot be read (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("earlier", "now", "texts"),
    [
        ({}, {}, []),
        ({"k": 5}, {"k": 5}, []),
        ({"k": 5}, {"k": 6}, ["--k 5 → 6"]),
        ({"b": 1, "a": "x"}, {"b": 2, "a": None}, ["--a x → not given", "--b 1 → 2"]),
        ({"k": 5}, {}, ["--k 5 → not given"]),
        ({}, {"start": ["#000000"]}, ["--start not given → #000000"]),
        ({"fit": {"k": 5, "seed": 0}, "model": None}, {"fit": {"k": 6, "seed": 0}, "model": None}, ["--k 5 → 6"]),
        ({"fit": {"k": 5}, "m": None}, {"fit": None, "m": "x"}, ["--fit --k 5 → not given", "--m not given → x"]),
        ({"masks": None}, {"masks": False}, ["--masks not given → off"]),
        ({}, {"copy_image": False, "start": (), "nodata": "auto", "seed": 0}, []),
        ({"seed": 0, "bands": []}, {}, []),
        ({}, {"seed": 3}, ["--seed 0 → 3"]),
        ({"copy_image": False}, {"copy_image": True}, ["--copy-image off → on"]),
        ({"bands": [1, 2]}, {"bands": []}, ["--bands 1,2 → not given"]),
        ({"k_range": [1, 10]}, {"k_range": (2, 5)}, ["--k-range 1:10 → 2:5"]),
        ({"edges": [40.0, 100.5]}, {"edges": None}, ["--edges 40,100.5 → not given"]),
        ({"tol": 1e-06}, {"tol": 0.5}, ["--tol 1e-06 → 0.5"]),
    ],
)
def test_differences_are_told_as_they_are_typed(earlier: dict[str, Any], now: dict[str, Any], texts: list[str]) -> None:
    assert differences(earlier, now) == texts


def test_the_digest_of_inputs_sees_every_change_and_no_order() -> None:
    files = [("a.png", 10, 1), ("b.png", 10, 1), ("c.png", 7, 2)]
    assert inputs_digest(files) == inputs_digest(reversed(files)) == inputs_digest(iter(files))
    one = ("a", 1, 2)
    variants: list[list[tuple[str | int, ...]]] = [[], [one], [("b", 1, 2)], [("a", 2, 2)], [("a", 1, 3)], [one, one]]
    variants += [[one, ("b", 1, 2)], [('a", 1, 2]\n["b', 1, 2)], [("a", 12, 2)], [("a1", 1, 2)]]
    assert len({inputs_digest(each) for each in variants}) == len(variants)


# --------------------------------------------------------------------------------------------- removal


def contents(folder: Path) -> list[tuple[str, bytes | None]]:
    return sorted((str(p.relative_to(folder)), p.read_bytes() if p.is_file() else None) for p in folder.rglob("*"))


def test_stores_and_models_are_removed_whole_and_nothing_beside_them_or_behind_their_links(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_bytes(b"pixels")
    before = contents(tmp_path)
    create_store(str(tmp_path / "s.zarr"), {})
    (tmp_path / "s.zarr" / "images" / "link").symlink_to(tmp_path / "precious")
    Model("gray", np.array([[1.5]]), np.array([[1, 1, 1]], np.uint8), np.array([3]), 0.0).save(str(tmp_path / "m.zarr"))
    assert len(contents(tmp_path)) > len(before)
    for name in ("s.zarr", "m.zarr", "missing"):
        remove_kseg_store(str(tmp_path / name))
    assert contents(tmp_path) == before


def photographs(path: Path) -> None:
    path.mkdir()
    (path / "photo.jpg").write_bytes(b"pixels")


def link_to_a_store(path: Path) -> None:
    create_store(str(path.parent / "real.zarr"), {})
    path.symlink_to(path.parent / "real.zarr")


OF_AN_IMAGE = json.dumps({"attributes": {"kseg": {"source": "a.png", "status": "complete"}}}).encode()
FOREIGN: dict[str, Callable[[Path], Any]] = {
    "folder of photographs": photographs,
    "empty folder": Path.mkdir,
    "file": lambda path: path.write_bytes(b"text"),
    "another program's zarr": lambda path: folder_with(path, b'{"zarr_format": 3, "attributes": {"ome": {}}}'),
    "damaged zarr": lambda path: folder_with(path, b"{"),
    "image of a store": lambda path: folder_with(path, OF_AN_IMAGE),
    "dangling link": lambda path: path.symlink_to(path.parent / "nowhere"),
    "link to a store": link_to_a_store,
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_anything_else_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "thing"
    make(path)
    before = contents(tmp_path)
    for name in (str(path), f"{path}/", f"{path}//"):
        with pytest.raises(StoreError) as caught:
            remove_kseg_store(name)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert os.path.lexists(path)
    assert contents(tmp_path) == before
