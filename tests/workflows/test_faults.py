"""Workers die, pause or never come, a scheduler goes: nothing is lost, and what went wrong is said."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dask.delayed import delayed
from distributed import Client
from distributed.chaos import KillWorker

from kseg_core.errors import KsegError
from tests.killing import folder_of_pictures
from workflows.computing import cluster as clusters
from workflows.computing.cluster import ClusterExecutor
from workflows.computing.executor import LocalExecutor, TasksKilled

Contents = Callable[[Path], dict[str, str]]

# ------------------------------------------------------------------------------------------------- lost workers


def _end_the_process(_: Any) -> None:
    os._exit(1)


def _double(value: int) -> int:
    return 2 * value


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_no_task_runs_in_the_thread_in_which_python_raises_what_signals_mean(scheduler: str) -> None:
    executor = LocalExecutor(scheduler, None)
    try:
        (ran_in,) = executor.compute([delayed(threading.get_ident)()])
    finally:
        executor.close()
    assert ran_in != threading.get_ident()


def test_a_task_that_kills_is_told_with_the_results_of_the_others() -> None:
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        lazy = [delayed(_double)(1), delayed(_end_the_process)(2), delayed(_double)(3)]
        with pytest.raises(TasksKilled) as told:
            executor.compute(lazy, lazy)
        deaths, results = told.value.deaths, told.value.results
        assert deaths[1] == 2  # and of a neighbour, if it waited in the same worker
        assert results is not None
        assert results == [None if i in deaths else value for i, value in enumerate([2, None, 6])]


@pytest.mark.slow
def test_a_task_that_nobody_watches_is_tried_again_and_then_an_error_with_advice() -> None:
    with clusters.own_processes(1, 1 << 30) as client, pytest.raises(KsegError, match=r"too little memory: .*--memory"):
        ClusterExecutor(client).compute([delayed(_end_the_process)(2)])


def test_no_worker_left_ends_after_a_stated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "NO_WORKER_SECONDS", 1)
    monkeypatch.setattr(clusters, "LOOK_SECONDS", 0.2)
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        client.cluster.scale(0)
        while client.nthreads():
            time.sleep(0.05)
        with pytest.raises(KsegError, match="no worker is left, and none came within 1 seconds"):
            executor.compute([delayed(_double)(1)])


def _pause_above(share_of_memory: float, dask_worker: Any) -> None:
    dask_worker.memory_manager.memory_pause_fraction = share_of_memory


@pytest.mark.slow
def test_workers_that_stay_paused_end_a_job_and_one_that_wakes_up_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PAUSED_SECONDS", 2)
    monkeypatch.setattr(clusters, "LOOK_SECONDS", 0.2)
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        client.run(_pause_above, 1e-6)
        time.sleep(1)  # it looks at its memory every now and then
        with pytest.raises(KsegError, match="paused for 2 seconds: their memory is full"):
            executor.compute([delayed(_double)(1)])
        client.run(_pause_above, 0.8)
        assert executor.compute([delayed(_double)(4)]) == [8]


@pytest.mark.slow
def test_what_is_shared_survives_the_worker_that_has_it() -> None:
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        shared = executor.share(21)
        assert executor.compute([delayed(_double)(shared)]) == [42]
        client.restart_workers(list(client.nthreads()))
        assert executor.compute([delayed(_double)(shared, dask_key_name="again")]) == [42]


# ------------------------------------------------------------------------------------------------------- chaos


def _processes(client: Client) -> set[int]:
    return {answer for answer in client.run(os.getpid, on_error="return").values() if isinstance(answer, int)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path, job: Any, contents: Contents) -> Any:
    """What a store holds that is made where nobody dies."""
    store = tmp_path_factory.mktemp("undisturbed") / "whole.zarr"
    job(smooth_folder, store, tile=128)
    return contents(store)


@pytest.fixture
def restless_cluster(tmp_path: Path, program_environment: dict[str, str]) -> Iterator[str]:
    """A scheduler and two workers that are started again whenever they end, by a batch system or by Dask's nanny.

    They have imported all that tasks need before they join, or would spend much of their short lives on it.
    """
    file = tmp_path / "scheduler.json"
    dask = f"'{sys.executable}' -m dask"
    here = f"--host 127.0.0.1 --dashboard-address 127.0.0.1:0 --scheduler-file '{file}'"
    options = f"--nthreads 1 --memory-limit 0 --preload workflows.run --local-directory '{tmp_path}'"
    worker = f"while :; do {dask} worker {here} {options} %s; done"
    started = [
        subprocess.Popen(
            ["/bin/sh", "-c", line],
            env=program_environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for line in (f"exec {dask} scheduler {here} --port 0", worker % "--no-nanny", worker % "--nanny")
    ]
    try:
        yield _address_in(file)
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address_in(file: Path) -> str:
    for _ in range(600):
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(file.read_bytes())["address"])
        time.sleep(0.1)
    pytest.fail("the scheduler did not start")


@pytest.mark.slow  # test_same_bits.py kills one at each stage
@pytest.mark.parametrize("mode", ["sys.exit", "graceful", "segfault"])
def test_workers_that_die_at_random_change_no_bit(
    mode: Any,
    restless_cluster: str,
    undisturbed: Any,
    smooth_folder: Path,
    tmp_path: Path,
    job: Any,
    contents: Contents,
) -> None:
    with Client(restless_cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        seen = _processes(client)
        begun = time.monotonic()
        job(smooth_folder, tmp_path / "first.zarr", scheduler=restless_cluster, tile=128)
        life = max(2.5, 2 * (time.monotonic() - begun))  # a new worker must live to end its first task
        client.register_plugin(KillWorker(delay=f"{life} s", mode=mode), name="chaos")
        for attempt in itertools.count():
            disturbed = tmp_path / f"disturbed-{attempt}.zarr"
            job(smooth_folder, disturbed, scheduler=restless_cluster, tile=128)
            assert contents(disturbed) == undisturbed
            seen |= _processes(client)
            if len(seen) >= 5 or time.monotonic() > begun + 150:  # three have died, or more
                break
    assert len(seen) >= 5


# --------------------------------------------------------------------------------------------- lost scheduler


@contextlib.contextmanager
def lone_cluster(
    folder: Path, environment: dict[str, str], port: str = "0", workers: int = 1
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler with one worker or none, each a process."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]
    options: dict[str, Any] = {"env": environment, "cwd": folder}
    options |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    alone = ["--nthreads", "1", "--no-nanny", "--death-timeout", "20"]
    processes = [subprocess.Popen([*command, "scheduler", *here, "--port", port], **options)]
    processes += [subprocess.Popen([*command, "worker", *here, *alone], **options) for _ in range(workers)]
    try:
        yield _address_in(file), processes[0]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def many_pictures(tmp_path_factory: pytest.TempPathFactory, job: Any, contents: Contents) -> tuple[Path, Any]:
    """A folder of pictures, and what their store holds."""
    here = tmp_path_factory.mktemp("many")
    job(folder_of_pictures(here / "in", 24), here / "whole.zarr", attempts=1, scheduler="threads")
    return here / "in", contents(here / "whole.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("moment", [pytest.param("fit", marks=pytest.mark.slow), "labels"])
def test_a_scheduler_that_is_killed_ends_the_job_and_once_it_is_back_the_same_command_completes_it(
    moment: str,
    many_pictures: tuple[Path, Any],
    tmp_path: Path,
    program: Any,
    program_environment: dict[str, str],
    contents: Contents,
) -> None:
    pictures, whole = many_pictures
    output = tmp_path / "out.zarr"
    line = ["run", str(pictures), "--k", "4", "--attempts", "1", "-o", str(output), "--scheduler"]
    with lone_cluster(tmp_path, program_environment) as (address, scheduler):
        running = subprocess.Popen(
            [sys.executable, "-m", "jobs", *line, address],
            env=program_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        begun = {"fit": lambda: list(tmp_path.glob(".out.zarr.resume/*/*.kept")), "labels": lambda: images_in(output)}
        for _ in range(20_000):
            if begun[moment]():
                break
            time.sleep(0.005)
        scheduler.send_signal(signal.SIGKILL)
        out, err = running.communicate(timeout=100)
    assert (running.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert "the Dask scheduler at" in err
    assert "is gone" in err
    assert "the same command goes on" in err
    finished = images_in(output) if moment == "labels" else []
    times = {path: path.stat().st_mtime_ns for path in finished}
    port = address.rpartition(":")[2]
    with lone_cluster(tmp_path, program_environment, port) as (again, _):
        assert again == address
        done = program(*line, address, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["images"]["reused"] == len(finished)
    assert {path: path.stat().st_mtime_ns for path in finished} == times
    assert contents(output) == whole


def images_in(store: Path) -> list[Path]:
    """The documents of its finished images."""
    found = store.glob("images/*/zarr.json")
    return [path for path in found if b'"complete"' in path.read_bytes()]


@pytest.mark.slow
def test_no_worker_ever_coming_ends_after_a_stated_time(
    tmp_path: Path,
    smooth_folder: Path,
    kseg: Any,
    program_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 4)
    line = ["run", smooth_folder, "--k", "3", "--attempts", "1", "-o", tmp_path / "out.zarr"]
    with lone_cluster(tmp_path, program_environment, workers=0) as (address, _):
        began = time.monotonic()
        done = kseg(*line, "--scheduler", address)
        took = time.monotonic() - began
    assert (done.code, done.out) == (1, "")
    assert f"the scheduler at {address} has no worker; start some with: dask worker {address}" in done.err
    assert done.err.count("\n") == 1
    assert clusters.CONNECT_SECONDS <= took < clusters.CONNECT_SECONDS + 20
    assert not (tmp_path / "out.zarr").exists()
    assert kseg(*line).code == 0
