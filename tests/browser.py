"""Chromium without a window, driven by its DevTools protocol over a websocket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-port=0", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
ANSWER_SECONDS = 60
LARGEST_MESSAGE = 1 << 28


def chromium() -> str | None:
    """The browser of this machine, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab."""

    def __init__(self, socket: WebSocketClientConnection, session: str, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._session, self._loop = socket, session, loop
        self._last = 100
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something, and wait for the answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters, "sessionId": self._session}
        return self._loop.run_until_complete(_ask(self._socket, message, self.events))

    def open(self, path: Path, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Open a file in a window of a size, and wait until it is all there."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height, dark=dark)
        self.send("Page.navigate", url=path.resolve().as_uri())
        for _ in range(600):
            if self.evaluate("document.readyState") == "complete" and self.evaluate("location.protocol") == "file:":
                break
            time.sleep(0.05)
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")

    def resize(self, width: int, height: int, *, dark: bool = False, scale: int = 1) -> None:
        """Another window, and the scheme of colours that the user prefers."""
        phone = width < 600
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key that has a name, such as ``ArrowLeft``."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse from one point of the window to another."""
        (x, y), (to_x, to_y) = start, end
        self.send("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", buttons=1, clickCount=1)
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=to_x, y=to_y, button="left", buttons=1)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=to_x, y=to_y, button="left", clickCount=1)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """What the window shows, or the whole page, as PNG."""
        picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    @property
    def complaints(self) -> list[str]:
        """Everything on the console, exceptions and refused requests included."""
        found = []
        for event in self.events:
            if event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(json.dumps(event["params"])[:600])
        return found

    @property
    def requests(self) -> list[str]:
        """Everything that was asked for, but what an address itself holds."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith("data:")]


async def _ask(socket: WebSocketClientConnection, message: dict[str, Any], events: list[dict[str, Any]]) -> Any:
    await socket.write_message(json.dumps(message))
    while True:
        text = await asyncio.wait_for(socket.read_message(), ANSWER_SECONDS)
        assert text is not None, "the browser has gone"
        answer = json.loads(text)
        if answer.get("id") != message["id"]:
            events.append(answer)
            continue
        assert "error" not in answer, answer
        return answer["result"]


@contextlib.contextmanager
def browser(program: str, folder: Path) -> Iterator[Any]:
    """A browser with an empty profile in ``folder``; gives a function that opens a new tab. It is ended on leaving."""
    profile = folder / "profile"
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    loop = asyncio.new_event_loop()
    try:
        port, path = _wait_for_port(profile / "DevToolsActivePort", process)
        socket = loop.run_until_complete(_connect(f"ws://127.0.0.1:{port}{path}"))

        def new_page() -> Page:
            ask = {"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}
            target = loop.run_until_complete(_ask(socket, ask, []))["targetId"]
            attach = {"id": 2, "method": "Target.attachToTarget", "params": {"targetId": target, "flatten": True}}
            return Page(socket, loop.run_until_complete(_ask(socket, attach, []))["sessionId"], loop)

        yield new_page
        socket.close()
        loop.run_until_complete(asyncio.sleep(0.1))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        loop.close()


async def _connect(address: str) -> WebSocketClientConnection:
    return await websocket_connect(address, max_message_size=LARGEST_MESSAGE)


def _wait_for_port(file: Path, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    for _ in range(600):
        assert process.poll() is None, "the browser did not start"
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = file.read_text().split("\n")
            return int(lines[0]), lines[1]
        time.sleep(0.05)
    raise AssertionError("the browser did not open its port")
