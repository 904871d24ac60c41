"""Names of tables and columns that can stand in a statement. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from airflow_provider_crux.api.orders import describe
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.columns import Column, UnusableFileError, describe_name

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# a header has no quotes, see has_csv_header
_COLUMN_NAME: Final = re.compile(r"[A-Za-z][\w .-]*", re.ASCII)
_MAX_NAME: Final = 63
"""PostgreSQL cuts longer names, so that two of them could become one."""


def table_problems(table: object, key: object) -> list[str]:
    """Return a sentence for each fault in the name of a table and in its key."""
    problems = []
    parts = table.split(".") if isinstance(table, str) else []
    if not 1 <= len(parts) <= 2 or not all(is_plain_name(part) for part in parts):
        problems.append(
            f"table: {describe(table)} is not the name of a table; use letters, digits and _, for example "
            "'crux.order_lines'"
        )
    if not _is_key(key):
        problems.append(f"key: {describe(key)} is not a sequence of different column names; use ('line_item_uuid',)")
    return problems


def _is_key(key: object) -> bool:
    return isinstance(key, list | tuple) and len(key) > 0 and all(map(is_plain_name, key)) and len(set(key)) == len(key)


def is_plain_name(name: object) -> bool:
    """Tell whether a name can stand without quotes if it is no reserved word."""
    return isinstance(name, str) and len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def check_columns(columns: Sequence[Column], key: Sequence[str]) -> None:
    """Reject columns that a table cannot have, and a key that is not among them."""
    names = [column.name for column in columns]
    for name in names:
        if len(name) > _MAX_NAME or not (is_plain_name(name) or _COLUMN_NAME.fullmatch(name)):
            raise UnusableFileError(f"column {describe_name(name)} has a name that no table can have")
    lower = [name.lower() for name in names]
    if repeated := sorted({name for name in lower if lower.count(name) > 1}):
        raise UnusableFileError(f"the columns {', '.join(repeated)} differ only in upper and lower case")
    if missing := [name for name in key if name not in names]:
        raise CruxInvalidRequestError(
            f"key: the columns {', '.join(missing)} are not loaded; use columns that personal_data does not drop"
        )
