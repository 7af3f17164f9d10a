"""Whoever uses Dask beside us keeps their own client, and we keep ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dask.delayed import delayed
from distributed import Client, default_client

from kseg_core.config import ExecutionSettings
from workflows.computing.context import open_executor


@pytest.fixture
def execution(request: pytest.FixtureRequest) -> ExecutionSettings:
    if request.param == "processes":
        return ExecutionSettings("processes", 1)
    return ExecutionSettings(request.getfixturevalue("cluster").address)


@pytest.fixture
def their_client() -> Iterator[Client]:
    """The default client of a program that uses us, whose cluster is this very process."""
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        yield client


def places(execution: ExecutionSettings) -> list[set[int]]:
    """The processes in which an executor computes, keeps and shares."""
    where = delayed(os.getpid, pure=False)
    with open_executor(execution) as executor:
        tasks = [where() for _ in range(3)]
        computed = executor.compute(tasks, tasks)
        kept = executor.persist([where()])
        shared = executor.share(7)
        passed = executor.compute([delayed(lambda value, _: (value, os.getpid()))(shared, kept[0])])
        assert passed[0][0] == 7
        return [set(computed), set(executor.compute(kept)), {passed[0][1]}]


def slow(where: str) -> Any:
    return pytest.param(where, marks=pytest.mark.slow)


@pytest.mark.parametrize("execution", ["processes", slow("address")], indirect=True)
def test_a_job_makes_no_client_of_its_own_the_default(execution: ExecutionSettings) -> None:
    with open_executor(execution) as executor:
        with pytest.raises(ValueError, match="No clients found"):
            default_client()
        assert delayed(os.getpid)().compute() == os.getpid()
        assert executor.compute([delayed(os.getpid)()]) != [os.getpid()]


@pytest.mark.parametrize("execution", [slow("processes"), "address"], indirect=True)
def test_a_job_goes_to_its_own_cluster_whoever_is_the_default(
    execution: ExecutionSettings, their_client: Client
) -> None:
    assert all(os.getpid() not in there for there in places(execution))
    assert default_client() is their_client
    assert delayed(os.getpid)().compute() == os.getpid()


@pytest.mark.parametrize("execution", [slow("processes"), "address"], indirect=True)
def test_a_performance_report_is_of_our_cluster_and_leaves_the_default_alone(
    execution: ExecutionSettings, their_client: Client, tmp_path: Path
) -> None:
    pytest.importorskip("bokeh", reason="Dask draws it with Bokeh")
    page = tmp_path / "run.html"
    reported = ExecutionSettings(execution.scheduler, execution.workers, performance_report=str(page))
    with open_executor(reported) as executor:
        executor.compute([delayed(os.getppid, pure=False)()])
    assert "getppid" in page.read_text()
    assert default_client() is their_client
