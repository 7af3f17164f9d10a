"""A report's page in the browser."""

from __future__ import annotations

import contextlib
import os
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from ._logging import log
from ._render import printable

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # without any, only browsers that take the terminal would be found


def open_in_browser(page: str) -> None:
    """Open a page; where that cannot be done, say in one line where it is."""
    shown = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in DISPLAYS)
    if shown:
        with _nothing_said():
            shown = webbrowser.open(Path(page).resolve().as_uri())
    if not shown:
        log.warning("no browser can be opened here; the page is %s", printable(page))


@contextlib.contextmanager
def _nothing_said() -> Iterator[None]:
    """What a browser writes goes nowhere: stdout is ours, and may be one JSON object."""
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    kept = [os.dup(number) for number in (0, 1, 2)]
    try:
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, file in enumerate(kept):
            os.dup2(file, number)
            os.close(file)
        os.close(nowhere)
