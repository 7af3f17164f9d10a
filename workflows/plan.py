"""From a list of files to images of known size, and to bundles worth a task each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask.base import tokenize
from dask.delayed import delayed

from kseg_core.errors import UnreadableImage
from kseg_core.inputs import InputFile
from kseg_core.sources import ImageSource

from .executor import Executor
from .progress import Progress

HEADERS_PER_TASK = 64  # a header takes about a tenth of a millisecond, a task about one
BUNDLE_PX = 8_000_000  # about a tenth of a second of decoding: a task's own cost is below one per cent
BUNDLE_IMAGES = 64  # so that progress is seen and a lost worker loses little
TASKS_PER_WORKER = 4  # enough pieces to keep all workers busy to the end

Bundle = tuple[ImageSource, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that cannot be labelled, with its name in the store."""

    key: str
    error: UnreadableImage


def open_files(files: Sequence[InputFile], strict: bool) -> tuple[list[ImageSource], list[Failure]]:
    """A task: look at some headers."""
    sources, failures = [], []
    for file in files:
        try:
            sources.append(ImageSource.open(file))
        except UnreadableImage as error:
            if strict:
                raise
            failures.append(Failure(file.key, error))
    return sources, failures


def look_at_headers(
    files: Sequence[InputFile], executor: Executor, progress: Progress, *, strict: bool
) -> tuple[list[ImageSource], list[Failure]]:
    """Which files are images, and how large, in the order given."""
    progress.stage("looking at headers", len(files), 0)
    groups = [files[at : at + HEADERS_PER_TASK] for at in range(0, len(files), HEADERS_PER_TASK)]
    task = delayed(open_files, pure=True)
    lazy = [task(group, strict, dask_key_name=f"open-files-{tokenize(group)}") for group in groups]
    sources: list[ImageSource] = []
    failures: list[Failure] = []
    for found, bad in executor.compute(lazy, lazy, lambda i: progress.advance(len(groups[i]), 0)):
        sources += found
        failures += bad
    return sources, failures


def bundle_images(sources: Sequence[ImageSource], workers: int) -> list[Bundle]:
    """Neighbours together until a bundle is worth a task; a large image is a bundle of its own."""
    total = sum(source.pixels for source in sources)
    target = min(BUNDLE_PX, max(1, total // (workers * TASKS_PER_WORKER)))
    bundles: list[Bundle] = []
    current: list[ImageSource] = []
    size = 0
    for source in sources:
        if current and (size + source.pixels > target or len(current) >= BUNDLE_IMAGES):
            bundles.append(tuple(current))
            current, size = [], 0
        current.append(source)
        size += source.pixels
    if current:
        bundles.append(tuple(current))
    return sorted(bundles, key=lambda bundle: -sum(source.pixels for source in bundle))
