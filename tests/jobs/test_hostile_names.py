"""Whatever a file is called: it is labelled, stays in the store, and cannot steer the terminal."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Done = subprocess.CompletedProcess[str]
Program = Callable[..., Done]
Programs = Callable[..., list[Done]]

NAMES: list[bytes] = [
    b"new\nline.png",
    b"carriage\rreturn.png",
    b"\x1b[31mred\x1b[0m\x1b]0;title\x07.png",
    b"bell\x07 and delete\x7f.png",
    b"100%25 %s %(x)s {0}.png",
    "日本語 ünï — ☃.png".encode(),
    unicodedata.normalize("NFC", "é.png").encode(),
    unicodedata.normalize("NFD", "é.png").encode(),
    "right\u202eto left gnp.png".encode(),
    b"bad bytes \xff\xfe.png",
    b"bad%20bytes \xff.png",
    b"-k.png",
    b"--help.png",
    b"case.png",
    b"Case.png",
    b"CASE.PNG",
    b"quote' \" ` $(id) ; &.png",
    b"back\\slash.png",
    b"[red]markup[/red].png",
    b"*.png",
    b"con.png",
    b"zarr.json.png",
    b"c.png",
    b" leading and trailing .png",
    b"a" * 240 + b".png",
    b"sub\n\x1b[2J/x..x/inner.png",
]
BROKEN = b"broken \x1b[31m\n\xff.png"


RUN = "run in --k 2 --attempts 1 -o out.zarr"


@pytest.fixture(scope="module")
def hostile_run(
    tmp_path_factory: pytest.TempPathFactory, small_folder: Path, programs: Programs
) -> tuple[Path, Done, dict[str, Done]]:
    """A run on a folder of such names and one file that is no picture, and what is told of it afterwards."""
    here = tmp_path_factory.mktemp("hostile")
    picture = (small_folder / "a.png").read_bytes()
    for name in NAMES:
        path = os.path.join(os.fsencode(here), b"in", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(picture)
    with open(os.path.join(os.fsencode(here), b"in", BROKEN), "wb") as file:
        file.write(b"hello")
    lines = [f"{line}{as_json}" for line in (RUN, "inspect out.zarr", "check out.zarr") for as_json in ("", " --json")]
    first, *later = programs(RUN.split(), *(line.split() for line in lines), cwd=here)
    return here, first, dict(zip(lines, later, strict=True))


def assert_printable(text: str) -> None:
    """Nothing but lines of characters that can be seen."""
    assert all(line.isprintable() for line in text.split("\n"))
    assert "\u202e" not in text


def test_every_file_is_labelled_under_a_name_of_its_own(hostile_run: Any, parse_json: Any) -> None:
    _, done, later = hostile_run
    assert (done.returncode, done.stderr) == (3, "")
    assert "labelled 26 images" in done.stdout
    told = parse_json(later["inspect out.zarr --json"].stdout)
    keys = [image["key"] for image in told["images"]]
    assert len(keys) == len(NAMES) == 26
    assert len({unicodedata.normalize("NFC", key).casefold() for key in keys}) == 26
    assert {"-k.png", "[red]markup[/red].png", "%2A.png", "new%0Aline.png", "bad%2520bytes %FF.png"} <= set(keys)
    for key in keys:
        assert not re.search('[\x00-\x1f\x7f<>:"\\\\|?*\u202e]', key), key


def test_sources_are_kept_as_text_with_undecodable_bytes_percent_encoded(hostile_run: Any, parse_json: Any) -> None:
    _, _, later = hostile_run
    told = parse_json(later["inspect out.zarr --json"].stdout)
    sources = {image["source"] for image in told["images"]}
    assert {"in/new\nline.png", "in/bad bytes %FF%FE.png", "in/bad%20bytes %FF.png", "in/Case.png"} <= sources
    assert len(sources) == 26
    for source in sources:
        source.encode("utf-8")


def test_no_name_leaves_the_store(hostile_run: Any) -> None:
    here, _, _ = hostile_run
    assert sorted(os.listdir(here)) == ["in", "out.zarr"]
    assert sorted(os.listdir(here / "out.zarr")) == ["images", "model", "zarr.json"]
    assert len(os.listdir(here / "out.zarr" / "images")) == 26 + 1  # and zarr.json


@pytest.mark.parametrize("line", ["inspect out.zarr", "check out.zarr", RUN])
def test_what_is_printed_cannot_steer_a_terminal(line: str, hostile_run: Any) -> None:
    _, first, later = hostile_run
    done = later[line]
    assert done.returncode == first.returncode if line.startswith("run") else done.returncode == 0
    for text in (first.stdout, done.stdout, done.stderr):
        assert_printable(text)
    if line.startswith("run"):
        assert "broken" in done.stdout
    else:
        assert "complete" in done.stdout


def test_json_of_hostile_names_is_plain_ascii_on_one_line(hostile_run: Any, parse_json: Any) -> None:
    _, _, later = hostile_run
    for line in (RUN, "inspect out.zarr", "check out.zarr"):
        done = later[f"{line} --json"]
        assert done.stdout.isascii()
        json.dumps(parse_json(done.stdout), ensure_ascii=False).encode("utf-8")  # no half of a character
        assert done.stderr == ""


OTHERS = [
    "export out.zarr --to files --what segmented,masks,polygons",
    "report out.zarr --to page --limit 30 --thumbnail 16",
    "edges in -o edges.zarr",
    "sweep in --k-range 1:3 --attempts 1 -o curve",
    "inspect out.zarr --table regions.csv",
]
IN_JSON = [line for line in OTHERS if not line.startswith("report")]  # where that names only images that failed


@pytest.fixture(scope="module")
def others(hostile_run: Any, programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the other commands print, as lines and as JSON, and where they wrote: in a folder of their own."""
    here, _, _ = hostile_run
    there = tmp_path_factory.mktemp("hostile-others") / "work"
    there.mkdir()
    for name in ("in", "out.zarr"):
        (there / name).symlink_to(here / name)
    again = [f"{line}{'' if line.startswith('edges') else ' --overwrite'} --json" for line in IN_JSON]
    done = programs(*map(str.split, [*OTHERS, *again]), cwd=there)
    return there, dict(zip([*OTHERS, *(f"{line} --json" for line in IN_JSON)], done, strict=True))


@pytest.mark.parametrize("line", OTHERS)
def test_no_other_command_steers_a_terminal(line: str, others: Any, parse_json: Any) -> None:
    _, done = others
    spoken, told = done[line], done.get(f"{line} --json")
    assert spoken.returncode == (3 if " in " in line else 0), spoken.stderr
    assert_printable(spoken.stdout + spoken.stderr)
    if told is not None:
        assert told.returncode == spoken.returncode
        assert_printable(told.stderr)
        assert told.stdout.isascii()
        json.dumps(parse_json(told.stdout), ensure_ascii=False).encode("utf-8")


def test_no_other_command_writes_outside_its_output(others: Any) -> None:
    there, _ = others
    assert sorted(os.listdir(there.parent)) == ["work"]
    made = ["curve", "edges.zarr", "files", "in", "out.zarr", "page", "regions.csv"]
    assert sorted(os.listdir(there)) == made
    for folder in ("curve", "edges.zarr", "files", "page"):
        for path in (there / folder).rglob("*"):
            assert not path.is_symlink()
            assert not re.search('[\x00-\x1f\x7f<>:"\\\\|?*\u202e]', path.name), path
            assert len(os.fsencode(path.name)) < 255
    assert len({str(path).casefold() for path in (there / "files").rglob("*segmented*")}) == 26


def test_names_in_a_page_are_text_and_nothing_else(others: Any) -> None:
    there, _ = others
    page = (there / "page/report.html").read_text(encoding="utf-8")
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "right" in page  # the name that would turn the writing around is there
    assert "quote' \" `" not in page  # unescaped, it would end an attribute


@pytest.mark.slow
def test_markup_in_a_name_is_shown_as_it_is(here: Path, kseg: Any) -> None:
    names = ("<script>alert(1)<", "&lt;b&gt;", "</title><img src=x onerror=alert(1)>")
    for name in names:
        (here / "marked" / name).mkdir(parents=True)
        shutil.copy("in/a.png", f"marked/{name}")
    for line in ("run marked --k 2 --attempts 1 -o o.zarr", "report o.zarr --to page"):
        assert kseg(line).code == 0
    page = Path("page/report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    for name in names:
        assert html.escape(f"marked/{name}/a.png", quote=False) in html.unescape(html.escape(page, quote=False)) or (
            html.escape(f"marked/{name}/a.png") in page
        )


def test_a_store_that_names_a_way_out_is_read_inside_only(here: Path, kseg: Any, job: Any) -> None:
    """Keys come from folders on the disk, never from what is written in documents: an archive cannot lead astray."""
    job("in", here / "o.zarr", k=2)
    group = here / "o.zarr/images/a.png/zarr.json"
    document = json.loads(group.read_bytes())
    for name, value in (("key", "../../../escaped"), ("source", "../../../escaped/a.png")):
        document["attributes"]["kseg"][name] = value
    group.write_text(json.dumps(document))
    for line in ("export o.zarr --to files --what segmented,masks", "report o.zarr --to page", "inspect o.zarr"):
        assert kseg(line).code in (0, 3)
    assert sorted(os.listdir()) == ["files", "in", "o.zarr", "page"]
    assert not (here.parent / "escaped").exists()
    for path in (here / "files").rglob("*"):
        assert path.resolve().is_relative_to(here / "files")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "name", [b"evil\x1b[2J\nfolder", b"bad \xff bytes", pytest.param(b"-rf", marks=pytest.mark.slow)]
)
def test_a_folder_with_such_a_name_gives_a_store_of_that_name(
    name: bytes, tmp_path: Path, small_folder: Path, programs: Programs, parse_json: Any
) -> None:
    folder = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(folder)
    with open(os.path.join(folder, b"a.png"), "wb") as file:
        file.write((small_folder / "a.png").read_bytes())
    given = os.path.join(b".", name)
    store = name + b".kseg.zarr"
    lines = (
        (b"run", given, b"--k", b"2", b"--attempts", b"1"),
        (b"inspect", b"./" + store),
        (b"check", b"./" + store),
        (b"run", given, b"--k", b"3"),
        (b"run", given, b"--k", b"2", b"--attempts", b"1", b"--json"),
    )
    *spoken, told = programs(*lines, cwd=tmp_path)
    for arguments, done in zip(lines, spoken, strict=False):
        assert done.returncode == (1 if b"3" in arguments else 0), done
        assert_printable(done.stdout)
        assert_printable(done.stderr)
    assert sorted(os.listdir(os.fsencode(tmp_path))) == sorted([name, store])
    json.dumps(parse_json(told.stdout), ensure_ascii=False).encode("utf-8")
    written = json.loads(Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), store, b"zarr.json"))).read_bytes())
    json.dumps(written, ensure_ascii=False).encode("utf-8")


def test_a_current_folder_of_undecodable_bytes_leaves_no_trace_that_is_not_text(
    here: Path, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Path(os.fsdecode(b"bad \xff"))
    bad.mkdir()
    monkeypatch.chdir(bad)
    done = kseg("run", here / "in", "--k", "2", "--attempts", "1", "-o", "out.zarr")
    assert (done.code, done.err) == (0, "")
    json.dumps(json.loads(Path("out.zarr/zarr.json").read_bytes()), ensure_ascii=False).encode("utf-8")
    assert kseg("check out.zarr").code == 0


def test_wrong_usage_repeats_nothing_that_steers_a_terminal(tmp_path: Path, programs: Programs) -> None:
    lines = [
        [b"run", b"no such \x1b[31m\n\xff", b"--k", b"2"],
        [b"run", b"x", b"--k", b"\x1b[31m"],
        [b"run", b"x", b"--k", b"2", b"--features", b"\x1b[31m\n"],
        [b"run", b"x", b"--k", b"2", b"--log-level", b"\x1b[31m\xff"],
        [b"\x1b[31m\xff"],
        [b"run", b"--\x1b[31m\xff"],
        [b"run", b"x", b"--k", b"2", b"--config", b"\x1b[31m\xff.toml"],
        [b"run", b"x", b"--k", b"2", b"--from", b"\x1b[31m\xff.txt"],
        [b"run", b"x", b"--model", b"\x1b[31m\xff.zarr"],
        [b"run", b"x", b"--k", b"2", b"--scheduler", b"\x1b[31m\xff.json"],
    ]
    for line, done in zip(lines, programs(*lines, cwd=tmp_path), strict=True):
        assert (done.returncode, done.stdout) == (2, ""), line
        assert done.stderr.count("\n") == 1, line
        assert_printable(done.stderr)
