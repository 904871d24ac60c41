"""
Validates the body of a request for an export or a list of orders, strictly and by the rules of one API version.

The real service may accept more. The sandbox rejects every mistake, so that you find it before a real person gets
an e-mail about an unwanted export.
"""

import re
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException

from airflow_provider_crux.sandbox.orders import ExportQuery
from airflow_provider_crux.sandbox.versions import EXPORT_DATES, VERSIONS, ApiVersion


def validate(body: Any, version: ApiVersion = VERSIONS["api"], *, for_list: bool = False) -> ExportQuery:
    """Return a request's body, typed, or raise HTTP 400 with the field and the rule that it breaks."""
    _require(isinstance(body, dict), "body", "must be a JSON object")
    known = _fields(version)
    for name, value in body.items():
        _require(name in known, "body", f"has the unknown field {name!r}; known fields: {', '.join(known)}")
        _require(value is not None, name, "must not be null; omit it instead")
    date_format = version.list_dates if for_list else EXPORT_DATES
    statuses = _statuses(body, version, for_list)
    query = ExportQuery(
        start=_index(body, "start") or 0,
        limit=_index(body, "limit"),
        sort=_sort(body, version.sort_directions),
        statuses=statuses,
        conjunction=_conjunction(body, statuses, version.conjunctions),
        start_date=_date(body, "start_date", date_format),
        end_date=_date(body, "end_date", date_format),
    )
    if query.limit is not None:
        _require(query.limit >= query.start, "limit", "must not be less than start; it is the index of the last order")
    if query.start_date and query.end_date:
        _require(query.start_date <= query.end_date, "end_date", "must not be before start_date")
    return query


def _fields(version: ApiVersion) -> tuple[str, ...]:
    conjunction = ("status_conjunction",) if version.conjunctions else ()
    return ("start", "limit", "sort", *version.statuses, *conjunction, "start_date", "end_date")


def _require(condition: bool, field: str, rule: str) -> None:
    if not condition:
        raise HTTPException(400, f"{field} {rule}")


def _index(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    # type() instead of isinstance(), because a bool is an int in Python
    _require(value is None or (type(value) is int and value >= 0), name, "must be an integer, 0 or greater")
    return value


def _sort(body: dict[str, Any], directions: tuple[str, ...]) -> tuple[str, str] | None:
    if "sort" not in body:
        return None
    sort = body["sort"]
    _require(
        isinstance(sort, dict) and sort.keys() == {"key", "dir"}, "sort", "must be an object with key and dir only"
    )
    _require(isinstance(sort["key"], str) and sort["key"] != "", "sort.key", "must be a non-empty string")
    _require(sort["dir"] in directions, "sort.dir", f"must be one of {', '.join(directions)}")
    return sort["key"], sort["dir"]


def _statuses(body: dict[str, Any], version: ApiVersion, for_list: bool) -> tuple[str, ...]:
    fields = [name for name in version.statuses if name in body]
    if not fields:
        return ()
    field, *others = fields
    # the vendor does not say how they combine
    _require(not others, field, f"must not be combined with {', '.join(others)}")
    statuses, words = body[field], version.statuses[field]
    if for_list and field == version.one_in_list:
        _require(statuses in words, field, f"must be one string in a request for the list: {', '.join(words)}")
        return (statuses,)
    _require(isinstance(statuses, list) and len(statuses) > 0, field, "must be a non-empty array of statuses")
    _require(all(status in words for status in statuses), field, f"must contain only {', '.join(words)}")
    _require(len(set(statuses)) == len(statuses), field, "must contain each status only once")
    return tuple(statuses)


def _conjunction(body: dict[str, Any], statuses: tuple[str, ...], conjunctions: tuple[str, ...]) -> str:
    field = "status_conjunction"
    if field not in body:
        return "or"
    conjunction: str = body[field]
    _require(conjunction in conjunctions, field, f"must be one of {', '.join(conjunctions)}")
    _require(len(statuses) > 0, field, "needs line_item_status")
    # the specification uses both words for one meaning
    one_only = conjunction in {"only", "all"}
    _require(not one_only or len(statuses) == 1, field, f"{conjunction} needs exactly one line_item_status")
    return conjunction


def _date(body: dict[str, Any], name: str, date_format: str) -> datetime | None:
    if name not in body:
        return None
    value = body[name]
    pattern = re.sub("[YMDhms]", r"\\d", re.escape(date_format))
    valid_format = isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None
    _require(valid_format, name, f"must be a string in the format {date_format}")
    try:
        return datetime.strptime(value[:19].replace("T", " "), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise HTTPException(400, f"{name} is not a valid date and time") from error
