"""
Validates the body of a request for an export or a list of orders, strictly.

The real service may accept more. The sandbox rejects every mistake, so that you find it before a real person gets
an e-mail about an unwanted export.
"""

import re
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException

from airflow_provider_crux.sandbox.orders import STATUSES, ExportQuery

CONJUNCTIONS = ("and", "or", "only", "all")
DIRECTIONS = ("asc", "des")
_FIELDS = ("start", "limit", "sort", "line_item_status", "status_conjunction", "start_date", "end_date")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", re.ASCII)


def validate(body: Any) -> ExportQuery:
    """Return a request's body, typed, or raise HTTP 400 with the field and the rule that it breaks."""
    _require(isinstance(body, dict), "body", "must be a JSON object")
    for name, value in body.items():
        _require(name in _FIELDS, "body", f"has the unknown field {name!r}; known fields: {', '.join(_FIELDS)}")
        _require(value is not None, name, "must not be null; omit it instead")
    statuses = _statuses(body)
    query = ExportQuery(
        start=_index(body, "start") or 0,
        limit=_index(body, "limit"),
        sort=_sort(body),
        statuses=statuses,
        conjunction=_conjunction(body, statuses),
        start_date=_date(body, "start_date"),
        end_date=_date(body, "end_date"),
    )
    if query.limit is not None:
        _require(query.limit >= query.start, "limit", "must not be less than start; it is the index of the last order")
    if query.start_date and query.end_date:
        _require(query.start_date <= query.end_date, "end_date", "must not be before start_date")
    return query


def _require(condition: bool, field: str, rule: str) -> None:
    if not condition:
        raise HTTPException(400, f"{field} {rule}")


def _index(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    # type() instead of isinstance(), because a bool is an int in Python
    _require(value is None or (type(value) is int and value >= 0), name, "must be an integer, 0 or greater")
    return value


def _sort(body: dict[str, Any]) -> tuple[str, str] | None:
    if "sort" not in body:
        return None
    sort = body["sort"]
    _require(
        isinstance(sort, dict) and sort.keys() == {"key", "dir"}, "sort", "must be an object with key and dir only"
    )
    _require(isinstance(sort["key"], str) and sort["key"] != "", "sort.key", "must be a non-empty string")
    _require(sort["dir"] in DIRECTIONS, "sort.dir", f"must be one of {', '.join(DIRECTIONS)}")
    return sort["key"], sort["dir"]


def _statuses(body: dict[str, Any]) -> tuple[str, ...]:
    field = "line_item_status"
    if field not in body:
        return ()
    statuses = body[field]
    _require(isinstance(statuses, list) and len(statuses) > 0, field, "must be a non-empty array of statuses")
    _require(all(status in STATUSES for status in statuses), field, f"must contain only {', '.join(STATUSES)}")
    _require(len(set(statuses)) == len(statuses), field, "must contain each status only once")
    return tuple(statuses)


def _conjunction(body: dict[str, Any], statuses: tuple[str, ...]) -> str:
    field = "status_conjunction"
    if field not in body:
        return "or"
    conjunction: str = body[field]
    _require(conjunction in CONJUNCTIONS, field, f"must be one of {', '.join(CONJUNCTIONS)}")
    _require(len(statuses) > 0, field, "needs line_item_status")
    # the specification uses both words for one meaning
    one_only = conjunction in {"only", "all"}
    _require(not one_only or len(statuses) == 1, field, f"{conjunction} needs exactly one line_item_status")
    return conjunction


def _date(body: dict[str, Any], name: str) -> datetime | None:
    if name not in body:
        return None
    value = body[name]
    valid_format = isinstance(value, str) and _DATE.fullmatch(value) is not None
    _require(valid_format, name, "must be a string in the format YYYY-MM-DDThh:mm:ss.000Z")
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.000Z").replace(tzinfo=UTC)
    except ValueError as error:
        raise HTTPException(400, f"{name} is not a valid date and time") from error
