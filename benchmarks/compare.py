"""Side by side with what people write today: python benchmarks/compare.py --peers-python OTHER/bin/python

Every workload is run by turns, each side as a process of its own that is timed from outside, start-up included, with
two workers; medians and ratios are printed and written into docs/performance.md, with a bar chart. Kernels are compiled
before (the first run of each workload is not counted). Only ratios mean something on a machine that others use too.

DIR has ``photos`` and ``small``, folders of photographs, and ``rasters/cog.tif``, a raster of one 16-bit band; larger
inputs are made of them and kept in --scratch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
CHART = HERE.parent / "docs" / "images" / "performance.png"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Inputs:
    """Where inputs are, and how the peers are started."""

    data: Path
    scratch: Path
    peers: str
    side: int

    @property
    def photos(self) -> str:
        return str(self.data / "photos")

    @property
    def small(self) -> str:
        return str(self.data / "small")

    def tiled(self) -> str:
        path = self.scratch / f"tiled-{self.side}.tif"
        if not path.exists():
            run([sys.executable, str(HERE / "make_bigtiff.py"), self.photos, str(path), "--side", str(self.side)])
        return str(path)

    def bands(self) -> str:
        path = self.scratch / "bands-10000.tif"
        if not path.exists():
            run([sys.executable, str(HERE / "make_bands.py"), str(self.data / "rasters" / "cog.tif"), str(path)])
        return str(path)

    def tenfold(self) -> str:
        folder = self.scratch / "photos-x10"
        folder.mkdir(exist_ok=True)
        for path in Path(self.photos).iterdir():
            for copy in range(10):
                link = folder / f"{copy}-{path.name}"
                if not link.exists():
                    copy_of(path.resolve(), link)
        return str(folder)

    def peer(self, way: str, source: str, k: int) -> list[str]:
        return [self.peers, str(HERE / "peers.py"), way, source, "OUT", str(k), "--workers", "2"]


def copy_of(path: Path, other: Path) -> None:
    """Another name of a file, or a copy on another disk; a symbolic link would be the same input given twice."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def ours(command: str, source: str, *options: str, workers: int = 2) -> list[str]:
    return [sys.executable, "-m", "jobs", command, source, "-o", "OUT", "--json", "--workers", str(workers), *options]


@dataclass(frozen=True)
class Workload:
    """Two commands; the ratio of ours to the other is to be at most ``limit``, and ``aim`` is what is wished for."""

    title: str
    other: Callable[[Inputs], list[str]]
    mine: Callable[[Inputs], list[str]]
    limit: float
    aim: float
    names: tuple[str, str] = ("peer", "kseg-batch")


WORKLOADS = {
    "photos": Workload(
        "photos, k 5, against reading and writing alone",
        lambda it: it.peer("floor", it.photos, 5),
        lambda it: ours("run", it.photos, "--k", "5"),
        1.0,
        0.6,
    ),
    "photos-16": Workload(
        "photos, k 16, against reading and writing alone",
        lambda it: it.peer("floor", it.photos, 16),
        lambda it: ours("run", it.photos, "--k", "16"),
        1.2,
        0.6,
    ),
    "small": Workload(
        "200 small photographs, k 5, against reading and writing alone",
        lambda it: it.peer("floor", it.small, 5),
        lambda it: ours("run", it.small, "--k", "5"),
        1.0,
        0.4,
    ),
    "tiled": Workload(
        "a tiled BigTIFF, k 5, against reading and writing alone",
        lambda it: it.peer("floor-tiled", it.tiled(), 5),
        lambda it: ours("run", it.tiled(), "--k", "5", "--no-pyramid"),
        1.2,
        0.8,
    ),
    "bands": Workload(
        "four 16-bit bands, 100 MP, k 8, against MiniBatchKMeans on a sample",
        lambda it: it.peer("minibatch-bands", it.bands(), 8),
        lambda it: ours("run", it.bands(), "--k", "8", "--features", "bands", "--no-pyramid"),
        1 / 5,
        1 / 15,
    ),
    "sweep": Workload(
        "photos, fits for every k from 1 to 10, against the fit for k 5",
        lambda it: ours("fit", it.photos, "--k", "5"),
        lambda it: ours("sweep", it.photos, "--k-range", "1:10"),
        2.0,
        1.3,
        ("fit k 5", "sweep"),
    ),
    "workers": Workload(
        "photos, k 5, two workers against one",
        lambda it: ours("run", it.photos, "--k", "5", workers=1),
        lambda it: ours("run", it.photos, "--k", "5"),
        1 / 1.7,
        1 / 1.95,
        ("one worker", "two"),
    ),
    "tenfold": Workload(
        "photos ten times over, k 5, against once",
        lambda it: ours("run", it.photos, "--k", "5"),
        lambda it: ours("run", it.tenfold(), "--k", "5"),
        10.0,
        9.5,
        ("once", "ten times"),
    ),
    "kmeans": Workload(
        "photos, k 5, against scikit-learn's KMeans on a sample",
        lambda it: it.peer("kmeans", it.photos, 5),
        lambda it: ours("run", it.photos, "--k", "5"),
        1.0,
        1.0,
    ),
    "minibatch": Workload(
        "photos, k 5, against MiniBatchKMeans on a sample",
        lambda it: it.peer("minibatch", it.photos, 5),
        lambda it: ours("run", it.photos, "--k", "5"),
        1.0,
        1.0,
    ),
    "opencv": Workload(
        "photos, k 5, against OpenCV on a sample",
        lambda it: it.peer("opencv", it.photos, 5),
        lambda it: ours("run", it.photos, "--k", "5"),
        1.0,
        1.0,
    ),
}


@dataclass
class Timed:
    """Runs of one side."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def add(self, seconds: float, cpu: float, peak_bytes: int) -> None:
        self.seconds.append(seconds)
        self.cpu.append(cpu)
        self.peak_bytes = max(self.peak_bytes, peak_bytes)


def run(command: Sequence[str]) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and peak memory of a process."""
    with tempfile.TemporaryFile() as told:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            told.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{told.read().decode(errors='replace')}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def timed(command: list[str], scratch: Path) -> tuple[float, float, int]:
    """A run whose output is removed before and after."""
    output = scratch / "out.zarr"
    clear(output)
    try:
        return run([str(output) if part == "OUT" else part for part in command])
    finally:
        clear(output)


def clear(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)


def compare(work: Workload, inputs: Inputs, repeats: int) -> tuple[Timed, Timed]:
    commands = work.other(inputs), work.mine(inputs)
    sides = Timed(), Timed()
    for command in commands:
        timed(command, inputs.scratch)  # files in the page cache, kernels compiled
    for _ in range(repeats):
        for command, side in zip(commands, sides, strict=True):
            side.add(*timed(command, inputs.scratch))
    return sides


@dataclass(frozen=True)
class Result:
    """A row of the table."""

    work: Workload
    other: Timed
    mine: Timed

    @property
    def ratio(self) -> float:
        return self.mine.median / self.other.median

    @property
    def cpu_ratio(self) -> float:
        return statistics.median(self.mine.cpu) / statistics.median(self.other.cpu)

    def row(self) -> str:
        other, mine = self.work.names
        return (
            f"| {self.work.title} | {other}: {self.other.median:.1f} | {mine}: {self.mine.median:.1f} "
            f"| **{self.ratio:.2f}** | {self.cpu_ratio:.2f} | {self.work.limit:.2f} | {self.work.aim:.2f} "
            f"| {self.other.peak_bytes / 1e6:.0f} / {self.mine.peak_bytes / 1e6:.0f} |"
        )


def table(results: Sequence[Result], repeats: int) -> str:
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    head = [
        f"Medians of {repeats} alternating runs of whole processes, two workers, {os.cpu_count()} cores; load average "
        f"at the end: {loads}.",
        "",
        "| workload | other side, s | ours, s | ratio | ratio of processor time | at most | aim | peak memory, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(result.row() for result in results)])


def draw(results: Sequence[Result], path: Path) -> None:
    """A bar a workload: our time as a share of what it is to be at most."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.6 * len(results) + 1.2), layout="constrained")
    shares = [result.ratio / result.work.limit for result in results]
    colors = ["#3b7a57" if share <= 1 else "#b5543c" for share in shares]
    bars = axes.barh([result.work.title for result in results], shares, color=colors)
    axes.bar_label(bars, [f" ratio {result.ratio:.2f}" for result in results], fontsize=8)
    for at, result in enumerate(results):
        axes.plot([result.work.aim / result.work.limit] * 2, [at - 0.4, at + 0.4], color="black", linewidth=1.5)
    axes.axvline(1.0, color="gray", linestyle="--", linewidth=1)
    axes.set_xlabel("time as a share of the most it may take (dashed); black: the aim")
    axes.set_xlim(0, max([1.2, *(1.15 * share for share in shares)]))
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def write_page(text: str) -> None:
    """Replace what was measured before."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers' libraries")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "kseg-compare")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=20_000, help="of the tiled BigTIFF")
    parser.add_argument("--no-page", action="store_true", help="print the table and leave docs/ as it is")
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(options.data, options.scratch, options.peers_python, options.side)
    results = []
    for name in options.only:
        work = WORKLOADS[name]
        result = Result(work, *compare(work, inputs, options.repeats))
        results.append(result)
        print(f"{name}: {json.dumps({'other': result.other.seconds, 'ours': result.mine.seconds})}", file=sys.stderr)
        print(result.row(), flush=True)
    text = table(results, options.repeats)
    print(text)
    if not options.no_page:
        draw(results, CHART)
        write_page(f"{text}\n\n![Time as a share of the most it may take](images/{CHART.name})")


if __name__ == "__main__":
    main()
