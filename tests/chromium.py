"""Opens a page in a browser without a window, lets a script act on it, and brings back what it saw."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
HOSTILE = "</script><img src=x onerror=document.title='broken'>"


def act(page: bytes, script: str, folder: Path, *options: str) -> tuple[dict[str, Any], list[str]]:
    """What ``script`` left in ``seen`` after it acted on the page, and the lines of the console.

    The script is the body of an async function; requests can go nowhere but to the page's own file.
    """
    if BROWSER is None:
        pytest.skip("no Chromium found: install it (apt-get install chromium) to test the page in a browser")
    text = page.decode()
    end = text.rindex("</body>")
    whole = f"""<script>(async () => {{
const seen = {{}}, by = (id) => document.getElementById(id);
try {{ {script} }} catch (error) {{ console.error(String(error.stack)); }}
document.documentElement.dataset.seen = JSON.stringify(seen);
}})();</script>"""
    opened = folder / "page.html"
    opened.write_text(text[:end] + whole + text[end:], encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder}/user",
            "--virtual-time-budget=20000",
            *options,
            "--dump-dom",
            opened.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert seen, console
    return json.loads(html.unescape(seen[1])), console
