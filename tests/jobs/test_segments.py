"""``kseg-batch segments``, and ``run --segments``: options, JSON, exit codes, and what a store has afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core import open_store

Kseg = Callable[..., Any]
RUN = "run in --k 2 --attempts 1 -o run.zarr"


def digests(folder: str) -> dict[str, str]:
    """Of every file in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def segments_of(store: str, key: str = "a.png") -> NDArray[Any]:
    return np.asarray(open_store(store)[key].array("labels/segments/0")[...])


def level_of(kseg: Kseg, line: str) -> Any:
    told = kseg(f"config --json run in --k 2 {line}").json()["settings"]
    return told["segments"]["value"]


@pytest.mark.parametrize("command", ["run in --k 2 -o out.zarr", "apply in --model run.zarr -o out.zarr"])
def test_how_segments_are_found_is_refused_where_none_are_asked_for(
    kseg: Kseg, command: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in ("--segment-palette shared", "--segment-scale native"):
        told = kseg(f"{command} {line}")
        assert told.code == 2
        assert told.err.count("\n") == 1
        assert line in told.err
        assert "give --segments with it, or leave it out" in told.err
    Path("job.toml").write_text('segment-scale = "photo"\n')
    told = kseg(f"{command} --config job.toml")
    assert (told.code, "--segment-scale is from job.toml" in told.err) == (2, True)
    monkeypatch.setenv("KSEG_SEGMENT_PALETTE", "shared")
    told = kseg(command)
    assert (told.code, "--segment-palette is from the variable KSEG_SEGMENT_PALETTE" in told.err) == (2, True)
    monkeypatch.setenv("KSEG_SEGMENT_PALETTE", "image")  # what it is anyway
    Path("job.toml").write_text('[segments]\nsegment-scale = "photo"\n')  # of the command of that name
    assert kseg(f"{command.replace('apply', 'run').replace('--model run.zarr', '--k 2')} --config job.toml").code == 0


def test_a_level_may_be_left_out_wherever_the_option_stands(
    kseg: Kseg, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in ("--segments", "--segments --seed 1", "--segments medium", "--segments=medium", "--seed 1 --segments"):
        assert level_of(kseg, line) == "medium"
    assert level_of(kseg, "--segments fine") == "fine"
    assert level_of(kseg, "--segments 0.3") == "0.3"
    assert level_of(kseg, "") is None
    for value, level in (("true", "medium"), ("false", None), ('"coarse"', "coarse"), ("0.25", "0.25")):
        Path("c.toml").write_text(f"segments = {value}\n")
        assert level_of(kseg, "--config c.toml") == level
    monkeypatch.setenv("KSEG_SEGMENTS", "fine")
    assert level_of(kseg, "") == "fine"
    assert level_of(kseg, "--segments") == "medium"
    wrong = kseg("run --segments in --k 2")
    assert (wrong.code, "got 'in'; without a value, --segments stands last" in wrong.err) == (2, True)
    assert kseg("segments in --level 1.5").err.count("--level takes coarse, medium, fine") == 1


def test_the_whole_way_json_again_and_at_another_level(kseg: Kseg, here: Path) -> None:
    told = kseg("segments in -o out.zarr --json")
    assert (told.code, told.err) == (0, "")
    found = told.json()
    pixels = sum(
        image.attributes["shape"][0] * image.attributes["shape"][1] for image in open_store("out.zarr").values()
    )
    assert found["seconds"].pop("total") >= 0
    assert found == {
        "status": "ok",
        "output": "out.zarr",
        "images": {"total": 3, "done": 3, "reused": 0, "failed": 0},
        "pixels": {"total": pixels},
        "segment_pixels": pixels,
        "settings": {"level": 0.5, "scale": "auto", "palette": "image"},
        "failures": [],
        "notes": [],
        "seconds": {},
    }
    again = kseg("segments in -o out.zarr --json").json()
    assert again == {**found, "images": {"total": 3, "done": 0, "reused": 3, "failed": 0}, "seconds": {"total": 0.0}}
    assert kseg("segments out.zarr --json").json() == again  # of the store: the same images
    before = segments_of("out.zarr")
    assert kseg("segments in -o out.zarr --level 0").code == 0  # a level is not a loss
    fine = segments_of("out.zarr")
    assert fine.max() > before.max()
    assert kseg("segments out.zarr").code == 0
    np.testing.assert_array_equal(segments_of("out.zarr"), before)
    other = kseg("segments out.zarr --segment-scale native")
    assert (other.code, "--segment-scale auto → native" in other.err) == (1, True)
    assert kseg("segments out.zarr --segment-scale native --overwrite").code == 0
    for again in ("segments in --segment-scale native -o out.zarr", "segments in -o out.zarr", "segments out.zarr"):
        assert kseg(again).out.startswith("out.zarr: already done")
    assert "with segments alone" in kseg("check out.zarr").out
    image = kseg("inspect out.zarr --json").json()["images"][0]
    assert image["segments"] == "images/a.png/labels/segments/0"
    assert (image["segment_count"], image["segment_level"]) == (segments_of("out.zarr").max(), 0.5)
    assert f"segments alone, {image['segment_count']} segment" in kseg("inspect out.zarr").out


def test_of_a_store_they_are_those_that_its_run_makes(kseg: Kseg, here: Path) -> None:
    assert kseg(f"{RUN} --segments fine").code == 0
    assert kseg("run in --k 2 --attempts 1 -o later.zarr").code == 0
    assert kseg("segments later.zarr --level fine").code == 0
    for key in ("a.png", "b.png", "c.png"):
        for part in ("labels/segments", "contours", "segments"):
            one, other = (digests(f"{store}/images/{key}/{part}") for store in ("run.zarr", "later.zarr"))
            assert one == other
    assert kseg("segments run.zarr --level medium").code == 0
    assert kseg(f"{RUN} --segments fine").out.startswith("run.zarr: already done")
    assert [kseg(f"check {store}").code for store in ("run.zarr", "later.zarr")] == [0, 0]
    assert kseg("edges later.zarr").code == 0  # every layer with a command can be added so
    assert kseg("segments in -o later.zarr --level fine").out.startswith("later.zarr: already done")


def test_a_run_that_wants_other_layers_than_its_store_has_names_the_commands_that_make_them(
    kseg: Kseg, here: Path
) -> None:
    def commands(line: str) -> list[str]:
        refused = kseg(f"{RUN} {line}")
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        told = refused.err.partition(" in it: ")[2].partition("; or choose")[0]
        return [each.removeprefix("kseg-batch ") for each in told.split(", then ")] if told else []

    assert kseg(f"{RUN} --segments fine --edges 50,90").code == 0
    assert commands("--segments coarse") == []  # without edges it is another store
    both = commands("--segments 0.2 --edges 60,80")
    assert both == ["edges run.zarr --low 60 --high 80 --overwrite", "segments run.zarr --level 0.2"]
    (native,) = commands("--segments 0.2 --segment-scale native --edges 50,90")
    assert native == "segments run.zarr --level 0.2 --segment-scale native --overwrite"
    assert [kseg(each).code for each in (*both, native)] == [0, 0, 0]
    image = open_store("run.zarr")["a.png"]
    facts = image.array("labels/segments/0").attrs["kseg"]
    assert (facts["level"], facts["scale"], image.array("edges").attrs["kseg"]["high"]) == (0.2, "native", 80)
    assert commands("--segments coarse --edges 60,80") == [  # by what has been made since
        "edges run.zarr --low 60 --high 80",
        "segments run.zarr --level coarse --segment-scale auto --overwrite",
    ]
    (shared,) = commands("--segments fine --segment-scale native --segment-palette shared --edges 50,90")
    assert shared == "segments run.zarr --level fine --segment-palette shared --overwrite"
    assert [kseg(each).code for each in (shared, "segments run.zarr --level 0.2")] == [0, 0]
    assert open_store("run.zarr")["a.png"].array("labels/segments/0").attrs["kseg"]["palette"] == "shared"
    assert kseg("check run.zarr").code == 0


def test_a_level_stays_where_images_are_added_later(kseg: Kseg, here: Path) -> None:
    shutil.move("in/c.png", "c.png")
    run = "apply in --model first.zarr -o run.zarr --segments"
    assert kseg("run in --k 2 --attempts 1 -o first.zarr").code == 0
    assert kseg(run).code == 0
    assert kseg("segments run.zarr --level 0").code == 0
    shutil.move("c.png", "in/c.png")
    assert kseg(run).code == 0
    levels = [image["segment_level"] for image in kseg("inspect run.zarr --json").json()["images"]]
    assert levels == [0, 0, 0]
    assert kseg("check run.zarr").code == 0


def test_without_their_files_images_are_cut_from_what_the_store_has(kseg: Kseg, here: Path) -> None:
    for name, copy in (("plain", ""), ("copied", "--copy-image")):
        assert kseg(f"run in --k 2 --attempts 1 -o {name}.zarr --segments fine {copy}").code == 0
    shutil.copytree("copied.zarr", "there.zarr")
    assert kseg("segments there.zarr --level coarse").code == 0
    os.rename("in", "elsewhere")
    told = kseg("segments plain.zarr --level coarse --json").json()
    assert [(note["source"], "mean colours" in note["note"]) for note in told["notes"]] == [
        (f"in/{name}.png", True) for name in "abc"
    ]
    assert kseg("segments copied.zarr --level coarse --json").json()["notes"] == []
    for key in ("a.png", "b.png", "c.png"):
        image = f"images/{key}"
        for part in ("labels/segments", "segments"):
            assert digests(f"there.zarr/{image}/{part}") == digests(f"copied.zarr/{image}/{part}")
        assert digests(f"there.zarr/{image}/labels/segments") == digests(f"plain.zarr/{image}/labels/segments")
        assert np.isnan(open_store("plain.zarr")[key].array("segments/mean")[...]).all()
    assert [kseg(f"check {store}.zarr").code for store in ("plain", "copied")] == [0, 0]
    refused = kseg("segments plain.zarr --level coarse --segment-scale native --overwrite --json")
    assert (refused.code, len(refused.json()["failures"])) == (1, 3)
    os.rename("elsewhere", "in")
    assert kseg("segments plain.zarr --level coarse --overwrite").code == 0
    assert digests("plain.zarr/images/a.png/segments") == digests("there.zarr/images/a.png/segments")


def test_what_a_store_says_itself_is_not_asked_for(kseg: Kseg, here: Path) -> None:
    assert kseg(RUN).code == 0
    for line, told in {
        "-o other.zarr": "leave out -o",
        "--include *.png": "--include and --exclude",
        "--nodata 0": "leave out --nodata",
        "--mask run.zarr": "leave out --nodata",
        "--tile 64": "--tile is 1024",
    }.items():
        refused = kseg(f"segments run.zarr {line}")
        assert (refused.code, told in refused.err) == (2, True), refused.err
    assert kseg("edges in -o edges.zarr").code == 0
    for line in ("segments edges.zarr", "segments in -o edges.zarr"):
        refused = kseg(line)
        assert (refused.code, "for edges alone" in refused.err) == (1, True)
    assert kseg("segments run.zarr").code == 0


def test_inputs_without_segments_are_named_and_the_exit_code_is_3(kseg: Kseg, here: Path) -> None:
    Path("in/bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    for _ in range(2):
        outcome = kseg("segments in -o out.zarr --json")
        assert (outcome.code, outcome.json()["status"]) == (3, "partial")
        assert [failure["source"] for failure in outcome.json()["failures"]] == ["in/bad.png"]
    assert "no segments of 1 of the inputs:\n  in/bad.png: " in kseg("segments in -o out.zarr").out
