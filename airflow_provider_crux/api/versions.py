"""
The three versions of Crux Connect's API side by side. All that differs between them is data, and is here.

An account uses one of them, and its connection says which one. :mod:`airflow_provider_crux.api.spelling` puts a request
into the words of a version; nothing else depends on it.

Sources: ``api`` is the specification's; ``v1`` and ``timp`` are in the public documentation of 2018 and 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WITH_ZONE: Final = "{date}T{time}.000Z"
WITHOUT_ZONE: Final = "{date} {time}"


@dataclass(frozen=True, kw_only=True)
class ApiVersion:
    """What one version calls its paths, and how it spells a request."""

    name: str
    """The value of the connection's extra ``api_version``."""
    login_path: str
    list_path: str
    export_path: str
    status_path: str
    """Of an export; its UUID follows."""
    statuses: Mapping[str, Mapping[str, str]]
    """The fields that filter by status, and how each spells the words of ``line_item_status``."""
    has_conjunction: bool
    """Whether it has the field ``status_conjunction``."""
    list_takes_one: tuple[str, ...]
    """The fields of ``statuses`` of which the list accepts one value, as a string; the export accepts an array."""
    list_dates: str
    """How the list spells an instant; the export always spells it :data:`WITH_ZONE`."""
    descending: str
    """The other direction of ``sort`` is ``asc``."""


_SPECIFIED: Final = ("unallocated", "allocated", "rejected", "has_tracking", "backordered")
_TWO_FIELDS: Final = {
    "line_item_allocation_statuses": {
        "unallocated": "Unallocated",
        "partial": "Partial",
        "allocated": "Allocated",
    },
    "line_item_designation": {
        "rejected": "Rejected",
        "has_tracking": "HasTracking",
        "backordered": "Backordered",
        "cancelled": "Cancelled",
        "needs_tracking": "NeedsTracking",
    },
}

API: Final = ApiVersion(
    name="api",  # November 2017 to January 2018
    login_path="/api/organizations/user-login/",
    list_path="/api/orders/",
    export_path="/api/orders/export/",
    status_path="/api/data/export/",
    statuses={"line_item_status": {word: word for word in _SPECIFIED}},
    has_conjunction=True,
    list_takes_one=(),
    list_dates=WITH_ZONE,
    descending="des",
)
V1: Final = ApiVersion(
    name="v1",  # January 2018 to March 2019
    login_path="/organizations/user-login/",
    list_path="/orders/",
    export_path="/orders/search/export/",
    status_path="/api/data/export/",  # the prefix stayed here
    statuses=_TWO_FIELDS,
    has_conjunction=False,
    list_takes_one=("line_item_designation",),
    list_dates=WITH_ZONE,
    descending="desc",  # the documentation has both spellings, and calls dir also value: not tried yet
)
TIMP: Final = ApiVersion(
    name="timp",  # since September 2018
    login_path="/timp/organizations/user-login/",
    list_path="/timp/orders/",
    export_path="/timp/orders/search/export/",
    status_path="/timp/data/export/",
    statuses=_TWO_FIELDS,
    has_conjunction=False,
    list_takes_one=("line_item_designation",),
    list_dates=WITHOUT_ZONE,
    descending="desc",  # as in v1
)

VERSIONS: Final[dict[str, ApiVersion]] = {version.name: version for version in (API, V1, TIMP)}
"""The versions by name, oldest first."""


def other_versions(name: str) -> str:
    """Return the names of the other versions, as messages show them."""
    return " or ".join(repr(other) for other in VERSIONS if other != name)
