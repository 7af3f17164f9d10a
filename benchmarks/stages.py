"""What each stage of a run costs: python benchmarks/stages.py FOLDER [--k 5] [--repeats 5]

Processor time of one core, stage after stage over the pictures of a folder, as tasks do them, in one process and one
thread; the best of the repeats. Prints the table of "The model" in docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import imageio.v3 as iio
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import feature_space
from kseg_core.clustering.kmeans import finish, solve
from kseg_core.clustering.labelling import label_pixels
from kseg_core.clustering.summary import BatchRule, ChunkSummary, ColorTable, color_counter, summarise
from kseg_core.config import FitSettings, InputSettings, OutputSettings
from kseg_core.inputs.listing import list_inputs
from kseg_core.layers.layer import LayerInput
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.model import Model
from kseg_core.store.record import PieceLabelled
from kseg_core.store.writing import write_image
from workflows.computing.context import merge_all
from workflows.labelling.label import image_record

T = TypeVar("T")
NEW_BYTES = 256 << 20
SETTINGS = InputSettings()
OUTPUT = OutputSettings()


class Stopwatch:
    """Processor time by stage, summed over a pass; the least of all passes."""

    def __init__(self) -> None:
        self._passes: list[dict[str, float]] = []

    def new_pass(self) -> None:
        """Begin again at zero."""
        self._passes.append(defaultdict(float))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what the block takes."""
        began = time.process_time()
        yield
        self._passes[-1][name] += time.process_time() - began

    def best(self, name: str) -> float:
        """Seconds of a whole pass; the first one, which compiles and fills caches, does not count."""
        return min(each[name] for each in self._passes[1:])


def pass_over_files(watch: Stopwatch, pieces: list[Piece], settings: FitSettings, store: Path) -> int:
    """Everything that a run does with its pictures; returns the distinct colours of all tables that were merged."""
    watch.new_pass()
    tables = []
    for piece in pieces:
        with watch.stage("decode"):
            window = piece.read()
        counter = color_counter()
        with watch.stage("count"):
            counter.add(window.samples, window.valid)
        with watch.stage("gather"):
            tables.append(counter.drain())
        del window
    with watch.stage("merge"):
        whole = merge_all(tables)
    space = feature_space("rgb")
    with watch.stage("table"):
        data = ColorPoints.build(whole, space)
    batch = ColorPoints.build(batch_of(pieces, settings), space)
    with watch.stage("solve"):
        centroids, history = solve(data, batch, settings)
    model = Model.from_solution(finish(data, centroids), settings, history)
    (store / "images").mkdir(parents=True)
    for piece in pieces:
        window = piece.read()
        with watch.stage("label"):
            found = label_pixels(window.samples, window.valid, model.space, model.points)
        record = image_record(piece.source, PieceLabelled(found.sums), model, OUTPUT, shared=True)
        with watch.stage("write"):
            write_image(str(store), record, LayerInput(found.labels), model.colors, OUTPUT)
        del window, found
    return sum(table.codes.size for table in tables)


def batch_of(pieces: list[Piece], settings: FitSettings) -> ColorTable:
    """The colours of the first mini-batch."""
    rule = BatchRule.for_pixels(sum(piece.pixels for piece in pieces), settings.batch_pixels, settings.seed)
    parts: list[ChunkSummary] = []
    for piece in pieces:
        window = piece.read()
        parts.append(summarise([window], rule))
    return merge_all(parts).batch


def least(repeats: int, seconds: Callable[[], float]) -> float:
    """The least of some measurements after one that does not count."""
    return min([seconds() for _ in range(repeats + 1)][1:])


def new_memory() -> float:
    """Processor time of memory that was never used before."""
    began = time.process_time()
    np.empty(NEW_BYTES, np.uint8)[::4096] = 1
    return time.process_time() - began


def tiny_run() -> float:
    """Processor time of a run on a picture of 16 x 16 pixels."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        iio.imwrite(Path(folder) / "tiny.png", np.zeros((16, 16, 3), np.uint8))
        line = ["run", "tiny.png", "--k", "1", "--json"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        subprocess.run(
            [sys.executable, "-m", "jobs", *line], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("folder")
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    settings = FitSettings(k=given.k, features="rgb")
    sources = [ImageSource.open(file, SETTINGS) for file in list_inputs([given.folder]).files]
    pieces = [Piece(source, 0, 0, *source.shape) for source in sources]
    watch = Stopwatch()
    for _ in range(given.repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            colors = pass_over_files(watch, pieces, settings, Path(folder) / "store.zarr")
    pixels = sum(piece.pixels for piece in pieces)

    def speed(stage: str) -> str:
        return f"{pixels / watch.best(stage) / 1e6:.0f} Mpx/s"

    print(f"{len(pieces)} pictures, {pixels / 1e6:.1f} MP, {colors} colours in their tables, k {given.k}\n")
    print("| stage | one core |\n|---|---|")
    for stage, told in {
        "start-up and end": f"{least(given.repeats, tiny_run):.2f} s",
        "decode": speed("decode"),
        "memory for new pixels": f"{NEW_BYTES / least(given.repeats, new_memory) / 1e9:.1f} GB/s",
        "count colours": speed("count"),
        "gather a table from the counts": f"{watch.best('gather') / len(pieces) * 1e3:.1f} ms a picture",
        "merge tables": f"{watch.best('merge') / colors * 1e9:.1f} ns a colour",
        "the table of features": f"{watch.best('table'):.2f} s",
        "solve": f"{watch.best('solve'):.2f} s",
        "label, and the sums": speed("label"),
        "write labels and masks": speed("write"),
    }.items():
        print(f"| {stage} | {told} |")


if __name__ == "__main__":
    main()
