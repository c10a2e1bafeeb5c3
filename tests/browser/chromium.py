"""Headless Chromium, driven over the pipe that it offers for this: no other package is wanted."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
ANSWER_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.02

KEYS: Final = {
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
}


def executable() -> str:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert browser, f"none of {', '.join(BROWSERS)} is installed"
    return browser


class Page:
    """One tab. requests: the addresses of all that it has asked for. complaints: of its console."""

    def __init__(self, pipe_in: int, pipe_out: int) -> None:
        self._in, self._out = pipe_in, pipe_out
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self._loaded = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                found: dict[str, Any] = answer["result"]
                return found

    def _hear(self) -> None:
        """What has happened meanwhile comes before an answer of the browser itself."""
        session, self._session = self._session, None
        self.call("Browser.getVersion")
        self._session = session

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif message.get("method") == "Page.loadEventFired":
            self._loaded += 1
        return message

    def looks(self, width: int, *, dark: bool = False, height: int = 900) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, url: str) -> None:
        with self.loading():
            assert not self.call("Page.navigate", url=url).get("errorText")

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Returns when the page that is gone to within it is there."""
        before = self._loaded
        yield
        self.until(lambda: self._loaded > before)

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while not holds():
            assert time.monotonic() < deadline, f"not within {ANSWER_SECONDS_MAX} s: {self.complaints}"
            time.sleep(POLL_SECONDS)
            self._hear()

    def run(self, script: str) -> Any:
        """What an expression of JavaScript comes to."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **KEYS[key])
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=KEYS[key]["code"])

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """A browser of its own, with nothing in it."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()

    def place() -> None:
        """The browser reads from 3 and writes to 4."""
        spare_in, spare_out = os.dup2(to_browser, 103), os.dup2(from_browser, 104)
        os.dup2(spare_in, 3)
        os.dup2(spare_out, 4)

    process = subprocess.Popen(
        [executable(), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=place,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(read, write)
    finally:
        os.close(write)
        process.terminate()
        process.wait(30)
        os.close(read)
