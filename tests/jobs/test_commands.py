"""Each command calls one workflow with what was prepared for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kseg_core.config import ExecutionSettings, FitSettings, RunConfig
from workflows import check, inspect
from workflows import run as jobs_of_workflows
from workflows.request import Request
from workflows.result import Counted, JobResult

Kseg = Callable[..., Any]
RESULT = JobResult("o.zarr", Counted(3, 3), 10, 10, (), {"total": 1.0, "fit": 0.5, "label": 0.5}, inertia=1.0)


@pytest.mark.parametrize(
    ("command", "function", "kind"),
    [
        (("run", "--k", "3"), "run", "store"),
        (("fit", "--k", "3"), "fit", "model"),
        (("apply", "--model", "m.zarr"), "run", "store"),
    ],
)
def test_a_command_calls_one_workflow_with_the_request_that_was_prepared(
    command: tuple[str, ...],
    function: str,
    kind: str,
    kseg: Kseg,
    small_folder: Path,
    tmp_path: Path,
    job: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    job(small_folder, tmp_path / "m.zarr", k=2)
    calls: list[tuple[str, Request]] = []
    for name in ("run", "fit"):
        monkeypatch.setattr(
            jobs_of_workflows, name, lambda request, progress, name=name: calls.append((name, request)) or RESULT
        )
    outcome = kseg(command[0], small_folder, "-o", "o.zarr", *command[1:])
    assert (outcome.code, outcome.err) == (0, "")
    ((called, request),) = calls
    assert called == function
    assert request.output == "o.zarr"
    assert [file.key for file in request.listing.files] == ["a.png", "b.png", "c.png"]
    if command[0] == "apply":
        assert request.config == RunConfig(None, model="m.zarr")
    else:
        assert request.config == RunConfig(FitSettings(3))


def test_inspect_describes_the_store_it_is_given(kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"format": 1, "status": "complete", "model": None, "images": [], "failures": []}
    calls: list[Any] = []
    monkeypatch.setattr(inspect, "describe", lambda *given: calls.append(given) or found)
    outcome = kseg("inspect", "some.zarr", "--json")
    assert (outcome.code, outcome.json(), calls) == (0, found, [("some.zarr",)])


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("failed", 1)])
def test_check_verifies_the_store_it_is_given_where_it_is_told_to(
    status: str, code: int, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = [] if status == "ok" else ["a.png: bad"]
    counted: dict[str, Any] = {"images": 1, "compared": 0, "not_compared": {}, "damaged": []}
    found = {"status": status, "problems": problems, **counted}
    calls: list[Any] = []
    monkeypatch.setattr(check, "check_store", lambda *given: calls.append(given[:2]) or found)
    outcome = kseg("check", "some.zarr", "--json", "--scheduler", "processes", "--workers", "2")
    assert (outcome.code, outcome.json()) == (code, found)
    assert calls == [("some.zarr", ExecutionSettings("processes", 2))]


@pytest.mark.parametrize("command", ["run", "fit", "apply"])
def test_a_dry_run_changes_nothing(command: str, kseg: Kseg, png: Any, smooth: Any, tmp_path: Path) -> None:
    png(tmp_path / "in" / "a.png", smooth(40, 50, 1))
    model = tmp_path / "m.zarr"
    assert kseg("fit", tmp_path / "in", "--k", "2", "-o", model).code == 0
    how = ["--model", model] if command == "apply" else ["--k", "2"]
    before = sorted(tmp_path.rglob("*"))
    outcome = kseg(command, tmp_path / "in", *how, "-o", tmp_path / "out.zarr", "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["status"] == "dry-run"
    assert outcome.json()["pixels"]["total"] == 2000
    assert sorted(tmp_path.rglob("*")) == before
