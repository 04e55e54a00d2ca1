"""A real browser without a window, to open pages as a person does.

It is spoken to by the Chrome DevTools Protocol, https://chromedevtools.github.io/devtools-protocol.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 60
"""The longest that anything may take."""


def find_browser() -> str | None:
    """Return the path of the first of `NAMES` that is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """A page that is open."""

    def __init__(self, socket: ClientConnection):
        self.complaints: list[str] = []
        """What its console says: errors, warnings, and what the security policy forbade."""
        self.fetched: list[str] = []
        """What it asked for, but for what it holds itself."""
        self._socket = socket
        self._session: str | None = None
        self._sent = 0
        self._seen: set[str] = set()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something and return its answer."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while (answer := self._receive()).get("id") != self._sent:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path) -> None:
        """Open a file and wait until it is whole."""
        self.complaints.clear()
        self.fetched.clear()
        self._seen.discard("Page.loadEventFired")
        self.call("Page.navigate", url=page.resolve().as_uri())
        while "Page.loadEventFired" not in self._seen:
            self._receive()
        self.fetched.remove(page.resolve().as_uri())

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, element: str) -> None:
        """Click with the mouse on what a JavaScript expression returns."""
        place = self.evaluate(
            f"(e => {{ e.scrollIntoView({{block: 'center', inline: 'center'}});"
            "const box = e.getBoundingClientRect();"
            f"return {{x: box.x + box.width / 2, y: box.y + box.height / 2}}; }})({element})"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def press_enter(self) -> None:
        """Press Enter, which goes to what has the focus."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=SECONDS))
        told = message.get("params", {})
        match message.get("method"):
            case "Log.entryAdded":
                self.complaints.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(told["args"]))
            case "Network.requestWillBeSent":
                if not told["request"]["url"].startswith("data:"):
                    self.fetched.append(told["request"]["url"])
        self._seen.add(message.get("method", ""))
        return message


@contextmanager
def new_tab(browser: str, profile: Path) -> Iterator[Tab]:
    """Start a browser that keeps its files in ``profile``, an empty folder, and end it."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(
        [browser, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            with connect(_address(process, profile), proxy=None, max_size=None) as socket:
                yield Tab(socket)
                socket.send(json.dumps({"id": 0, "method": "Browser.close"}))
                process.wait(SECONDS)
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Return where the browser listens, once it does."""
    file = profile / "DevToolsActivePort"
    end = time.monotonic() + SECONDS
    while not (file.exists() and len(lines := file.read_text().split()) == 2):
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
