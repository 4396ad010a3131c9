"""pandas' tables as arrays of numbers; pandas itself is imported by whoever has one."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd


def is_pandas(given: Any) -> bool:
    """Whether something is a DataFrame or a Series."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(given, pandas.DataFrame | pandas.Series)


def is_table(given: Any) -> bool:
    """Whether something is a DataFrame."""
    return is_pandas(given) and given.ndim == 2


def to_array(field: str, given: "pd.DataFrame | pd.Series[Any]") -> npt.NDArray[Any]:
    """A Series as an array [n], a DataFrame of numbers as an array [n, columns].

    Raises:
        SpecError: naming the columns, if values are missing, or a DataFrame holds other than
            numbers.
    """
    import pandas as pd

    if isinstance(given, pd.Series):
        missing = given.isna().to_numpy().sum()
        if missing:
            raise SpecError(f"{field} has {missing:,} missing values; fill them, or leave them out")
        return given.to_numpy()
    check_complete(field, given)
    if not len(given.columns):
        raise SpecError(f"{field} is a table without columns; it must have one or more")
    other = [f"{name!r} ({dtype})" for name, dtype in given.dtypes.items() if not is_number(dtype)]
    if other:
        raise SpecError(
            f"{field} has columns that are no numbers: {', '.join(other)}; leave them out, or give "
            "pandas.get_dummies(frame), or the file itself as Table"
        )
    return np.column_stack([given.iloc[:, at].to_numpy() for at in range(given.shape[1])])


def check_complete(field: str, table: "pd.DataFrame") -> None:
    """Raises a SpecError that names the columns in which values are missing."""
    missing = [f"{name!r} ({many:,})" for name, many in table.isna().sum().items() if many]
    if missing:
        raise SpecError(
            f"{field} has missing values in its columns {', '.join(missing)}; fill them, or leave "
            "out such rows or columns"
        )


def is_number(dtype: Any) -> bool:
    """Whether a column of such a type holds real numbers, or yes and no."""
    from pandas.api import types

    return types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
