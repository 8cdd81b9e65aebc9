"""Private parts of Optuna, and what each is needed for."""

from __future__ import annotations

from typing import Any


def study_id(study: Any) -> int:
    """The number of a study in its storage, which storages take and give, and of which nothing public is known.

    Studies have it as ``_study_id`` in every Optuna 5; numbers rise in the order in which studies are made.
    """
    number: int = study._study_id
    return number
