"""What waits for a database, with made-up errors and a made-up clock."""

import pytest
import sqlalchemy.exc

from ravine.comparison._study.patience import Patience
from ravine.errors import DataError

URL = "postgresql://me:secret@host/db"


def away(text="connection refused\nIs the server running?"):
    try:
        raise RuntimeError(text)
    except RuntimeError as driver:
        error = sqlalchemy.exc.OperationalError("SELECT 1", {}, driver)
        error.__cause__ = driver
        return error


class Scene:
    """A server that is away for a while, a clock, and what was said."""

    def __init__(self, where=URL, limit=120.0, until=0.0, error=None):
        self.now, self.until, self.said, self.calls, self.error = 0.0, until, [], [], error or away()
        self.patience = Patience(
            where,
            limit=limit,
            reset=lambda: self.calls.append("reset"),
            back=lambda: self.calls.append("back"),
            clock=lambda: self.now,
            sleep=self.sleep,
            say=self.said.append,
        )

    def sleep(self, seconds):
        self.now += seconds

    def ask(self):
        if self.now < self.until:
            raise self.error
        return "answer"


def test_what_works_is_done_once_and_nothing_is_said():
    scene = Scene()
    assert scene.patience(scene.ask) == "answer"
    assert (scene.now, scene.said, scene.calls) == (0.0, [], [])


def test_a_server_that_comes_back_is_waited_for():
    scene = Scene(until=4.0)
    assert scene.patience(scene.ask) == "answer"
    assert scene.now == 4.0
    assert scene.calls == ["reset"] * 4 + ["back"]
    assert scene.said == [
        "The storage postgresql://me@host/db cannot be reached: connection refused. "
        "Trying again for 120 seconds; what is finished is saved.",
        "The storage postgresql://me@host/db is back after 4 seconds.",
    ]
    scene.until = 200.0  # each time anew
    scene.now = 100.0
    assert scene.patience(scene.ask) == "answer"


def test_one_that_stays_away_is_given_up_and_not_waited_for_again():
    scene = Scene(until=1000.0, limit=10.0)
    with pytest.raises(sqlalchemy.exc.OperationalError):
        scene.patience(scene.ask)
    assert scene.now == 10.0
    with pytest.raises(sqlalchemy.exc.OperationalError):
        scene.patience(scene.ask)
    assert scene.now == 10.0
    assert len(scene.said) == 1
    scene.until = 0.0
    assert scene.patience(scene.ask) == "answer"
    scene.until = scene.now + 5
    assert scene.patience(scene.ask) == "answer", "what came back is waited for again"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_signal_ends_the_waiting_and_what_is_saved_after_it_does_not_wait(stop):
    scene = Scene(until=1000.0)

    def check():
        if scene.now >= 3.0:
            raise stop

    scene.patience.while_waiting = check
    with pytest.raises(stop):
        scene.patience(scene.ask)
    assert scene.now == 3.0
    with pytest.raises(sqlalchemy.exc.OperationalError):
        scene.patience(scene.ask)
    assert scene.now == 3.0


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("study.journal", away()),
        ("sqlite:///study.db", away("no such table")),
        (URL, ValueError("a number is wrong")),
        (URL, DataError("it is damaged")),
        (URL, sqlalchemy.exc.ProgrammingError("SELECT 1", {}, Exception("no such table"))),
    ],
)
def test_what_waiting_does_not_mend_is_raised_at_once(where, error):
    scene = Scene(where, until=1.0, error=error)
    with pytest.raises(type(error)):
        scene.patience(scene.ask)
    assert (scene.now, scene.said) == (0.0, [])


@pytest.mark.parametrize(
    "error",
    [
        sqlalchemy.exc.InterfaceError("SELECT 1", {}, Exception("the connection is closed")),
        sqlalchemy.exc.PendingRollbackError("Can't reconnect until invalid transaction is rolled back."),
        sqlalchemy.exc.DatabaseError("SELECT 1", {}, Exception("lost"), connection_invalidated=True),
    ],
)
def test_every_kind_of_a_lost_connection_is_waited_for(error):
    scene = Scene(until=2.0, error=error)
    assert scene.patience(scene.ask) == "answer"
    assert scene.calls == ["reset", "reset", "back"]


def test_the_reason_is_found_below_other_errors():
    outer = RuntimeError("invalid data in the commit")
    outer.__cause__ = away("server closed the connection unexpectedly.")
    scene = Scene(until=1.0, error=outer)
    assert scene.patience(scene.ask) == "answer"
    assert "cannot be reached: server closed the connection unexpectedly. Trying" in scene.said[0]
    assert "secret" not in repr(scene.patience)
