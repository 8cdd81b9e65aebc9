"""Tables as pandas DataFrames, for those who have pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ravine.errors import DependencyError


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, index: str | None = None) -> Any:
    """A DataFrame of a mapping for each row.

    Raises:
        DependencyError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise DependencyError("A table as a DataFrame needs pandas: pip install 'ravine[pandas]'") from None
    return pandas.DataFrame.from_records(list(rows), columns=columns, index=index)
