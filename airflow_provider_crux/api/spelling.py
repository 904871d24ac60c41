"""
How a version of the API spells a request, and what it cannot say.

A request is the same for every version, and is stored in its own words. Only here, when it is about to be sent, the
connection's version is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from airflow_provider_crux.api.instants import format_instant
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.api.versions import VERSIONS, ApiVersion
from airflow_provider_crux.exceptions import CruxInvalidRequestError


def export_body(request: OrdersExportRequest, version: ApiVersion) -> dict[str, Any]:
    """
    Return the body of the request for an export.

    :raises CruxInvalidRequestError: if the version cannot say what the request does.
    """
    if problems := [*_status_problems(request, version), *_conjunction_problems(request, version)]:
        raise CruxInvalidRequestError(f"{'; '.join(problems)}. Nothing was sent")
    body: dict[str, Any] = {}
    for name, value in request.as_json().items():
        match name:
            case "line_item_status":
                body |= _by_field(value, version)
            case "status_conjunction" if not version.has_conjunction:
                pass  # "or", which is what an array means
            case "sort" if value["dir"] == "des":
                body[name] = {**value, "dir": version.descending}
            case _:
                body[name] = value
    return body


def list_body(request: OrdersExportRequest, version: ApiVersion) -> dict[str, Any]:
    """
    Return the body of the request for the list of orders, which has the same fields.

    :raises CruxInvalidRequestError: likewise, also for several values of which the list accepts one.
    """
    body = export_body(request, version)
    for field in version.list_takes_one:
        if len(body.get(field, ())) > 1:
            raise CruxInvalidRequestError(
                f"line_item_status: the list of api_version {version.name!r} accepts one status of {field}, not "
                f"{list(request.line_item_status or ())!r}; list each status by itself"
            )
        if field in body:
            (body[field],) = body[field]
    for name in ("start_date", "end_date"):
        if (moment := getattr(request, name)) is not None:
            body[name] = format_instant(moment, version.list_dates)
    return body


def split_for_list(request: OrdersExportRequest, version: ApiVersion) -> list[OrdersExportRequest]:
    """
    Return the requests whose lists together hold the orders of this one: several if the list accepts one status.

    :raises CruxInvalidRequestError: if the version cannot say what this one does.
    """
    export_body(request, version)
    if not any(field in version.list_takes_one for field in _by_field(request.line_item_status or (), version)):
        return [request]
    return [replace(request, line_item_status=[status]) for status in request.line_item_status or ()]


def _by_field(statuses: Any, version: ApiVersion) -> dict[str, list[str]]:
    """Return how a version spells statuses: each field that it needs, with its values."""
    fields = {
        field: [spelled[status] for status in statuses if status in spelled]
        for field, spelled in version.statuses.items()
    }
    return {field: values for field, values in fields.items() if values}


def _status_problems(request: OrdersExportRequest, version: ApiVersion) -> Iterator[str]:
    if not (statuses := request.line_item_status or ()):
        return
    words = [", ".join(spelled) for spelled in version.statuses.values()]
    known = {status for spelled in version.statuses.values() for status in spelled}
    if unknown := [status for status in statuses if status not in known]:
        others = [
            repr(other.name)
            for other in VERSIONS.values()
            if all(any(status in spelled for spelled in other.statuses.values()) for status in unknown)
        ]
        yield (
            f"line_item_status: api_version {version.name!r} has no status {unknown!r}; use {', '.join(words)}, or, if "
            f"your account uses {' or '.join(others)}, change the connection's api_version"
        )
    elif len(_by_field(statuses, version)) > 1:
        yield (
            f"line_item_status: api_version {version.name!r} cannot combine {list(statuses)!r}; use only some of "
            f"{', or only some of '.join(words)}"
        )


def _conjunction_problems(request: OrdersExportRequest, version: ApiVersion) -> Iterator[str]:
    if not version.has_conjunction and request.status_conjunction not in (None, "or"):
        yield (
            f"status_conjunction: api_version {version.name!r} has no {request.status_conjunction!r}; use 'or', or "
            "leave it out"
        )
