"""
The columns of an export's file: the type, the meaning and the privacy of each, and what is stored of them.

Nobody has published which columns the file has. So the header of a file decides which of the known columns it has, and
nothing is required. A file has no date of the order, so columns are added that say where a row comes from.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
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


_MAX_HASHES: Final = 20_000
_MAX_KEPT: Final = 100
"""Longer values are free texts, which hardly repeat; so what is kept needs some 10 MiB at most."""

KNOWN: Final = {column.name: column for column in COLUMNS}
"""The dictionary by name."""

_DETAILS: Final = {column.name: column for column in DETAIL_COLUMNS}


def column_named(name: str) -> Column:
    """Return a column of a stored file; one that is not in the dictionary is a text that may contain anything."""
    return KNOWN.get(name) or _DETAILS.get(name) or unknown_column(name)


def unknown_column(name: str) -> Column:
    """Return what is known of a column that is not in the dictionary: nothing, so it may contain anything."""
    return Column(name, "An unknown column", personal=True)


def printable_name(name: str) -> str:
    """Return the name of a column as text that every database and every reader can hold."""
    return name.encode(errors="surrogateescape").decode(errors="replace").replace("\0", "\ufffd")


class Hashes(dict[str, str]):
    """
    The HMAC-SHA256 of personal values in hexadecimal digits; an empty value stays empty.

    Equal values stay equal, and nobody can guess them without the key. The last ones are kept, because each row of an
    order repeats them.
    """

    def __init__(self, key: str) -> None:
        super().__init__({"": ""})
        self._key = key.encode()

    def __missing__(self, value: str) -> str:
        """Return the hash of a value that is not kept, and keep it."""
        digest = hmac.digest(self._key, value.encode(errors="surrogateescape"), "sha256").hex()
        if len(value) <= _MAX_KEPT:
            if len(self) > _MAX_HASHES:
                self.clear()
                self[""] = ""
            self[value] = digest
        return digest


def describe_name(name: str) -> str:
    """Return the name of a column for a message; that of an unknown one may be anything."""
    return describe(name).removeprefix("str ")


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
