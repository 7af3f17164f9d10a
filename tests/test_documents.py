"""The documents say what is so: their code runs, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]
)


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
    shutil.copytree(ROOT / "examples", "examples")
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n([\s\S]*?)```|(?<=\n\n)((?:    .+\n)+)", page)
    outputs = []
    names: dict[str, object] = {}
    for code, commands in blocks:
        exec(compile(code, "README.md", "exec"), names)
        for line in commands.splitlines():
            command = line.strip().removeprefix("pip install . && ")
            if command.startswith("kseg-batch ") and "tcp://" not in command:  # a cluster is not for every machine
                outcome = kseg(*shlex.split(command)[1:])
                assert outcome.code == 0, f"{command}: {outcome.err}"
                outputs.append(outcome.out)
    assert len(outputs) == 6
    assert np.shape(names["labels"]) == np.shape(names["red"]) == (400, 600)
    told = page[page.index("    labelled 6 images") : page.index("Do it again")]
    assert outputs[0].splitlines()[1:] == [line[4:] for line in told.rstrip().splitlines()[1:]]


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
