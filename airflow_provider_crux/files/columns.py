"""
The columns of an export's file: the type, the meaning and the privacy of each, and what is stored of them.

Nobody has published which columns the file has. So the header of a file decides which of the known columns it has, and
nothing is required. A file has no date of the order, so columns are added that say where a row comes from.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from airflow_provider_crux.api.orders import describe
from airflow_provider_crux.exceptions import CruxInvalidResponseError


class UnusableFileError(CruxInvalidResponseError):
    """The file of an export is not as published. The message names no value; the task adds what helps against it."""


class UnknownColumnError(UnusableFileError):
    """A column is not in the dictionary, and must be; nothing else is wrong with the header."""


class ColumnType(StrEnum):
    """What the values of a column are."""

    TEXT = "text"
    INTEGER = "integer"
    """A whole number of 64 bits."""
    MONEY = "money"
    """A decimal number with 18 digits, 2 of them after the point."""
    INSTANT = "instant"
    """A timestamp in UTC with microseconds."""
    BOOLEAN = "boolean"


@dataclass(frozen=True)
class Column:
    """
    One column. Empty money and numbers are missing values; empty text stays empty text.

    It is ``personal`` if its values identify a person, directly or indirectly, or are free text in which people write
    names. ``lists`` names the published lists of columns that contain it.
    """

    name: str
    meaning: str
    type: ColumnType = ColumnType.TEXT
    personal: bool = False
    lists: tuple[str, ...] = ()


_MONEY: Final = ColumnType.MONEY
_INTEGER: Final = ColumnType.INTEGER

_SAMPLE: Final = ("2019",)
_SAMPLES: Final = ("2019", "2019-page")
_RETAILER: Final = ("2017-retailer",)
_SUPPLIER: Final = ("2017-supplier",)
_PACKAGES: Final = (*_RETAILER, *_SUPPLIER)
_ALL: Final = (*_SAMPLES, *_PACKAGES)

COLUMNS: Final = (
    Column("retailer_po_number", "Purchase order number of the retailer", lists=(*_SAMPLE, *_PACKAGES)),
    Column("retailer_po", "Purchase order number of the retailer", lists=("2019-page",)),
    Column("supplier_po_number", "Purchase order number of the supplier", lists=_SUPPLIER),
    Column("order_uuid", "UUID of the order; groups the rows of one order", lists=_ALL),
    Column("supplier_org_uuid", "UUID of the supplier's organization", lists=_SAMPLES),
    Column("supplier", "Supplier of the line item", lists=_RETAILER),
    Column("retailer_id", "ID of the retailer", lists=_SUPPLIER),
    Column("requested_shipping_carrier", "Carrier that the retailer requested", lists=_ALL),
    Column("requested_shipping_method", "Shipping method that the retailer requested", lists=_ALL),
    Column("sku_id", "ID of the SKU", lists=_SAMPLES),
    Column("sku", "SKU of the line item", lists=_PACKAGES),
    Column("sku_title_variants", "Title of the SKU, or its variants as text", lists=_SAMPLES),
    Column("retailer_provided_sku_cost", "Cost of one piece, as the retailer gave it", _MONEY, lists=_SAMPLES),
    Column("price", "Price of one piece", _MONEY, lists=_PACKAGES),
    Column("line_item_uuid", "ID of the line item; not always a UUID", lists=_SAMPLES),
    Column(
        "line_item_special_instructions", "Instructions for the line item, free text", personal=True, lists=_SAMPLES
    ),
    Column("quantity", "Ordered pieces", _INTEGER, lists=_ALL),
    Column("quantity_accepted", "Pieces that the supplier accepted", _INTEGER, lists=_PACKAGES),
    Column("quantity_rejected", "Pieces that the supplier rejected", _INTEGER, lists=_PACKAGES),
    Column("quantity_backordered", "Pieces that are backordered", _INTEGER, lists=_PACKAGES),
    Column("backorder_date", "When backordered pieces are expected; its form is not published", lists=_PACKAGES),
    Column("business_name", "Business to ship to", personal=True, lists=_SAMPLES),
    Column("name", "Person to ship to", personal=True, lists=_ALL),
    Column("phone", "Phone number of the person", personal=True, lists=_SAMPLES),
    Column("address1", "First line of the address", personal=True, lists=_ALL),
    Column("address2", "Second line of the address", personal=True, lists=_ALL),
    Column("city", "City of the address", lists=_ALL),
    Column("state", "State or province of the address", lists=_ALL),
    Column("country", "Country of the address", lists=_SAMPLES),
    Column("postal_code", "Postal code of the address", personal=True, lists=_ALL),
    Column("estimated_shipping_cost", "Estimated cost of shipping", _MONEY, lists=_ALL),
    Column("dropship_fee", "Drop-ship fee", _MONEY, lists=_ALL),
    Column("per_order_fee", "Fee for each order", _MONEY, lists=_ALL),
    Column("estimated_tax", "Estimated tax", _MONEY, lists=_ALL),
    Column("tracking_number", "Tracking number of the package; leads to its recipient", personal=True, lists=_PACKAGES),
    Column("shipping_carrier", "Carrier of the package", lists=_PACKAGES),
    Column("shipping_method", "Shipping method of the package", lists=_PACKAGES),
    Column("weight", "Weight of the package; its unit is not published", lists=_PACKAGES),
    Column("shipping_cost", "Cost of shipping the package", _MONEY, lists=_PACKAGES),
    Column("shipping_date", "When the package was shipped; its form is not published", lists=_PACKAGES),
    Column(
        "retailer_provided_order_attributes", "Attributes of the order, JSON-like text", personal=True, lists=_SAMPLES
    ),
    Column("retailer_provided_notes", "Notes of the retailer, free text", personal=True, lists=_SAMPLES),
    Column(
        "retailer_provided_line_item_attributes",
        "Attributes of the line item, JSON-like text",
        personal=True,
        lists=_SAMPLES,
    ),
)
"""
The dictionary: all columns that Crux Connect has published. A file has some of them, and perhaps others.

Source: the four lists of columns in the vendor's public documentation: the sample of 2019, the page that describes it,
and the export formats for retailers and for suppliers of 2017. No two of them agree. In those of 2017, a row is a
package of a line item; in the others, it is a line item.
"""

EXPORT_COLUMNS: Final = (
    Column("crux_export_uuid", "UUID of the export that the row comes from"),
    Column("crux_interval_start", "Start of the interval of that export", ColumnType.INSTANT),
    Column("crux_interval_end", "End of the interval of that export", ColumnType.INSTANT),
    Column(
        "crux_requested_at",
        "When that export was requested; tells its state of an order from a later one",
        ColumnType.INSTANT,
    ),
)
"""The columns that are added at the end."""

DETAIL_COLUMNS: Final = (
    Column("order_created_at", "When the order was created", ColumnType.INSTANT),
    Column("order_status", "Status of the order"),
    Column("is_allocated", "Whether the order is allocated", ColumnType.BOOLEAN),
    Column("line_item_status", "Status of the line item, in the words of the argument line_item_status"),
    Column("quantity_allocated", "Pieces that the supplier allocated", _INTEGER),
    Column("quantity_backordered", "Pieces that are backordered", _INTEGER),
    Column("quantity_rejected", "Pieces that the supplier rejected", _INTEGER),
    Column("backorder_date", "When backordered pieces are expected; its form is not published"),
    Column("tracking_numbers", "Tracking numbers of the line item, as a JSON array of texts", personal=True),
)
"""
The columns that ``order_details`` adds before those, from the list of orders: three of the order, then those of its
line item. They are null in a row that matches nothing in the list. If the file has one of them, its own is stored.

Source: the objects of an order and of its line items in the vendor's public documentation of the list.
"""

PERSONAL_DATA: Final = ("keep", "drop", "hash")
"""What can be done with the personal columns."""

ON_UNKNOWN_COLUMN: Final = ("keep", "fail")
"""What can be done with a column that is not in the dictionary."""

ORDER_DETAILS: Final = (False, True, "if_available")
"""Whether the columns of the list of orders are added: not, in any case, or as far as there are any."""

# Patterns for RE2, which Arrow uses. Whitespace around a value does not count.
INTEGER_PATTERN: Final = r"^([+-]?([0-9]{1,18}|[0-9]{1,3}(,[0-9]{3}){1,5})(\.0{1,10})?)?$"
"""What fits 18 digits, written as an amount may be: ``2``, ``+2``, ``1,000``, ``2.00``, or nothing."""
INTEGER_DECORATION_PATTERN: Final = r"[+,]|\..*"
"""What is no part of the number in a whole number."""
MONEY_PATTERN: Final = (
    r"^((-?((US)?\$)?|(US)?\$-)(([0-9]{1,16}|[0-9]{1,3}(,[0-9]{3}){1,4})(\.[0-9]{1,2}0{0,8})?|\.[0-9]{1,2}0{0,8}))?$"
)
"""What fits 18 digits with 2 decimals, as the vendor writes it: ``14.65``, ``US$0.00``, ``1,234.50``, or nothing."""
MONEY_DECORATION_PATTERN: Final = r"[US$,]"
"""What is no part of the number in a money value."""


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
        without_order = self.details and self.order_index is None
        return (
            *(
                ["The file has no column order_uuid, so the columns of order_details are empty"]
                if without_order
                else []
            ),
            *self._of_unknown_columns,
        )

    @property
    def _of_unknown_columns(self) -> tuple[str, ...]:
        return tuple(
            f"{f'Column {describe_name(name)}' if name else 'A column without a name'} is unknown: it is "
            f"{'stored as text' if reason is None else f'not stored, because {reason}'}"
            for name, reason in self.unknown.items()
        )

    @property
    def order_index(self) -> int | None:
        """The position of ``order_uuid`` in the file; ``None`` if it has no such column."""
        return self.header.index("order_uuid") if "order_uuid" in self.header else None


_KNOWN: Final = {column.name: column for column in COLUMNS}
_DETAILS: Final = {column.name: column for column in DETAIL_COLUMNS}


def column_named(name: str) -> Column:
    """Return a column of a stored file; one that is not in the dictionary is a text that may contain anything."""
    return _KNOWN.get(name) or _DETAILS.get(name) or _unknown(name)


def _unknown(name: str) -> Column:
    return Column(name, "An unknown column", personal=True)


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
    own = _KNOWN.keys() & counts.keys()
    added = [column for column in DETAIL_COLUMNS if order_details and column.name not in own]
    reserved = {column.name for column in (*EXPORT_COLUMNS, *added)}
    unknown = {
        name: _reason_to_leave_out(name, counts, personal_data, reserved) for name in header if name not in _KNOWN
    }
    _check_header(counts, unknown if on_unknown_column == "fail" else ())

    def planned(columns: Iterable[tuple[int, Column]]) -> tuple[PlannedColumn, ...]:
        return tuple(
            PlannedColumn(column, index, hashed=personal_data == "hash" and column.personal)
            for index, column in columns
            if personal_data != "drop" or not column.personal
        )

    columns = planned(
        (index, _KNOWN.get(name) or _unknown(name)) for index, name in enumerate(header) if unknown.get(name) is None
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


def printable_name(name: str) -> str:
    """Return the name of a column as text that every database and every reader can hold."""
    return name.encode(errors="surrogateescape").decode(errors="replace").replace("\0", "\ufffd")


def hash_value(value: str, key: str) -> str:
    """
    Return the HMAC-SHA256 of a personal value in hexadecimal digits; an empty value stays empty.

    Equal values stay equal, and nobody can guess them without the key.
    """
    if not value:
        return value
    return hmac.digest(key.encode(), value.encode(errors="surrogateescape"), "sha256").hex()


def describe_name(name: str) -> str:
    """Return the name of a column for a message; that of an unknown one may be anything."""
    return describe(name).removeprefix("str ")


def _check_header(counts: Mapping[str, int], rejected: Iterable[str]) -> None:
    twice = [f"column {name!r} occurs {count} times" for name, count in counts.items() if count > 1 and name in _KNOWN]
    unknown = [f"column {describe_name(name)} is unknown, and on_unknown_column is 'fail'" for name in rejected]
    if twice or unknown:
        raise (UnusableFileError if twice else UnknownColumnError)("; ".join([*twice, *unknown]))


def unreadable_value(column: Column, row: int) -> UnusableFileError:
    """Return the error for a value that is not of its column's type; rows count from 1 without the header."""
    kind = {ColumnType.MONEY: "an amount of money in US dollars", ColumnType.INTEGER: "a whole number"}
    return UnusableFileError(
        f"the value of column {column.name!r} in row {row} is not {kind.get(column.type, 'valid UTF-8')}"
    )


def nul_in_value(column: Column, row: int) -> UnusableFileError:
    """Return the error for a text that no table can hold; rows count from 1 without the header."""
    return UnusableFileError(
        f"the value of column {column.name!r} in row {row} contains the character NUL, which a table cannot hold"
    )
