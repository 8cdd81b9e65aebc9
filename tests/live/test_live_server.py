"""The server lets in who has the token, tells every browser what is new, and writes nothing unless it is given a control."""

import json
import shutil
import stat
import threading
import time
import urllib.error

import pytest
from chromium import HOSTILE
from live_runs import Events, Writer, ask, falling, served, write_long

from ravine._live import serving
from ravine._live.watcher import Watcher
from ravine.errors import OptionError, PackageError
from ravine.train._stop_request import STOP


@pytest.fixture
def writer(tmp_path):
    writer = Writer(tmp_path / "run")
    writer.write(falling(50))
    return writer


def contents(folder):
    return {path.name: (path.stat().st_mtime_ns, stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}


def test_without_the_token_or_with_another_nothing_is_told(tmp_path, writer):
    with served(tmp_path / "run") as address:
        origin, _, token = address.rstrip("/").rpartition("/")
        assert len(token) >= 32
        other = "y" if token.endswith("x") else "x"  # with the token itself the events would never end
        assert ask(address)[0] == 200
        wrong = [
            "",
            "events",
            "plotly.js",
            f"{token}x/",
            f"{token[:-1]}/",
            f"{token[:-1]}{other}/events",
            f"x/{token}/",
            "%00/",
            "ü/",
        ]
        for rest in wrong:
            status, _, text = ask(f"{origin}/{rest}".replace("ü", "%C3%BC"))
            assert (status, "its token" in text) == (403, True), rest
            assert "run" not in text.replace("`ravine live`", "")
        assert ask(f"{origin}/wrong/act/stop", {})[0] == 403


def test_two_servers_have_two_tokens(tmp_path, writer):
    with served(tmp_path / "run") as one, served(tmp_path / "run") as other:
        assert one.split("/")[3] != other.split("/")[3]
        assert one.startswith("http://127.0.0.1:")


def test_the_page_may_load_nothing_from_elsewhere(tmp_path, writer):
    with served(tmp_path / "run") as address:
        _, headers, page = ask(address)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert f'nonce="{policy.split("nonce-")[1].split(chr(39))[0]}"' in page
        assert headers["Referrer-Policy"] == "no-referrer"
        assert ask(address)[1]["Content-Security-Policy"] != policy
        assert ask(f"{address}plotly.js")[1]["Content-Type"].startswith("text/javascript")
        assert ask(f"{address}files/metrics.jsonl")[0] == 404
        assert ask(f"{address}files/..%2f..%2fetc%2fpasswd")[0] == 404


def test_an_event_comes_soon_after_its_line_to_every_browser(tmp_path, writer):
    with served(tmp_path / "run") as address, Events(address) as one, Events(address) as other:
        first = [events.next() for events in (one, other)]
        assert first[0].keys() == first[1].keys() >= {"head", "loss", "hypers", "epochs", "diagnosis"}
        writer.write([7.5])
        for events in (one, other):
            parts = events.until(lambda parts: "loss" in parts)
            assert parts["loss"]["high"][-1] == 7.5
            assert "optimizers" not in parts  # what has not changed is not sent again


def test_a_browser_that_leaves_is_forgotten_and_one_that_comes_back_gets_everything(tmp_path, writer):
    with served(tmp_path / "run") as address:
        with Events(address) as events:
            events.next()
        writer.write([3.0])
        with Events(address) as events:
            first = events.next()
            assert first.keys() >= {"head", "optimizers", "loss"}
            if first["loss"]["high"][-1] != 3.0:
                events.until(lambda parts: parts.get("loss", {"high": [0]})["high"][-1] == 3.0)


def test_a_folder_may_go_and_a_run_may_begin_anew(tmp_path, writer):
    with served(tmp_path / "run") as address, Events(address) as events:
        events.next()
        shutil.rmtree(tmp_path / "run")
        assert events.until(lambda parts: parts.get("head", {}).get("word") == "gone")
        Writer(tmp_path / "run").write([4.0, 3.0])
        parts = events.until(lambda parts: "loss" in parts)
        assert parts["loss"]["mean"] == [4.0, 3.0]
        assert ask(address)[0] == 200


def test_a_long_run_is_sent_thinned(tmp_path):
    write_long(tmp_path / "run")
    with served(tmp_path / "run") as address, Events(address) as events:
        parts = events.next()
        assert parts["loss"]["x"][-1] == 100_000
        assert len(json.dumps(parts)) < 100_000
        assert len(ask(address)[2]) < 200_000


def test_it_only_reads(tmp_path, writer):
    before = contents(tmp_path / "run")
    with served(tmp_path / "run") as address, Events(address) as events:
        events.next()
        status, _, text = ask(f"{address}act/stop", {})
        assert (status, "--control" in text) == (403, True)
        assert "Stop the training" not in ask(address)[2]
    assert contents(tmp_path / "run") == before


def test_with_control_a_training_is_asked_to_stop(tmp_path, writer):
    with served(tmp_path / "run", control=True) as address:
        assert "Stop the training" in ask(address)[2]
        assert ask(f"{address}act/stop")[0] == 405  # looking at an address does nothing
        status, _, text = ask(f"{address}act/stop", {})
        assert (status, json.loads(text)) == (200, {"answer": "It stops after the step that runs."})
        assert (tmp_path / "run" / STOP).exists()
        assert ask(f"{address}act/explode", {})[0] == 403
        (tmp_path / "run" / STOP).unlink()
        writer.end()
        status, _, text = ask(f"{address}act/stop", {})
        assert (status, "has ended" in text) == (409, True)
        assert not (tmp_path / "run" / STOP).exists()


def test_texts_of_a_run_end_no_script(tmp_path, writer):
    writer.line(kind="note", step=50, text=HOSTILE)
    with served(tmp_path / "run") as address:
        page = ask(address)[2]
    assert HOSTILE not in page
    assert page.count("</script>") == 2


def test_the_end_is_said_to_those_who_look(tmp_path, writer):
    with served(tmp_path / "run") as address:
        events = Events(address)
        events.next()
        stream = events._stream
    rest = stream.read().decode()
    assert "event: end" in rest
    with pytest.raises(urllib.error.URLError):
        ask(address)


def test_a_port_that_is_taken_is_an_error_with_a_remedy(tmp_path, writer):
    place = serving.listening("127.0.0.1", 0)
    with place, pytest.raises(OptionError, match="--port"):
        serving.LiveServer(None, port=place.getsockname()[1])


def test_without_the_packages_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    with pytest.raises(PackageError, match=r"pip install 'ravine\[live\]'$"):
        serving.check_packages()


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
    ],
)
def test_which_hosts_are_this_machine(host, local):
    assert serving.is_local(host) is local


def test_nobody_looks_at_the_files_often_while_nobody_looks_at_the_page():
    looks = []
    watcher = Watcher(lambda: looks.append(time.monotonic()), period=0.01)
    watcher.start()
    time.sleep(0.3)
    assert len(looks) == 1
    watcher.listen(lambda: None)
    seen = threading.Event()
    while len(looks) < 5:
        assert not seen.wait(0.01)
    watcher.stop()


def test_what_goes_wrong_is_said_and_the_page_goes_on():
    answers = iter([{"head": 1}, ZeroDivisionError("by zero"), {"head": 2}])

    def poll():
        answer = next(answers, None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watcher, changed = Watcher(poll, period=0.01), threading.Semaphore(0)
    watcher.listen(changed.release)
    watcher.start()
    texts = []
    for _ in range(3):
        assert changed.acquire(timeout=20)
        texts.append(json.loads(watcher.since(0)[1]))
    watcher.stop()
    assert texts[-1] == {"head": 2, "trouble": ""}
