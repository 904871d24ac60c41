"""The parameters of a DAG whose run chooses which orders to export: how they are declared, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow.providers.common.compat.sdk import Param

from airflow_provider_crux.api.orders import (
    LINE_ITEM_STATUSES,
    OTHER_LINE_ITEM_STATUSES,
    SORT_DIRECTIONS,
    STATUS_CONJUNCTIONS,
)
from airflow_provider_crux.api.versions import API, other_versions
from airflow_provider_crux.task.arguments import none_if_unset

__all__ = ["orders_export_params"]

# A DAG has one set of parameters for all its tasks: "start" or "limit" may belong to another one.
_PREFIX: Final = "orders_"
_PARAMS: Final = ("interval_start", "interval_end", "line_item_status", "status_conjunction", "start", "limit")
# Airflow's form would show the word null
_NOT_SET: Final = {"null": "(not set)"}


def orders_export_params() -> dict[str, Param]:
    """
    Return the parameters of a DAG whose run chooses which orders to export. All are optional.

    ``DAG(params=orders_export_params())`` is enough: ``CruxOrdersExportOperator`` reads what a person enters in
    Airflow's form, or passes as ``conf`` over REST or the command line, for every argument that the DAG's author leaves
    out. An empty field is not set.

    :return: with the prefix ``orders_``, because a DAG has one set of parameters for all its tasks: ``interval_start``,
        ``interval_end``, ``line_item_status``, ``status_conjunction``, ``sort_key``, ``sort_dir``, ``start``,
        ``limit``. Each means the same as the operator's argument without the prefix.
    """
    instant: dict[str, Any] = {"type": ["null", "string"], "format": "date-time"}
    index: dict[str, Any] = {"type": ["null", "integer"], "minimum": 0}
    return {
        "orders_interval_start": Param(
            None, title="From", description="Start of the interval. Empty: that of the run itself.", **instant
        ),
        "orders_interval_end": Param(
            None, title="To", description="End of the interval. Empty: that of the run itself.", **instant
        ),
        "orders_line_item_status": Param(
            None,
            type=["null", "array"],
            examples=[*LINE_ITEM_STATUSES, *OTHER_LINE_ITEM_STATUSES],
            title="Statuses",
            description="Only orders with line items in these statuses. Empty: all orders. With the connection's "
            f"api_version {other_versions(API.name)} only: {', '.join(OTHER_LINE_ITEM_STATUSES)}.",
        ),
        "orders_status_conjunction": Param(
            None,
            type=["null", "string"],
            enum=[None, *STATUS_CONJUNCTIONS],
            values_display=_NOT_SET,
            title="Conjunction",
            description="How the statuses select an order. or: a line item has any of them (the default); and: each of "
            "them has a line item; only, all: every line item has the one selected status.",
        ),
        "orders_sort_key": Param(
            None,
            type=["null", "string"],
            title="Sort by",
            description="A field of the order, for example date, total or status. Empty: by creation.",
        ),
        "orders_sort_dir": Param(
            None,
            type=["null", "string"],
            enum=[None, *SORT_DIRECTIONS],
            values_display=_NOT_SET,
            title="Direction",
            description="asc: ascending, des: descending. Only with a field to sort by.",
        ),
        "orders_start": Param(None, title="First order", description="Index of the first order. Empty: 0.", **index),
        "orders_limit": Param(
            None,
            title="Last order",
            description="Index of the order at which the results end; not a page size. Empty: all.",
            **index,
        ),
    }


def export_arguments_from_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operator's arguments that a run's parameters set; those of other tasks are ignored."""
    arguments = {name: params.get(f"{_PREFIX}{name}") for name in _PARAMS}
    sort = {name: params.get(f"{_PREFIX}sort_{name}") for name in ("key", "dir")}
    # one alone is for the rules of the request to report
    arguments["sort"] = sort if any(sort.values()) else None
    # None, an empty text and an empty list are what the form sends for an empty field
    return {name: value for name, value in arguments.items() if none_if_unset(value) not in (None, [])}
