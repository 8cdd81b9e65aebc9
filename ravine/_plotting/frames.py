"""Tables as pandas DataFrames, for those who have pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ravine.errors import PackageError


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, index: str | None = None) -> Any:
    """A DataFrame of a mapping for each row.

    Raises:
        PackageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise PackageError("A table as a DataFrame needs pandas: pip install pandas", name="pandas") from error
    return pandas.DataFrame.from_records(list(rows), columns=columns, index=index)
