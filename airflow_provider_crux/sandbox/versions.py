"""
The three versions of the API, side by side: their paths, and how they spell what they accept and return.

What is not here is the same in all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ApiVersion:
    """
    What differs from one version of the API to another.

    :param login_path: path of the login.
    :param export_path: path of the request for an export.
    :param list_path: path of the list of orders.
    :param status_path: path of the status of an export, to which its UUID and a slash are appended.
    :param export_success: HTTP status code of an accepted request for an export.
    :param sort_directions: the two values of ``sort.dir``.
    :param statuses: the fields that filter by the state of line items, with the words of each; see
        :class:`~airflow_provider_crux.sandbox.orders.LineItem`.
    :param conjunctions: the values of ``status_conjunction``; empty if there is no such field.
    :param one_in_list: the field of ``statuses`` that takes one word in a request for the list, instead of an array.
    :param list_dates: the format of dates in a request for the list.
    :param line_item: the fields of a line item in the list, with the values that ``orders_list`` has for them.
    """

    login_path: str
    export_path: str
    list_path: str
    status_path: str
    export_success: int
    sort_directions: tuple[str, str]
    statuses: Mapping[str, tuple[str, ...]]
    conjunctions: tuple[str, ...] = ()
    one_in_list: str | None = None
    list_dates: str
    line_item: Mapping[str, str] = field(repr=False)


EXPORT_DATES = "YYYY-MM-DDThh:mm:ss.000Z"

_STATUSES = {"line_item_status": ("unallocated", "allocated", "rejected", "has_tracking", "backordered")}
_ALLOCATION_AND_DESIGNATION = {
    "line_item_allocation_statuses": ("Unallocated", "Partial", "Allocated"),
    "line_item_designation": ("Rejected", "HasTracking", "Backordered", "Cancelled", "NeedsTracking"),
}
_LINE_ITEM = {
    name: name for name in ("uuid", "status", "sku_id", "cost", "supplier_uuid", "tracking_numbers", "allocation")
}

VERSIONS = {
    # 2017-11 to 2018-01, and the specification of the export
    "api": ApiVersion(
        login_path="/api/organizations/user-login/",
        export_path="/api/orders/export/",
        list_path="/api/orders/",
        status_path="/api/data/export/",
        export_success=200,
        sort_directions=("asc", "des"),
        statuses=_STATUSES,
        conjunctions=("and", "or", "only", "all"),
        list_dates=EXPORT_DATES,
        line_item=_LINE_ITEM,
    ),
    # 2018-01 to 2019-03; the vendor documented the status of an export with /api even then
    "v1": ApiVersion(
        login_path="/organizations/user-login/",
        export_path="/orders/search/export/",
        list_path="/orders/",
        status_path="/api/data/export/",
        export_success=201,
        sort_directions=("asc", "desc"),
        statuses=_ALLOCATION_AND_DESIGNATION,
        one_in_list="line_item_designation",
        list_dates=EXPORT_DATES,
        line_item=_LINE_ITEM,
    ),
    # 2018-09 to 2019-03, the last that is documented
    "timp": ApiVersion(
        login_path="/timp/organizations/user-login/",
        export_path="/timp/orders/search/export/",
        list_path="/timp/orders/",
        status_path="/timp/data/export/",
        export_success=201,
        sort_directions=("asc", "desc"),
        statuses=_ALLOCATION_AND_DESIGNATION,
        one_in_list="line_item_designation",
        list_dates="YYYY-MM-DD hh:mm:ss",
        line_item={
            "line_item_uuid": "uuid",
            "status": "allocation_status",
            "line_item_designation": "designation",
            "sku_id": "sku_id",
            "retailer_provided_sku_cost": "cost",
            "supplier": "supplier",
            "tracking": "packages",
            "allocation": "allocation",
        },
    ),
}
"""The versions by name. ``api`` is the default."""
