"""
The request for an export of orders: its fields and their rules, whatever version of the API it is sent to.

Source: the specification of ``POST /api/orders/export/``; the statuses of other versions are in
:mod:`airflow_provider_crux.api.versions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from airflow_provider_crux.api.instants import format_instant, whole_second
from airflow_provider_crux.api.versions import API, TIMP, other_versions
from airflow_provider_crux.exceptions import CruxInvalidRequestError

LINE_ITEM_STATUSES: Final = tuple(API.statuses["line_item_status"])
"""The statuses of the specification, which every version of the API has."""

OTHER_LINE_ITEM_STATUSES: Final = tuple(
    word for spelled in TIMP.statuses.values() for word in spelled if word not in LINE_ITEM_STATUSES
)
"""The statuses that only ``v1`` and ``timp`` have."""

STATUS_CONJUNCTIONS: Final = ("and", "or", "only", "all")
SORT_DIRECTIONS: Final = ("asc", "des")

SYNONYMOUS_CONJUNCTIONS: Final = {"only": "all", "all": "only"}
"""The specification uses both names for the third conjunction, which allows one status only."""

_MAX_SHOWN: Final = 100
MAX_INDEX: Final = 2**53 - 1
"""Largest whole number that every reader of JSON understands (RFC 8259, 6)."""


def describe(value: object) -> str:
    """Return the type and the beginning of a value, for error messages."""
    try:
        text = repr(value)
    except ValueError:  # a number with thousands of digits
        text = "too long to show"
    return f"{type(value).__name__} {text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '…'}"


def _index(name: str, value: object) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield f"{name}: {describe(value)} is not a whole number; use an index of 0 or more"
    elif value < 0:
        yield f"{name}: {describe(value).removeprefix('int ')} is below 0; use an index of 0 or more"
    elif value > MAX_INDEX:
        yield f"{name}: {describe(value)} is larger than any number of orders; use an index up to {MAX_INDEX}"


@dataclass(frozen=True)
class Sort:
    """
    The sort order of an export.

    :param key: the field to sort by; any non-empty string.
    :param dir: ``asc`` or ``des``; ``desc`` means ``des``.
    """

    key: str
    dir: str


def _sort(value: object) -> Iterator[str]:
    remedy = "use {'key': 'date', 'dir': 'asc'}"
    if isinstance(value, Sort):
        value = asdict(value)
    if not isinstance(value, Mapping):
        yield f"sort: {describe(value)} is not a mapping; {remedy}"
        return
    if unknown := [key for key in value if key not in ("key", "dir")]:
        yield f"sort: unknown key {unknown!r}; {remedy}"
    key, direction = value.get("key"), value.get("dir")
    if not isinstance(key, str) or not key.strip():
        yield f"sort: key {describe(key)} is not a non-empty string; {remedy}"
    if direction not in (*SORT_DIRECTIONS, "desc"):
        yield f"sort: dir {describe(direction)} is neither 'asc' nor 'des'; {remedy}"


def _line_item_status(value: object) -> Iterator[str]:
    known = (*LINE_ITEM_STATUSES, *OTHER_LINE_ITEM_STATUSES)
    if not isinstance(value, list | tuple):
        yield f"line_item_status: {describe(value)} is not a list; use a list such as ['unallocated']"
        return
    if not value:
        yield "line_item_status: the list is empty; name a status, or leave the argument out for all orders"
    if unknown := [status for status in value if status not in known]:
        yield (
            f"line_item_status: unknown status {unknown!r}; use {', '.join(LINE_ITEM_STATUSES)}, or, with api_version "
            f"{other_versions(API.name)}, also {', '.join(OTHER_LINE_ITEM_STATUSES)}"
        )
    elif len(set(value)) != len(value):
        yield f"line_item_status: {list(value)!r} contains a status twice; name each status once"


def _status_conjunction(value: object) -> Iterator[str]:
    if value not in STATUS_CONJUNCTIONS:
        choice = ", ".join(STATUS_CONJUNCTIONS)
        yield f"status_conjunction: unknown value {describe(value)}; use {choice}"


def _instant(name: str, value: object) -> Iterator[str]:
    if not isinstance(value, datetime):
        yield f"{name}: {describe(value)} is not a datetime; use one with a time zone"
    elif value.utcoffset() is None:
        yield f"{name}: {value.isoformat()} has no time zone; add one, for example tzinfo=datetime.UTC"
    else:
        try:
            value.astimezone(UTC)
        except OverflowError:
            yield f"{name}: {value.isoformat()} is outside the years 1 to 9999 in UTC; use an instant within"


_RULES: Final[dict[str, Callable[[object], Iterator[str]]]] = {
    "start": partial(_index, "start"),
    "limit": partial(_index, "limit"),
    "sort": _sort,
    "line_item_status": _line_item_status,
    "status_conjunction": _status_conjunction,
    "start_date": partial(_instant, "start_date"),
    "end_date": partial(_instant, "end_date"),
}


def _limit_after_start(values: Mapping[str, Any]) -> Iterator[str]:
    if "start" in values and "limit" in values and values["limit"] < values["start"]:
        yield (
            f"limit: {values['limit']} is below start {values['start']}; limit is the index of the last order, "
            "not a page size: use start or more"
        )


def _conjunction_with_statuses(values: Mapping[str, Any]) -> Iterator[str]:
    conjunction = values.get("status_conjunction")
    if conjunction is None:
        return
    statuses = values.get("line_item_status")
    if statuses is None:
        yield (
            f"status_conjunction: {conjunction!r} is set without line_item_status; "
            "name the statuses, or leave the conjunction out"
        )
    elif conjunction in SYNONYMOUS_CONJUNCTIONS and len(statuses) != 1:
        yield (
            f"status_conjunction: {conjunction!r} takes one status, not {list(statuses)!r}; "
            "name one, or use 'and' or 'or'"
        )


def _statuses_of_one_version(values: Mapping[str, Any]) -> Iterator[str]:
    """Report what no version can say: statuses that only the newer ones have, with what these cannot combine."""
    statuses = values.get("line_item_status") or ()
    newer = [status for status in statuses if status in OTHER_LINE_ITEM_STATUSES]
    if newer and not any(set(statuses) <= set(spelled) for spelled in TIMP.statuses.values()):
        yield (
            f"line_item_status: no api_version can combine {list(statuses)!r}; use only some of "
            f"{', or only some of '.join(', '.join(spelled) for spelled in TIMP.statuses.values())}"
        )


def _conjunction_of_one_version(values: Mapping[str, Any]) -> Iterator[str]:
    """Likewise report a conjunction that they do not have."""
    conjunction = values.get("status_conjunction")
    newer = [status for status in values.get("line_item_status") or () if status in OTHER_LINE_ITEM_STATUSES]
    if newer and conjunction not in (None, "or"):
        yield (
            f"status_conjunction: no api_version can combine {conjunction!r} with {newer!r}; use 'or', or leave it out"
        )


def _end_after_start(values: Mapping[str, Any]) -> Iterator[str]:
    if "start_date" not in values or "end_date" not in values:
        return
    # in UTC, because Python compares two instants of one zone by their wall clocks, even when these are turned back
    start, end = (values[name].astimezone(UTC) for name in ("start_date", "end_date"))
    if end < start:
        yield (
            f"end_date: {end.isoformat()} is before start_date {start.isoformat()}; use the later instant as end_date"
        )


# A rule of several fields applies only if each of them is valid by itself: one fault, one message.
_JOINT_RULES: Final = (
    (("start", "limit"), _limit_after_start),
    (("line_item_status", "status_conjunction"), _conjunction_with_statuses),
    (("line_item_status",), _statuses_of_one_version),
    (("line_item_status", "status_conjunction"), _conjunction_of_one_version),
    (("start_date", "end_date"), _end_after_start),
)


def request_problems(values: Mapping[str, Any], *, unknown: frozenset[str] = frozenset()) -> list[str]:
    """
    Return what is wrong with the fields of a request: a sentence for each fault, with field, value and remedy.

    Rules that need ``unknown`` fields do not apply: their values are templates, when a DAG is parsed.
    """
    known = {name: value for name, value in values.items() if value is not None and name not in unknown}
    faults = {name: list(_RULES[name](value)) for name, value in known.items()}
    problems = [problem for field_faults in faults.values() for problem in field_faults]
    for names, rule in _JOINT_RULES:
        if not unknown.intersection(names) and not any(faults.get(name) for name in names):
            problems.extend(rule(known))
    return problems


@dataclass(frozen=True, kw_only=True)
class OrdersExportRequest:
    """
    Which orders to export, in words that do not depend on the version of the API.

    Every field is optional; one that is not set is not sent. All rules are checked when the request is created, and
    what the connection's ``api_version`` cannot say when it is about to be sent. It is immutable.

    :param start: index of the first order, from 0; Crux Connect's default is 0. Without filters the orders are sorted
        by creation.
    :param limit: index of the order at which the results **end**; not a page size. Of 10 orders, ``start=4`` and
        ``limit=8`` select the five orders 4, 5, 6, 7 and 8.
    :param sort: a :class:`Sort`, or ``{"key": ..., "dir": ...}``: a field of the order (for example ``date``,
        ``total``, ``status`` or ``sku_id``) and ``asc`` or ``des``; ``desc`` means ``des``.
    :param line_item_status: a list of one or more of ``unallocated``, ``allocated``, ``rejected``, ``has_tracking``,
        ``backordered`` and, with the ``api_version`` ``v1`` or ``timp``, ``partial``, ``cancelled``,
        ``needs_tracking``; no status twice. ``v1`` and ``timp`` cannot combine ``unallocated``, ``partial`` and
        ``allocated`` with the others.
    :param status_conjunction: how the statuses select an order; only together with ``line_item_status``. ``and``: at
        least one line item in each status; ``or`` (Crux Connect's default): at least one line item in any of them;
        ``only`` or ``all``: every line item in the one status. The specification uses both words, so yours is sent.
        With ``v1`` and ``timp`` only ``or`` is possible.
    :param start_date: start of the search, a datetime with a time zone; sent in UTC, truncated to the second.
    :param end_date: end of the search, likewise, and not before ``start_date``. The specification does not say whether
        an order of that very instant is included.
    :raises CruxInvalidRequestError: if a rule is violated; the message names every fault.

    Source: the specification of ``POST /api/orders/export/``.
    """

    start: int | None = None
    limit: int | None = None
    sort: Sort | Mapping[str, str] | None = None
    line_item_status: Sequence[str] | None = None
    status_conjunction: str | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None

    def __post_init__(self) -> None:
        if problems := request_problems(vars(self)):
            raise CruxInvalidRequestError("; ".join(problems))
        # copies, so that a list that the caller changes later does not change what is sent
        if self.sort is not None:
            sort = Sort(**self.sort) if isinstance(self.sort, Mapping) else self.sort
            object.__setattr__(self, "sort", replace(sort, dir="des") if sort.dir == "desc" else sort)
        if self.line_item_status is not None:
            object.__setattr__(self, "line_item_status", tuple(self.line_item_status))
        # as they are sent, so that two requests are equal if their bodies are
        for name in ("start_date", "end_date"):
            if (moment := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole_second(moment))

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> OrdersExportRequest:
        """
        Return the request that :meth:`as_json` returned.

        :param body: what :meth:`as_json` returned.
        :raises CruxInvalidRequestError: if a rule is violated, or it is anything else.
        """
        try:
            ends = {name: datetime.fromisoformat(body[name]) for name in ("start_date", "end_date") if name in body}
            return cls(**{**body, **ends})
        except (TypeError, ValueError) as error:
            raise CruxInvalidRequestError(f"request: {describe(body)} is not a request ({error})") from error

    @property
    def selects_by_index(self) -> bool:
        """Whether it selects only a part of the orders that match: those between two indices."""
        return bool(self.start) or self.limit is not None

    def as_json(self) -> dict[str, Any]:
        """
        Return the fields that are set as a new dict of JSON types: the body for the ``api_version`` ``api``.

        Other versions spell the body differently, but a request is always recorded like this.
        """
        body = {name: value for name, value in vars(self).items() if value is not None}
        if isinstance(self.sort, Sort):
            body["sort"] = asdict(self.sort)
        if self.line_item_status is not None:
            body["line_item_status"] = list(self.line_item_status)
        for name in ("start_date", "end_date"):
            if name in body:
                body[name] = format_instant(body[name])
        return body
