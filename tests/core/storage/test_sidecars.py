"""What lies beside an output belongs to it alone, and what killed jobs left there is swept."""

from __future__ import annotations

import os
from pathlib import Path

from kseg_core.inputs.companions import content_digest
from kseg_core.storage.sidecars import aside, remove, sidecar, sweep


def test_names_are_hidden_in_the_outputs_own_folder_however_it_is_spelt(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert sidecar(str(tmp_path / "real" / "a.zarr"), ".lock") == str(tmp_path / "real" / ".a.zarr.lock")
    assert sidecar(str(tmp_path / "link" / "a.zarr"), ".lock") == str(tmp_path / "real" / ".a.zarr.lock")
    long = sidecar(str(tmp_path / ("ä" * 120)), ".lock.json")
    assert len(os.fsencode(os.path.basename(long))) <= 255
    assert long != sidecar(str(tmp_path / ("ö" * 120)), ".lock.json")


def test_only_what_was_left_aside_for_this_output_is_swept(tmp_path: Path) -> None:
    output = str(tmp_path / "a.zarr")
    left = Path(aside(output))
    (left / "images").mkdir(parents=True)
    Path(aside(output)).write_text("half")
    others = [
        Path(aside(str(tmp_path / "b.zarr"))),
        tmp_path / ".a.zarr.lock",
        tmp_path / ".a.zarr.partial",
        tmp_path / "a.zarr.0badcafe.partial",
        tmp_path / ".a.zarr.0badcafe.partial.txt",
    ]
    for other in others:
        other.write_text("")
    sweep(output)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    sweep(str(tmp_path / "nowhere" / "a.zarr"))


def test_remove_never_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("")
    (tmp_path / "link").symlink_to("precious")
    remove(str(tmp_path / "link"))
    remove(str(tmp_path / "missing"))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious" / "file").exists()


def test_the_digest_of_a_directory_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a" / "c").mkdir(parents=True)
    (tmp_path / "a" / "zarr.json").write_text("{}")
    (tmp_path / "a" / "c" / "0").write_text("x")
    first = content_digest(str(tmp_path / "a"))
    assert content_digest(str(tmp_path / "a")) == first
    (tmp_path / "a" / "c" / "0").write_text("y")
    second = content_digest(str(tmp_path / "a"))
    (tmp_path / "a" / "c" / "0").rename(tmp_path / "a" / "c" / "1")
    assert len({first, second, content_digest(str(tmp_path / "a"))}) == 3
    assert content_digest(str(tmp_path / "a" / "zarr.json")) == (
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # sha256sum of {}
    )
