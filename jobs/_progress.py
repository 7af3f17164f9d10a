"""Progress: a bar on a terminal; anywhere else nothing, but for a line on a stage that takes long."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Any

import typer

from kseg_core.kernels import compiling

from ._logging import log, writes_json

COMPILING = "compiling, this once"


class LoggedStages:
    """Nobody looks; a log of level info tells when each stage begins, and one line if it takes long.

    Parameters
    ----------
    tell_after
        How many seconds a stage may take in silence; 0: any.
    """

    def __init__(self, tell_after: float) -> None:
        self._tell_after = tell_after
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()  # what is told is told before the stage's end, or not at all

    def stage(self, name: str, images: int, pixels: int) -> None:
        self.close()
        facts = {"stage": name, "images": images, "pixels": pixels}
        size = f": {images} images, {pixels / 1e6:.1f} MP" if pixels else f": {images} images" if images else ""
        log.info("%s%s", name, size, extra={"facts": facts})
        self._name, self._images, self._pixels = name, images, pixels
        self._images_done = self._pixels_done = 0
        if self._tell_after > 0:
            self._timer = threading.Timer(min(self._tell_after, threading.TIMEOUT_MAX), self._tell)
            self._timer.daemon = True
            self._timer.start()

    def advance(self, images: int, pixels: int) -> None:
        self._images_done += images
        self._pixels_done += pixels

    def close(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        """One line: which stage, how many of how many images, how far it is."""
        with self._lock:
            if self._timer is not threading.current_thread():
                return
            done, all_of_it = (self._pixels_done, self._pixels) if self._pixels else (self._images_done, self._images)
            share = min(1.0, done / all_of_it) if all_of_it else None
            parts = [f"{self._images_done} of {self._images} images"] if self._images else []
            parts += [] if share is None else [f"{share:.0%}"]
            parts += [COMPILING] if compiling() and COMPILING not in self._name else []
            told = f"{self._name}: {', '.join([*parts, f'{self._tell_after:g} s so far'])}"
            if writes_json():
                facts = {"stage": self._name, "images": self._images, "images_done": self._images_done, "share": share}
                log.info("%s", told, extra={"facts": {**facts, "seconds": self._tell_after}})
            elif log.isEnabledFor(logging.WARNING):
                typer.echo(told, err=True)


class Bar:
    """What is being done, how many images, megapixels a second, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.text import Text

        class Stage(TextColumn):
            """What is being done, and whether kernels are compiled for it just now."""

            def render(self, task: Any) -> Any:
                text = super().render(task)
                return text.append(f", {COMPILING}") if compiling() and COMPILING not in text.plain else text

        class Left(ProgressColumn):
            """How much time is left; nothing while that is not known."""

            max_refresh = 0.5

            def render(self, task: Any) -> Text:
                seconds = task.time_remaining
                return Text("" if seconds is None else f"· {timedelta(seconds=int(seconds))} left")

        self._progress = Progress(
            SpinnerColumn(),
            Stage("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[images]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            Left(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # what stands in for it while the bar is there does not know its encoding
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
