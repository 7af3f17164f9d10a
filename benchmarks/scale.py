"""What scheduling costs: python benchmarks/scale.py [--tiles 100 1000 10000] [--workers 2]

An image that does not exist is gathered and labelled in pieces by this program's own graphs on a real scheduler with
processes, but nothing is read or computed: what is measured is the price of a task. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import psutil
from dask.base import tokenize
from dask.delayed import delayed
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin
from synthetic import label_nothing, read_nothing

from kseg_core.images import PictureInfo
from kseg_core.inputs.listing import InputFile
from kseg_core.reading.sources import PIECE_PX, ImageSource, Piece
from workflows.computing.cluster import ClusterExecutor, own_processes
from workflows.computing.context import Context
from workflows.computing.executor import Silent
from workflows.fitting.gather import gather_plan, merge_found
from workflows.planning.plan import Plan, make_plan


def synthetic_plan(tiles: int, workers: int) -> Plan:
    """One image of so many pieces."""
    side = int(PIECE_PX**0.5)
    shape = (side, side * tiles)
    info = PictureInfo("TIFF", shape, 3, "uint8", (512, 512), None)
    file = InputFile("/no/such/image.tif", "image.tif", "image.tif", 1, 1)
    return make_plan([ImageSource(file, info)], 1024, workers)


class Traffic(SchedulerPlugin):
    """Counts what the scheduler does, from within it."""

    name = "traffic"

    def __init__(self) -> None:
        self.tasks = 0

    def transition(self, _key: Any, _start: str, finish: str, *_: Any, **__: Any) -> None:
        self.tasks += finish == "memory"


def finished_tasks(dask_scheduler: Any) -> int:
    return int(dask_scheduler.plugins["traffic"].tasks)


def processor_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def sent_bytes() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)


def measure(client: Client, name: str, tiles: int, work: Any) -> str:
    """One row: the stage's cost, in all and a tile."""
    before = client.run_on_scheduler(finished_tasks), processor_seconds(), sent_bytes()
    start = time.perf_counter()
    resident = psutil.Process().memory_info().rss
    work()
    held = max(0, psutil.Process().memory_info().rss - resident)
    seconds = time.perf_counter() - start
    tasks = client.run_on_scheduler(finished_tasks) - before[0]
    busy, moved = processor_seconds() - before[1], sent_bytes() - before[2]
    return (
        f"| {name} | {tiles:,} | {tasks:,} | {seconds:.1f} | {seconds / tiles * 1e3:.2f} | {busy / tiles * 1e3:.2f} "
        f"| {moved / tiles / 1e3:.1f} | {held / 1e6:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with own_processes(options.workers, 1 << 30) as client:
        client.register_plugin(Traffic())
        executor = ClusterExecutor(client)
        columns = ("stage", "pieces", "tasks", "seconds", "ms a piece", "scheduler + client ms a piece")
        print("|", " | ".join([*columns, "kB moved a piece", "MB more in client and scheduler"]), "|")
        print("|---|---|---|---|---|---|---|---|")
        for tiles in options.tiles:
            plan = synthetic_plan(tiles, options.workers)
            (pieces,) = plan.large

            def gather_all(plan: Plan = plan) -> None:
                merged = gather_plan(plan, read_nothing, merge_found, None, Context(executor, Silent(), strict=True))
                gathered = executor.compute([merged])[0]
                assert gathered.found.counts[0] == plan.pixels

            def label_all(pieces: tuple[Piece, ...] = pieces) -> None:
                task = delayed(label_nothing, pure=False)
                lazy = (task(piece, dask_key_name=f"label-{tokenize(piece)}") for piece in pieces)
                assert sum(1 for _ in Context(executor, Silent()).each(lazy)) == len(pieces)

            print(measure(client, "gather", tiles, gather_all), flush=True)
            print(measure(client, "label", tiles, label_all), flush=True)


if __name__ == "__main__":
    main()
