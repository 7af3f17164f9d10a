"""docs/tutorials.md, carried out from top to bottom: its commands, what they print, its Python, and its pictures."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "tutorials.md"
PICTURES = ROOT / "docs" / "images" / "tutorials"
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


def steps_of(page: str) -> list[Step]:
    return [
        Step(str(match.lastgroup), match.group(str(match.lastgroup)), page.count("\n", 0, match.start()) + 1)
        for match in STEP.finditer(page)
    ]


def without_times(text: str) -> str:
    return re.sub(r"\bin \d+\.\d s\b", "in … s", text)


def outputs_named(arguments: list[str]) -> list[Path]:
    options = ("-o", "--to", "--table")
    return [Path(value) for option, value in pairwise(arguments) if option in options]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds examples/images, to work in."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_tutorials_are_carried_out_as_written(desk: Path, kseg: Callable[..., Any]) -> None:
    steps = steps_of(PAGE.read_text(encoding="utf-8"))
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
    commands = [shlex.split(step.text) for step in steps_of(PAGE.read_text(encoding="utf-8")) if step.kind == "command"]
    written: set[Path] = set()
    for arguments in commands:
        for output in outputs_named(arguments):
            assert output not in written or arguments[0] == "edges", f"{output} is written twice"
            written.add(output)
    assert {arguments[0] for arguments in commands} >= {"run", "fit", "sweep", "edges", "export", "report", "inspect"}


def test_the_tutorials_show_every_picture_made_for_them_and_no_large_file() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = {PAGE.parent / name for name in re.findall(r"\]\((images/tutorials/[^)]+)\)", page)}
    assert shown == set(PICTURES.iterdir())
    assert {picture.name: picture.stat().st_size for picture in shown if picture.stat().st_size > MOST_BYTES} == {}
    assert all(alt.strip() for alt in re.findall(r"!\[(.*?)\]\(", page))
