"""A browser without a window that a test drives over a pipe: for pages that keep a connection open, which never come to rest."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest
from chromium import BROWSER

LIMIT = 60  # seconds that anything may take


class Browser:
    """Chromium, spoken to in its own protocol: JSON objects, each ended by a zero byte.

    Requests can go nowhere but to this machine; those to anywhere else are in ``foreign``.
    """

    def __init__(
        self, folder: Path, width: int = 1280, height: int = 800, dark: bool = False, mobile: bool = False
    ) -> None:
        if BROWSER is None:
            pytest.skip("no Chromium found: install it (apt-get install chromium) to test the page in a browser")
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        command += [
            f"--user-data-dir={folder}/user",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command,
            pass_fds=(3, 4),
            preexec_fn=lambda: (os.dup2(to_read, 3), os.dup2(to_write, 4)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest, self._answers = 0, b"", dict[int, dict[str, Any]]()
        self.console, self.foreign, self.requests = list[str](), list[str](), list[str]()
        self._session: str | None = None
        targets = self.do("Target.getTargets")["targetInfos"]
        page = next(one for one in targets if one["type"] == "page")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.do("Emulation.setFocusEmulationEnabled", enabled=True)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.do("Emulation.setEmulatedMedia", features=scheme)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def do(self, method: str, **params: Any) -> Any:
        """What the browser answers to a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + LIMIT
        while self._number not in self._answers:
            assert time.monotonic() < until, method
            self._receive()
        answer = self._answers.pop(self._number)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> None:
        data = os.read(self._from, 1 << 16)
        assert data, "the browser has ended"
        *messages, self._rest = (self._rest + data).split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            elif message["method"] == "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(one.get("value", one)) for one in message["params"]["args"]))
            elif message["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.console.append(json.dumps(message["params"]))
            elif message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                self.requests.append(url)
                if not url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:")):
                    self.foreign.append(url)

    def open(self, url: str) -> None:
        """Go to a page."""
        self.do("Page.navigate", url=url)
        self.until("document.body !== null")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is; a promise is waited for."""
        answer = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, limit: float = LIMIT) -> Any:
        """Wait until an expression is true; returns what it is then."""
        end = time.monotonic() + limit
        while not (value := self.value(f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()")):
            assert time.monotonic() < end, f"{expression} is {value}; console: {self.console}"
            time.sleep(0.02)
        return value

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write what is seen, or the whole page, to a PNG file."""
        import base64

        options: dict[str, Any] = {"captureBeyondViewport": whole}
        if whole:
            size = self.do("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot", format="png", **options)["data"]))
