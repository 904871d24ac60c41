"""
What the list of orders tells of an order that its file does not: when it came, and what became of its line items.

Everything else of an order in the list is left behind, because it is personal data. The versions of the API spell some
of it differently, and the vendor's own pages disagree. So every spelling is read from every version, and what cannot be
read is ``None``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from airflow_provider_crux.api.versions import VERSIONS

_WORDS: Final = {
    spelling.lower(): word
    for version in VERSIONS.values()
    for field in version.statuses.values()
    for word, spelling in field.items()
}
_MAX_INTEGER: Final = 2**63
_MAX_DIGITS: Final = 20


class LineItemDetails(NamedTuple):
    """
    What the list tells of a line item.

    :param uuid: ``line_item_uuid``, or ``uuid``; for the comparison, in lower case.
    :param sku_id: likewise for the comparison.
    :param status: in the words of :attr:`.OrdersExportRequest.line_item_status`: its designation if it has one.
    :param tracking_numbers: ``None`` if the list has no such field.
    """

    uuid: str | None
    sku_id: str | None
    status: str | None
    quantity_allocated: int | None
    quantity_backordered: int | None
    quantity_rejected: int | None
    backorder_date: str | None
    tracking_numbers: list[str] | None


class OrderDetails(NamedTuple):
    """
    What the list tells of an order.

    :param uuid: for the comparison, see :func:`comparable`.
    :param created_at: ``created_date``, in UTC.
    """

    uuid: str
    created_at: datetime | None
    status: str | None
    is_allocated: bool | None
    line_items: list[LineItemDetails]


def comparable(identifier: str) -> str:
    """Return an identifier as it is compared: a UUID means the same in upper and lower case."""
    return _repaired(identifier.strip().lower())


def read_order_details(order: Mapping[str, Any]) -> OrderDetails | None:
    """Return the details of an order of the list; ``None`` if it has no UUID by which a row could match it."""
    uuid = _identifier(order.get("uuid"))
    if uuid is None:
        return None
    is_allocated = order.get("is_allocated")
    return OrderDetails(
        uuid,
        created_at(order),
        _text(order.get("status")),
        is_allocated if isinstance(is_allocated, bool) else None,
        [_line_item(item) for item in _objects(order.get("line_items"))],
    )


def created_at(order: Mapping[str, Any]) -> datetime | None:
    """Return when an order of the list was created; ``None`` if it does not say so. Without a zone, it is UTC."""
    value = order.get("created_date")
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value else None
        return moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _line_item(item: Mapping[str, Any]) -> LineItemDetails:
    allocation = item.get("allocation")
    quantities: Mapping[str, Any] = allocation if isinstance(allocation, dict) else {}
    return LineItemDetails(
        _identifier(item.get("line_item_uuid")) or _identifier(item.get("uuid")),
        _identifier(item.get("sku_id")),
        _status(item),
        _integer(quantities.get("quantity_allocated")),
        _integer(quantities.get("quantity_backordered")),
        _integer(quantities.get("quantity_rejected")),
        _text(quantities.get("backorder_date")) or _text(quantities.get("backordered_date")) or None,
        _tracking_numbers(item),
    )


def _status(item: Mapping[str, Any]) -> str | None:
    """Return the designation of a line item, which says more than its status; several are separated by commas."""
    for value in (item.get("line_item_designation"), item.get("status")):
        words = [_text(word) for word in (value if isinstance(value, list) else [value])]
        if text := ",".join(_WORDS.get(word.lower(), word) for word in words if word):
            return text
    return None


def _tracking_numbers(item: Mapping[str, Any]) -> list[str] | None:
    known = None
    for entries in (item.get("tracking_numbers"), item.get("tracking")):
        if isinstance(entries, list) and not known:
            numbers = (entry.get("tracking_number") if isinstance(entry, dict) else entry for entry in entries)
            known = [text for text in map(_number_or_text, numbers) if text]
    return known


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else ()


def _identifier(value: object) -> str | None:
    text = _number_or_text(value)
    return (comparable(text) or None) if text else None


def _number_or_text(value: object) -> str | None:
    """Return an identifier, which may consist of digits, as text."""
    return str(value) if type(value) is int else _text(value)


def _text(value: object) -> str | None:
    return _repaired(value) if isinstance(value, str) else None


def _repaired(text: str) -> str:
    """Return a text that every file and every database can hold; JSON can have half a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def _integer(value: object) -> int | None:
    """Return a quantity, which may be written as ``2``, ``2.0`` or ``"2"``."""
    if (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < _MAX_DIGITS
    ):
        value = int(value)
    return value if type(value) is int and -_MAX_INTEGER <= value < _MAX_INTEGER else None
