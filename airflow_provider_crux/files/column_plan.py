"""What is stored of a file's columns, and what is added to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_crux.files.columns import (
    DETAIL_COLUMNS,
    EXPORT_COLUMNS,
    KNOWN,
    Column,
    UnknownColumnError,
    UnusableFileError,
    describe_name,
    printable_name,
    unknown_column,
)


@dataclass(frozen=True)
class PlannedColumn:
    """A column that is stored: its position in the file, from 0, and whether the hashes of its values are stored."""

    column: Column
    index: int
    hashed: bool = False


@dataclass(frozen=True)
class ColumnPlan:
    """
    The names of all columns of a file, and those that are stored.

    ``unknown`` has the names that are not in the dictionary, each with why it is not stored, or None if it is.
    ``details`` are the columns that the list of orders adds; their positions are those in :data:`DETAIL_COLUMNS`.
    """

    header: tuple[str, ...]
    columns: tuple[PlannedColumn, ...]
    unknown: Mapping[str, str | None] = field(default_factory=dict)
    details: tuple[PlannedColumn, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each unknown column, and one if the list of orders cannot be compared with the file."""
        unknown = tuple(
            f"{f'Column {describe_name(name)}' if name else 'A column without a name'} is unknown: it is "
            f"{'stored as text' if reason is None else f'not stored, because {reason}'}"
            for name, reason in self.unknown.items()
        )
        if self.details and self.order_index is None:
            return ("The file has no column order_uuid, so the columns of order_details are empty", *unknown)
        return unknown

    @property
    def order_index(self) -> int | None:
        """The position of ``order_uuid`` in the file; ``None`` if it has no such column."""
        return self.header.index("order_uuid") if "order_uuid" in self.header else None


def plan_columns(
    header: Sequence[str],
    *,
    personal_data: str = "keep",
    on_unknown_column: str = "keep",
    order_details: bool | str = False,
) -> ColumnPlan:
    """
    Decide what is stored of a file's columns.

    A column that is not in the dictionary may contain anything, so it is only kept, as text, where personal data is.

    :param order_details: whether to add the columns of the list of orders that the file lacks.
    :raises UnusableFileError: if a known column occurs twice, one is unknown and must not be, none can be stored, or
        ``order_details`` is True and the file has no ``order_uuid``.
    """
    counts = Counter(header)
    own = KNOWN.keys() & counts.keys()
    added = [column for column in DETAIL_COLUMNS if order_details and column.name not in own]
    reserved = {column.name for column in (*EXPORT_COLUMNS, *added)}
    unknown = {
        name: _reason_to_leave_out(name, counts, personal_data, reserved) for name in header if name not in KNOWN
    }
    _check_header(counts, unknown if on_unknown_column == "fail" else ())

    def planned(columns: Iterable[tuple[int, Column]]) -> tuple[PlannedColumn, ...]:
        return tuple(
            PlannedColumn(column, index, hashed=personal_data == "hash" and column.personal)
            for index, column in columns
            if personal_data != "drop" or not column.personal
        )

    columns = planned(
        (index, KNOWN.get(name) or unknown_column(name))
        for index, name in enumerate(header)
        if unknown.get(name) is None
    )
    if not columns:
        raise UnusableFileError(f"it has no column that is stored with personal_data={personal_data!r}")
    details = planned((DETAIL_COLUMNS.index(column), column) for column in added)
    if order_details not in (False, "if_available") and "order_uuid" not in counts:
        raise UnusableFileError("it has no column order_uuid, by which order_details finds its orders in the list")
    return ColumnPlan(tuple(header), columns, unknown, details)


def _reason_to_leave_out(
    name: str, counts: Mapping[str, int], personal_data: str, reserved: Collection[str]
) -> str | None:
    """Return why an unknown column is not stored; ``None`` if it is."""
    if personal_data != "keep":
        return f"it may contain personal data (personal_data={personal_data!r})"
    if counts[name] > 1:
        return "several columns have this name"
    if name in reserved:
        return "this provider adds a column of this name"
    return None if printable_name(name) == name else "its name is not valid text"


def names_that_differ_in_case(names: Sequence[str]) -> tuple[str, ...]:
    """Return a warning for each set of names that differ only in upper and lower case."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.lower(), []).append(describe_name(name))
    return tuple(
        f"Columns {' and '.join(group)} differ only in upper and lower case: some readers, such as Spark and DuckDB, "
        "take them for one column"
        for group in alike.values()
        if len(group) > 1
    )


def _check_header(counts: Mapping[str, int], rejected: Iterable[str]) -> None:
    twice = [f"column {name!r} occurs {count} times" for name, count in counts.items() if count > 1 and name in KNOWN]
    unknown = [f"column {describe_name(name)} is unknown, and on_unknown_column is 'fail'" for name in rejected]
    if twice or unknown:
        raise (UnusableFileError if twice else UnknownColumnError)("; ".join([*twice, *unknown]))
