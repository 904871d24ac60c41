"""What the call for an export accepts: the wire rules of ``/api/orders/export/``, held strictly.

The real service may let more pass. Here each slip is refused, so that it is found before a real person gets
an e-mail about an export that nobody wanted.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException

from airflow_provider_crux.sandbox.orders import STATUSES

CONJUNCTIONS = ("and", "or", "only", "all")
DIRECTIONS = ("asc", "des")
_FIELDS = ("start", "limit", "sort", "line_item_status", "status_conjunction", "start_date", "end_date")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", re.ASCII)


@dataclass(frozen=True)
class Query:
    """A call for an export that obeys the rules.

    :param start: index of the first order (default 0)
    :param limit: index of the last order, None for no end
    :param sort: key and direction, None for the order of creation
    :param statuses: line item statuses, empty for any
    :param conjunction: how they relate to an order (default ``or``)
    :param start_date: first instant of the search, None for the first order there is
    :param end_date: last instant of the search, None for now
    """

    start: int = 0
    limit: int | None = None
    sort: tuple[str, str] | None = None
    statuses: tuple[str, ...] = ()
    conjunction: str = "or"
    start_date: datetime | None = None
    end_date: datetime | None = None


def judge(body: object) -> Query:
    """Hold the body of a call for an export against the rules.

    :param body: what its JSON text says
    :return: the same, typed
    :raises HTTPException: 400 with the field and the rule it breaks
    """
    if not isinstance(body, dict):
        raise _bad("the body", "must be an object")
    for name, value in body.items():
        if name not in _FIELDS:
            raise _bad("the body", f"has a field that is none of {', '.join(_FIELDS)}")
        if value is None:
            raise _bad(name, "is null: leave out what is not set")
    statuses = _statuses(body)
    query = Query(
        start=_index(body, "start") or 0,
        limit=_index(body, "limit"),
        sort=_sort(body),
        statuses=statuses,
        conjunction=_conjunction(body, statuses),
        start_date=_date(body, "start_date"),
        end_date=_date(body, "end_date"),
    )
    if query.limit is not None and query.limit < query.start:
        raise _bad("limit", "is the index of the last order: it must not be less than start")
    if query.start_date and query.end_date and query.start_date > query.end_date:
        raise _bad("end_date", "must not be before start_date")
    return query


def _bad(field: str, rule: str) -> HTTPException:
    return HTTPException(400, f"{field}: {rule}")


def _index(body: dict[str, Any], name: str) -> int | None:
    if name not in body:
        return None
    value = body[name]
    # in Python a bool is an int, in JSON it is not a number
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _bad(name, "must be a whole number, 0 or more")
    return value


def _sort(body: dict[str, Any]) -> tuple[str, str] | None:
    if "sort" not in body:
        return None
    sort = body["sort"]
    if not isinstance(sort, dict) or sort.keys() != {"key", "dir"}:
        raise _bad("sort", "must be an object with a key and a dir, and nothing else")
    if not isinstance(sort["key"], str) or not sort["key"]:
        raise _bad("sort.key", "must be a string, and not empty")
    if sort["dir"] not in DIRECTIONS:
        raise _bad("sort.dir", f"must be one of {', '.join(DIRECTIONS)}")
    return sort["key"], sort["dir"]


def _statuses(body: dict[str, Any]) -> tuple[str, ...]:
    if "line_item_status" not in body:
        return ()
    statuses = body["line_item_status"]
    if not isinstance(statuses, list) or not statuses:
        raise _bad("line_item_status", "must be an array of at least one status")
    if any(status not in STATUSES for status in statuses):
        raise _bad("line_item_status", f"must hold only {', '.join(STATUSES)}")
    if len(set(statuses)) < len(statuses):
        raise _bad("line_item_status", "must name each status once")
    return tuple(statuses)


def _conjunction(body: dict[str, Any], statuses: tuple[str, ...]) -> str:
    if "status_conjunction" not in body:
        return "or"
    conjunction = body["status_conjunction"]
    if not isinstance(conjunction, str) or conjunction not in CONJUNCTIONS:
        raise _bad("status_conjunction", f"must be one of {', '.join(CONJUNCTIONS)}")
    if not statuses:
        raise _bad("status_conjunction", "needs line_item_status")
    # the seed has both words for one meaning
    if conjunction in {"only", "all"} and len(statuses) > 1:
        raise _bad("status_conjunction", f"{conjunction} takes exactly one status")
    return conjunction


def _date(body: dict[str, Any], name: str) -> datetime | None:
    if name not in body:
        return None
    value = body[name]
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise _bad(name, "must be a string of the form YYYY-MM-DDThh:mm:ss.000Z")
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.000Z").replace(tzinfo=UTC)
    except ValueError as error:
        raise _bad(name, "is no real date") from error
