"""A progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

from typing import Any

from ._logging import log


class LoggedStages:
    """Nobody looks; a log of level info tells when each stage begins."""

    def stage(self, name: str, images: int, pixels: int) -> None:
        facts = {"stage": name, "images": images, "pixels": pixels}
        size = f": {images} images, {pixels / 1e6:.1f} MP" if pixels else f": {images} images" if images else ""
        log.info("%s%s", name, size, extra={"facts": facts})

    def advance(self, images: int, pixels: int) -> None:
        pass

    def close(self) -> None:
        pass


class Bar:
    """What is being done, how many images, megapixels a second, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[images]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = None
        self._images = self._done = 0

    def stage(self, name: str, images: int, pixels: int) -> None:
        """Begin a new line of progress."""
        if self._task is None:
            self._progress.start()
        else:
            self._progress.remove_task(self._task)
        self._images, self._done = images, 0
        total = (pixels or images) or None
        self._task = self._progress.add_task(name, total=total, images=self._count(), speed="")
        self._by_pixels = pixels > 0

    def advance(self, images: int, pixels: int) -> None:
        """Move it on."""
        self._done += images
        self._progress.update(self._task, advance=pixels if self._by_pixels else images, images=self._count())
        task = self._progress.tasks[-1]
        if self._by_pixels and task.elapsed:
            self._progress.update(self._task, speed=f"{task.completed / 1e6 / task.elapsed:.0f} MP/s")

    def _count(self) -> str:
        return f"{self._done}/{self._images} images" if self._images else ""

    def close(self) -> None:
        """Take it off the terminal."""
        self._progress.stop()
