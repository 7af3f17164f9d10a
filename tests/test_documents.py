"""The documents say what is so: their commands and code run, print what is shown, and their links lead somewhere."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg_core.segment_settings import LEVELS, MOST
from kseg_core.segments.hierarchy import steps_of
from workflows.run import _run

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")])


def test_the_code_of_the_python_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/python.md block {number}", "exec"), names)
    assert "ok" in capsys.readouterr().out


def test_the_commands_and_the_code_of_the_readme_run_from_top_to_bottom_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROWSER", "true")  # what opens a page here
    shutil.copytree(ROOT / "examples", "examples")
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n([\s\S]*?)```|(?<=\n\n)((?:    .+\n)+)", page)
    outputs = []
    names: dict[str, object] = {}
    for code, commands in blocks:
        exec(compile(code, "README.md", "exec"), names)
        for line in commands.splitlines():
            command = line.strip()
            if command.startswith("kseg-batch ") and "tcp://" not in command:  # a cluster is not for every machine
                outcome = kseg(*shlex.split(command, comments=True)[1:])
                assert outcome.code == 0, f"{command}: {outcome.err}"
                outputs.append(outcome.out)
    assert len(outputs) == 12
    assert Path("images.report/report.html").is_file()
    assert len(list(Path("painted").iterdir())) == 6
    assert np.shape(names["labels"]) == np.shape(names["red"]) == (400, 600)
    told = page[page.index("    labelled 6 images") : page.index("Installing takes")]
    assert outputs[0].splitlines()[1:] == [line[4:] for line in told.rstrip().splitlines()[1:]]


def named_keys(command: str) -> set[str]:
    """The keys that docs/json.md names for a command."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    everywhere = {command} if command in ("config", "dry run") else {command, "all"}
    return {
        key
        for keys, commands, _ in rows
        for key in re.findall(r"`([^`]+)`", keys)
        if everywhere & set(commands.strip().split(", "))
    }


def keys_of(value: Any, path: str = "") -> Iterator[str]:
    """The keys of a JSON object as docs/json.md writes them; a list of numbers or of lists is one."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from keys_of(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        inside = [key for inner in value if isinstance(inner, dict) for key in keys_of(inner, f"{path}[]")]
        yield from inside or [f"{path}[]"]
    else:
        yield path


def is_named(key: str, named: set[str]) -> bool:
    """Whether a key is, or those below it are where there are none this time."""
    return key in named or any(one.startswith((f"{key}.", f"{key.removesuffix('[]')}[]")) for one in named)


def test_every_key_of_json_is_named_in_its_page(
    tmp_path: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch, kseg: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_folder, "in")
    Path("in", "broken.png").write_bytes(b"no picture")
    tifffile.imwrite("in/pages.tif", np.zeros((2, 16, 16, 3), np.uint8), photometric="rgb")  # there is something to say
    tifffile.imwrite("in/deep.tif", np.arange(99, dtype=np.uint16).reshape(9, 11))
    tifffile.imwrite("in/pages.tif", np.zeros((2, 9, 11), np.uint8), photometric="minisblack")
    Path("big").mkdir()
    shutil.copy("in/a.png", "big")
    Image.fromarray(np.zeros((9000, 9000, 3), np.uint8)).save("big/large.png")
    little = "big --k 2 --memory 430MB --workers 1"
    job = "in --attempts 1 --k 2"
    Path("sized").mkdir()
    shutil.copy("in/a.png", "sized")
    size = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite("sized/b.ome.tif", np.zeros((9, 11, 3), np.uint8), photometric="rgb", metadata=size)
    sized = "sized --k 2 --smooth 2um"
    Path("bands").mkdir()
    for band in ("red", "nir"):
        tifffile.imwrite(f"bands/c_{band}.tif", np.arange(99, dtype=np.uint16).reshape(9, 11))
    lines = {
        "fit": [
            f"fit {job} -o m.zarr",
            "fit in/deep.tif --k 2 -o deep.zarr",
            "fit bands --k 2 --stack auto -o stack.zarr",
        ]
        + [f"fit {line} -o {name}.zarr" for name, line in (("l", little), ("o", sized))],
        "run": [
            f"run {job} --edges 50,100 --segments --confidence -o s.zarr",
            "run in/broken.png --k 2",
            f"run {sized} --min-region 4um2 --keep-raw -o u.zarr",
            f"run {little} -o b.zarr",
            f"run {job} --scope image -o own.zarr",
        ],
        "dry run": [f"run {line} -o n.zarr --dry-run" for line in (job, little, sized)],
        "apply": [
            "apply in --model m.zarr -o a.zarr --fail-on-drift 0.5",
            "apply in --model deep.zarr -o d.zarr",
            "apply sized --model m.zarr -o v.zarr --smooth 2um",
        ],
        "edges": ["edges in -o e.zarr"],
        "segments": ["segments in -o g.zarr"],
        "sweep": [
            "sweep in --k-range 1:2",
            "sweep in --k-range 1:2 --scope image -o each",
            "sweep big --k-range 1:2 --memory 430MB --workers 1 -o b",
            "sweep sized --k-range 1:2 --smooth 2um -o o",
        ],
        "inspect": [
            "inspect s.zarr --table t.csv",
            "inspect b.zarr --objects o.csv",
            "inspect s.zarr --signatures g.csv",
            "inspect named.zarr",
            "inspect m.zarr",
            "inspect stack.zarr",
            "inspect own.zarr",
            "inspect u.zarr",
            "inspect damaged.zarr",
            "inspect missing.zarr",
        ],
        "classes": [
            "classes damaged.zarr plant=0 --color plant=#2ca02c",
            "classes s.zarr --suggest 2",
            "classes missing.zarr",
        ],
        "check": ["check s.zarr", "check s.zarr --repair", "check e.zarr", "check missing.zarr"],
        "config": ["config run"],
        "export": [
            "export s.zarr --to files --what masks,cutout",
            "export named.zarr --to of-classes --what masks",
            "export missing.zarr --to files",
        ],
        "score": ["score s.zarr --reference files/b.mask-0.png --to score", "score missing.zarr --reference in"],
        "report": ["report s.zarr", "report missing.zarr"],
    }
    for command, several in lines.items():
        named = named_keys(command)
        if command == "export":
            Path("in", "a.png").write_bytes(b"another file")
        if command == "inspect":
            for copy in ("damaged.zarr", "named.zarr"):
                shutil.copytree("s.zarr", copy)
            kseg("classes", "named.zarr", "plant=0")
            Path("big", "a.png").write_bytes(b"another file")
            Path("damaged.zarr", "images", "a.png", "zarr.json").write_bytes(b"damaged")
        if command == "report":
            Path("s.zarr", "images", "a.png", "labels", "kmeans", "0", "zarr.json").write_bytes(b"damaged")
        met = set()
        for line in several:
            told = kseg(*line.split(), "--json").json()
            if command == "config":
                told["settings"] = {"NAME": told["settings"]["k"]}
            met |= set(keys_of(told))
        assert [key for key in sorted(met) if not is_named(key, named)] == [], command
        assert sorted(named - {"error"} - met) == [], f"{command} has no such keys"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles]
            assert heading in slugs, f"{page.name} links to {target}"


def test_the_design_shows_the_job_as_it_is() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert textwrap.indent(inspect.getsource(_run), "    ") in page


# -------------------------------------------------------------------------------------------- docs/tutorials.md

TUTORIALS = ROOT / "docs" / "tutorials.md"
MOST_BYTES = 150_000

#: In the order of the page: a command, what the command before it prints, or Python.
STEP = re.compile(
    r"^    kseg-batch (?P<command>[^\n]*)$|^```text\n(?P<printed>.*?)^```$|^```python\n(?P<python>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Step:
    kind: str
    text: str
    line: int


def steps_of_tutorials() -> list[Step]:
    page = TUTORIALS.read_text(encoding="utf-8")
    return [
        Step(str(match.lastgroup), match.group(str(match.lastgroup)), page.count("\n", 0, match.start()) + 1)
        for match in STEP.finditer(page)
    ]


def without_times(text: str) -> str:
    return re.sub(r"\bin \d+\.\d s\b", "in … s", text)


def outputs_named(arguments: list[str]) -> list[Path]:
    options = ("-o", "--to", "--table")
    return [Path(value) for option, value in pairwise(arguments) if option in options]


@pytest.mark.slow
def test_the_tutorials_are_carried_out_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Any) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    steps = steps_of_tutorials()
    assert {kind for kind, times in Counter(step.kind for step in steps).items() if times > 1} == set(STEP.groupindex)
    names: dict[str, object] = {}
    printed = ""
    for step in steps:
        where = f"docs/tutorials.md, line {step.line}"
        if step.kind == "command":
            arguments = shlex.split(step.text)
            done = kseg(*arguments)
            assert (done.code, done.err) == (0, ""), where
            printed = done.out
            named = outputs_named(arguments)
            assert named, f"{where}: nothing is kept of this command"
            for output in named:
                assert output.is_file() or any(output.iterdir()), f"{where}: {output} is not there"
        elif step.kind == "printed":
            assert without_times(printed) == without_times(step.text), where
        else:
            exec(compile(step.text, where, "exec"), names)


def test_each_command_of_the_tutorials_has_outputs_of_its_own_or_adds_to_an_earlier_one() -> None:
    commands = [shlex.split(step.text) for step in steps_of_tutorials() if step.kind == "command"]
    written: set[Path] = set()
    for arguments in commands:
        for output in outputs_named(arguments):
            assert output not in written or arguments[0] == "edges", f"{output} is written twice"
            written.add(output)
    assert {arguments[0] for arguments in commands} >= {"run", "fit", "sweep", "edges", "export", "report", "inspect"}


@pytest.mark.parametrize("name", ["tutorials", "segments"])
def test_a_page_shows_every_picture_made_for_it_and_no_large_file(name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    shown = {ROOT / "docs" / path for path in re.findall(rf"\]\((images/{name}/[^)]+)\)", page)}
    assert shown == set((ROOT / "docs" / "images" / name).iterdir())
    assert {picture.name: picture.stat().st_size for picture in shown if picture.stat().st_size > MOST_BYTES} == {}
    assert all(alt.strip() for alt in re.findall(r"!\[(.*?)\]\(", page))


def test_the_levels_of_segments_are_those_that_their_page_tells() -> None:
    page = (ROOT / "docs" / "segments.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|", page, flags=re.MULTILINE)
    assert {name: float(level) for name, level, _ in rows} == LEVELS
    for _, level, altitude in rows:  # steps are rounded up
        assert abs(int(steps_of(np.array([float(altitude)]))[0]) - float(level) * MOST) <= 1
