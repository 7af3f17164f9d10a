"""``kseg-batch classes``: names set and printed, of a model and of a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kseg_core import open_store
from kseg_core.store.model import Model

Kseg = Callable[..., Any]
RUN = "run in --k 3 --attempts 1 -o s.zarr"


def test_set_printed_changed_and_taken_away(kseg: Kseg, here: Path) -> None:
    kseg(RUN)
    first = kseg("classes s.zarr").out
    assert "no named classes, k 3" in first
    assert "classes s.zarr NAME=0,1" in first
    told = kseg("classes s.zarr plant=2,0 --color plant=#2CA02C --json").json()
    assert (told["changed"], told["named"], [each["name"] for each in told["classes"]]) == (True, 1, ["plant", "1"])
    assert told["classes"][0]["clusters"] == [0, 2]
    assert sum(each["share"] for each in told["classes"]) == pytest.approx(1)
    counts = open_store("s.zarr").attributes["result"]["counts"]
    assert told["classes"][0]["count"] == counts[0] + counts[2]
    lines = kseg("classes s.zarr").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["class", "plant", "1"]
    assert "#2ca02c" in lines[2]
    Path("c.toml").write_text(kseg("classes s.zarr --toml").out)
    kseg("classes s.zarr soil=1")
    assert [each.name for each in open_store("s.zarr").classes or ()] == ["plant", "soil"]
    assert kseg("classes s.zarr --clear --json").json()["named"] == 0
    assert open_store("s.zarr").classes is None
    assert kseg("classes s.zarr --from c.toml --json").json()["classes"] == told["classes"]
    assert kseg("check s.zarr").code == 0


def test_the_same_command_again_writes_nothing(kseg: Kseg, here: Path, every_file: Callable[[Path], Any]) -> None:
    kseg(RUN)
    digest = open_store("s.zarr").model.digest
    kseg("classes s.zarr plant=0 --color plant=#010203")
    before = every_file(Path("s.zarr"))
    assert kseg("classes s.zarr plant=0 --color plant=#010203 --json").json()["changed"] is False
    assert every_file(Path("s.zarr")) == before
    assert open_store("s.zarr").model.digest == digest
    assert "already done" in kseg(RUN).out


def test_of_a_model_that_apply_hands_on(kseg: Kseg, here: Path) -> None:
    kseg("fit in --k 3 --attempts 1 -o m.zarr")
    assert kseg("classes m.zarr plant=1,2").code == 0
    assert "1 named class, k 3" in kseg("classes m.zarr").out
    assert kseg("classes m.zarr plant=0,1").code == kseg("classes m.zarr plant=1,2").code == 0
    assert "--masks is for a store" in kseg("classes m.zarr --masks").err
    assert [each.clusters for each in Model.load("m.zarr").classes or ()] == [(1, 2)]
    kseg("apply in --model m.zarr -o s.zarr")
    assert open_store("s.zarr").classes == Model.load("m.zarr").classes


def test_a_proposal_is_a_file_that_sets_classes(kseg: Kseg, here: Path, every_file: Callable[[Path], Any]) -> None:
    kseg("run in --k 5 --attempts 1 -o s.zarr")
    before = every_file(Path("s.zarr"))
    printed = kseg("classes s.zarr --suggest 3").out
    assert printed.startswith("# s.zarr: 3 classes suggested, k 5\n")
    told = kseg("classes s.zarr --suggest 3 --json").json()
    assert (len(told["classes"]), told["output"], told["toml"] in printed) == (3, None, True)
    assert sum(each["share"] for each in told["classes"]) == pytest.approx(1)
    written = kseg("classes s.zarr --suggest 3 --to c.toml").out
    assert "classes s.zarr --from c.toml" in written
    assert "[classes]" not in written
    assert Path("c.toml").read_text() == told["toml"]
    assert every_file(Path("s.zarr")) == before
    Path("printed.toml").write_text(printed)
    for file in ("printed.toml", "c.toml"):
        taken = kseg(f"classes s.zarr --from {file} --json").json()
        assert [each["clusters"] for each in taken["classes"]] == [each["clusters"] for each in told["classes"]]
        assert kseg("classes s.zarr --clear").code == 0
    assert len(kseg("classes s.zarr --suggest --json").json()["classes"]) >= 2


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("s.zarr plant=9", 2, "there is no cluster 9; clusters are numbered 0 to 2"),
        ("s.zarr plant", 2, "plant=1,2,4"),
        ("s.zarr plant=0 plant=1", 2, "'plant' is given twice"),
        ("s.zarr plant=0 --color plant=red", 2, "'#2ca02c'; got 'red'"),
        ("s.zarr --from none.toml", 2, "none.toml: cannot be read"),
        ("s.zarr --from none.toml --clear", 2, "leave out --clear"),
        ("s.zarr plant=0 --toml", 2, "give it alone"),
        ("s.zarr plant=0 --suggest", 2, "leave out what sets or prints"),
        ("s.zarr --suggest 0", 2, "a number of classes from 1, or none; got '0'"),
        ("s.zarr --to c.toml", 2, "--toml > FILE.toml"),
        ("s.zarr --suggest --to in", 1, "in exists; name another"),
        ("s.zarr --suggest --to none/c.toml", 1, "none/c.toml: there is no such folder"),
        ("m.zarr --suggest", 1, "m.zarr is a model, which has no images"),
        ("none.zarr", 1, "none.zarr: no kseg model or store there"),
        ("i.zarr plant=0", 1, "i.zarr: each of its images has clusters of its own (--scope image)"),
        ("e.zarr plant=0", 1, "e.zarr was made for edges alone"),
    ],
)
def test_refused_with_a_way_out(kseg: Kseg, here: Path, line: str, code: int, said: str) -> None:
    store = line.split()[0]
    made = {
        "s.zarr": RUN,
        "i.zarr": f"{RUN} -o i.zarr --scope image",
        "e.zarr": "edges in -o e.zarr",
        "m.zarr": "fit in --k 2 -o m.zarr",
    }
    if store in made:
        assert kseg(made[store]).code == 0
    found = kseg(f"classes {line}")
    assert (found.code, said in found.err) == (code, True), found.err
    assert found.err.count("\n") == 1


def test_inspect_and_the_end_of_jobs_say_shares_of_classes(kseg: Kseg, here: Path) -> None:
    kseg(RUN)
    assert kseg("inspect s.zarr --json").json()["classes"] == []
    assert "plant" not in kseg("inspect s.zarr").out
    told = kseg("classes s.zarr plant=2,0 --json").json()["classes"]
    found = kseg("inspect s.zarr --json").json()
    assert found["classes"] == told
    assert sum(found["model"]["counts"][j] for j in (0, 2)) == told[0]["count"]
    rows = kseg("classes s.zarr").out.splitlines()[1:]
    Path("c.toml").write_text(kseg("classes s.zarr --toml").out)
    for line in (
        "inspect s.zarr",
        "run in --k 3 --attempts 1 --classes c.toml -o t.zarr",
        "fit in --k 3 --attempts 1 --classes c.toml -o m.zarr",
        "apply in --model m.zarr -o u.zarr",
    ):
        outcome = kseg(line)
        assert outcome.code == 0, outcome.err
        lines = outcome.out.splitlines()
        assert lines[(at := lines.index(rows[0])) : at + len(rows)] == rows, line
