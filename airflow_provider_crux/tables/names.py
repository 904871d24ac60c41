"""Names of tables and columns that can stand in a statement. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from airflow_provider_crux.api.orders import describe
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.column_plan import ColumnPlan
from airflow_provider_crux.files.columns import COLUMNS, EXPORT_COLUMNS

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MAX_BYTES: Final = 63
"""PostgreSQL cuts longer names, so that two of them could become one."""
_DEFAULT_KEY: Final = "('order_uuid',)"
_IF_MISSING: Final = {
    "order_uuid": "use columns of it",
    "line_item_uuid": f"use {_DEFAULT_KEY}, because files with one row for each package have no line_item_uuid",
}


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
        problems.append(f"key: {describe(key)} is not a sequence of different column names; use {_DEFAULT_KEY}")
    return problems


def _is_key(key: object) -> bool:
    return isinstance(key, list | tuple) and len(key) > 0 and all(map(is_plain_name, key)) and len(set(key)) == len(key)


def is_plain_name(name: object) -> bool:
    """Tell whether a name can stand without quotes if it is no reserved word."""
    return isinstance(name, str) and len(name) <= _MAX_BYTES and _NAME.fullmatch(name) is not None


def fit_columns(plan: ColumnPlan, reserved: Collection[str] = ()) -> ColumnPlan:
    """
    Return the plan without the columns that a table cannot have, and with the reason for each.

    Names that differ only in case are one name. A column of the dictionary always stays; of unknown ones, the first.

    :param reserved: names in lower case that a column of this database cannot have.
    """
    taken = {column.name for column in (*COLUMNS, *EXPORT_COLUMNS)}
    known = taken.copy()
    taken |= {planned.column.name for planned in plan.details}
    columns, unknown = [], dict(plan.unknown)
    for planned in plan.columns:
        name = planned.column.name
        if problem := "" if name in known else _problem(name, taken, reserved):
            unknown[name] = problem
        else:
            taken.add(name.lower())
            columns.append(planned)
    return replace(plan, columns=tuple(columns), unknown=unknown)


def _problem(name: str, taken: Collection[str], reserved: Collection[str]) -> str:
    size = len(name.encode())
    if not size:
        return "the columns of a table have names"
    if size > _MAX_BYTES:
        return f"its name has {size} bytes, and that of a table's column has at most {_MAX_BYTES}"
    if '"' in name:
        return "its name contains a quote"
    if name.lower() in taken:
        return "its name differs only in case from that of another column"
    return "the database reserves its name" if name.lower() in reserved else ""


def check_key(key: Sequence[str], plan: ColumnPlan) -> None:
    """Raise CruxInvalidRequestError if a column of the key is not loaded."""
    loaded = {column.name for column in EXPORT_COLUMNS} | {planned.column.name for planned in plan.columns}
    problems = [
        f"column {name!r} of the file is not loaded; use columns that personal_data does not drop"
        if name in plan.header
        else f"column {name!r} is not in the file; {_IF_MISSING.get(name, f'use {_DEFAULT_KEY}')}"
        for name in key
        if name not in loaded
    ]
    if problems:
        raise CruxInvalidRequestError(f"key: {'; '.join(problems)}")
