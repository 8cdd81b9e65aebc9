"""A storage's URL in words, and what it raises as errors of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ravine.comparison._study.study_journal import StudyJournal
from ravine.errors import DataError, OptionError

_DATABASES = ("postgresql://", "sqlite:///", "mysql://")
_LIBRARIES = ("sqlalchemy", "psycopg", "optuna")


def without_password(where: str) -> str:
    """A storage's URL without its password."""
    scheme, separator, rest = where.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}@{place}" if separator and at else where


def check_storage(where: str) -> None:
    """Refuse what is neither the URL of a database nor a path.

    Raises:
        OptionError: it is not.
    """
    if not where or ("://" in where and not where.startswith(_DATABASES)):
        forms = ", ".join(f"{name}..." for name in _DATABASES)
        raise OptionError(f"{without_password(where)!r} is not a storage: give {forms} or the path of a journal file.")


def reason(error: BaseException) -> str:
    """What the driver of a database said first: libraries above it only guess."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0].rstrip(".")


@contextmanager
def storage_errors(where: str, journal: Callable[[], StudyJournal | None] = lambda: None) -> Iterator[None]:
    """What a storage raises as an error of ours; ``journal`` is asked for the line of its file that was read last."""
    try:
        yield
    except (OptionError, DataError):
        raise
    except ImportError as error:
        raise DataError(
            f"The storage {without_password(where)} needs a database driver that is not installed; for PostgreSQL "
            "pip install 'psycopg[binary]'."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        # what Optuna's reader raises for lines that it can read, but not obey
        file = journal()
        at, advice = (without_password(where), "Name another.") if file is None else (file.where, file.advice)
        raise DataError(
            f"The storage {at} is not a journal of trials, or it is damaged: {type(error).__name__}: {error}. {advice}"
        ) from error
    except OSError as error:
        raise DataError(f"The storage {without_password(where)} cannot be used: {error.strerror or error}.") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise DataError(f"The storage {without_password(where)} cannot be reached: {reason(error)}.") from error
