"""What a store says of itself, and that nothing else is ever deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.errors import StoreError
from kseg_core.store.manifest import differences, inputs_digest, read_attributes, remove_kseg_store
from kseg_core.store.model import Model
from kseg_core.store.opening import create_store


def folder_with(path: Path, text: str | bytes) -> Path:
    path.mkdir()
    (path / "zarr.json").write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def a_model() -> Model:
    return Model("gray", np.array([[1.5]]), np.array([[1, 1, 1]], np.uint8), np.array([3]), 0.0)


# ------------------------------------------------------------------------------------------ attributes


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "null",
        "3",
        '"kseg"',
        '{"attributes": null}',
        '{"attributes": []}',
        '{"attributes": {}}',
        '{"attributes": {"kseg": null}}',
        '{"attributes": {"kseg": "yes"}}',
        '{"attributes": {"ome": {"version": "0.5"}}}',
        '{"kseg": {"kind": "store"}}',
    ],
)
def test_valid_json_that_is_not_ours_has_no_attributes(tmp_path: Path, text: str) -> None:
    assert read_attributes(folder_with(tmp_path / "a", text)) is None


@pytest.mark.parametrize("text", ["", "{", "not json", b"\xff\xfe\x00", b"\x00" * 100, '{"attributes": {"kseg": {'])
def test_metadata_that_cannot_be_read_is_an_error_that_names_the_path(tmp_path: Path, text: str | bytes) -> None:
    path = folder_with(tmp_path / "a", text)
    with pytest.raises(StoreError) as caught:
        read_attributes(path)
    assert str(caught.value).startswith(f"{path}: its zarr.json cannot be read (")
    assert "\n" not in str(caught.value)


def test_metadata_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").mkdir()
    with pytest.raises(StoreError, match=r"its zarr\.json cannot be read"):
        read_attributes(tmp_path)


def test_nothing_there_an_empty_folder_and_a_file_have_no_attributes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("{}")
    for path in (tmp_path / "missing", tmp_path, file):
        assert read_attributes(path) is None


def test_attributes_are_those_zarr_wrote(tmp_path: Path) -> None:
    path = str(tmp_path / "s.zarr")
    create_store(path, {"config": {"a": [1, None]}})
    attributes = read_attributes(path)
    assert attributes is not None
    assert attributes["config"] == {"a": [1, None]}
    assert (attributes["format"], attributes["kind"], attributes["status"]) == (1, "store", "running")


# ---------------------------------------------------------------------------------------- differences


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
        (
            {"fit": {"k": 5}, "model": None},
            {"fit": None, "model": "m"},
            ["--fit --k 5 → not given", "--model not given → m"],
        ),
        ({"masks": None}, {"masks": False}, ["--masks not given → off"]),
        ({"copy_image": False}, {"copy_image": True}, ["--copy-image off → on"]),
        ({"bands": [1, 2]}, {"bands": []}, ["--bands 1,2 → not given"]),
        ({"k_range": [1, 10]}, {"k_range": (2, 5)}, ["--k-range 1:10 → 2:5"]),
        ({"edges": [40.0, 100.5]}, {"edges": None}, ["--edges 40,100.5 → not given"]),
        ({"tol": 1e-06}, {"tol": 0.5}, ["--tol 1e-06 → 0.5"]),
    ],
)
def test_differences_are_told_as_they_are_typed(earlier: dict[str, Any], now: dict[str, Any], texts: list[str]) -> None:
    assert differences(earlier, now) == texts


# ------------------------------------------------------------------------------------- digest of inputs


def test_the_digest_of_inputs_does_not_depend_on_their_order() -> None:
    files = [("a.png", 10, 1), ("b.png", 10, 1), ("c.png", 7, 2)]
    assert inputs_digest(files) == inputs_digest(reversed(files)) == inputs_digest(iter(files))


def test_the_digest_of_inputs_sees_every_change() -> None:
    variants = [
        [],
        [("a", 1, 2)],
        [("b", 1, 2)],
        [("a", 2, 2)],
        [("a", 1, 3)],
        [("a", 1, 2), ("a", 1, 2)],
        [("a", 1, 2), ("b", 1, 2)],
        [('a", 1, 2]\n["b', 1, 2)],
        [("a", 12, 2)],
        [("a1", 1, 2)],
    ]
    assert len({inputs_digest(files) for files in variants}) == len(variants)


# --------------------------------------------------------------------------------------------- removal


def contents(folder: Path) -> list[tuple[str, bytes | None]]:
    return sorted((str(p.relative_to(folder)), p.read_bytes() if p.is_file() else None) for p in folder.rglob("*"))


def test_a_store_and_a_model_are_removed_whole_and_nothing_beside_them(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"pixels")
    before = contents(tmp_path)
    create_store(str(tmp_path / "s.zarr"), {})
    a_model().save(str(tmp_path / "m.zarr"))
    assert len(contents(tmp_path)) > len(before)
    remove_kseg_store(str(tmp_path / "s.zarr"))
    remove_kseg_store(str(tmp_path / "m.zarr"))
    assert contents(tmp_path) == before


def test_removing_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    remove_kseg_store(str(tmp_path / "missing"))
    assert contents(tmp_path) == []


def make_foreign(kind: str, path: Path) -> None:
    if kind == "folder of photographs":
        path.mkdir()
        (path / "photo.jpg").write_bytes(b"pixels")
    elif kind == "empty folder":
        path.mkdir()
    elif kind == "file":
        path.write_bytes(b"text")
    elif kind == "another program's zarr":
        folder_with(path, '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": {}}}')
    elif kind == "damaged zarr":
        folder_with(path, "{")
    elif kind == "image of a store":
        folder_with(path, json.dumps({"attributes": {"kseg": {"source": "a.png", "status": "complete"}}}))
    elif kind == "dangling link":
        path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize(
    "kind",
    [
        "folder of photographs",
        "empty folder",
        "file",
        "another program's zarr",
        "damaged zarr",
        "image of a store",
        "dangling link",
    ],
)
def test_anything_else_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    make_foreign(kind, path)
    before = contents(tmp_path)
    for name in (str(path), f"{path}/"):
        with pytest.raises(StoreError) as caught:
            remove_kseg_store(name)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert os.path.lexists(path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_a_link_to_a_store_is_refused_and_what_it_points_to_is_left_alone(tmp_path: Path, slash: str) -> None:
    create_store(str(tmp_path / "real.zarr"), {})
    link = tmp_path / "link.zarr"
    link.symlink_to(tmp_path / "real.zarr")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="is not a kseg store; it is left alone"):
        remove_kseg_store(f"{link}{slash}")
    assert link.is_symlink()
    assert contents(tmp_path) == before


def test_a_link_inside_a_store_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_bytes(b"pixels")
    create_store(str(tmp_path / "s.zarr"), {})
    (tmp_path / "s.zarr" / "images" / "link").symlink_to(tmp_path / "precious")
    remove_kseg_store(str(tmp_path / "s.zarr"))
    assert [name for name, _ in contents(tmp_path)] == ["precious", "precious/photo.jpg"]
