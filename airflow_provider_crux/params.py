"""The form of a DAG that a person triggers: its parameters, which the export operator takes up by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow.providers.common.compat.sdk import Param

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, SORT_DIRECTIONS, STATUS_CONJUNCTIONS

# A DAG has one set of parameters for all its tasks: "start" or "limit" may well be another task's.
_PREFIX: Final = "orders_"
_INTERVAL: Final = ("interval_start", "interval_end")
# Airflow's form would show the word null
_NOT_SET: Final = {"null": "(not set)"}
_PLAIN: Final = ("line_item_status", "status_conjunction", "start", "limit")


def orders_export_params() -> dict[str, Param]:
    """
    Return the parameters of a DAG whose run says which orders to export, each of them optional.

    ``DAG(params=orders_export_params())`` is all there is to do: ``CruxOrdersExportOperator`` takes up what a person
    enters in Airflow's form, or gives as ``conf`` over REST or the command line, for each argument that the DAG's
    author left open. What is left empty is not set.

    :returns: ``interval_start``, ``interval_end``, and with the prefix ``orders_``: ``line_item_status``,
        ``status_conjunction``, ``sort_key``, ``sort_dir``, ``start``, ``limit``.
    """
    instant: dict[str, Any] = {"type": ["null", "string"], "format": "date-time"}
    index: dict[str, Any] = {"type": ["null", "integer"], "minimum": 0}
    return {
        "interval_start": Param(
            None, title="From", description="Beginning of the interval. Empty: that of the run itself.", **instant
        ),
        "interval_end": Param(
            None, title="To", description="End of the interval. Empty: that of the run itself.", **instant
        ),
        "orders_line_item_status": Param(
            None,
            type=["null", "array"],
            examples=list(LINE_ITEM_STATUSES),
            title="Statuses",
            description="Only orders with line items of these statuses. Empty: all orders.",
        ),
        "orders_status_conjunction": Param(
            None,
            type=["null", "string"],
            enum=[None, *STATUS_CONJUNCTIONS],
            values_display=_NOT_SET,
            title="Conjunction",
            description="How the statuses relate to an order. or: a line item has any of them (the default); and: "
            "there is a line item for each; only, all: every line item has the one status that is chosen.",
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
            description="asc: from low to high, des: from high to low. Only with a field to sort by.",
        ),
        "orders_start": Param(None, title="First order", description="Index of the first order. Empty: 0.", **index),
        "orders_limit": Param(
            None,
            title="Last order",
            description="Index of the order at which the results end; not a page size. Empty: all.",
            **index,
        ),
    }


def given_in(params: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what a run's parameters say of an export, by the names of the operator's arguments.

    :param params: of the run; those of other tasks are passed over.
    :returns: what is set: ``None``, an empty text and an empty list are what the form gives for nothing.
    """
    given = {name: params.get(name) for name in _INTERVAL}
    given |= {name: params.get(f"{_PREFIX}{name}") for name in _PLAIN}
    sort = {name: params.get(f"{_PREFIX}sort_{name}") for name in ("key", "dir")}
    # both or neither: one alone is for the rules of the request to name
    given["sort"] = sort if any(sort.values()) else None
    return {name: value for name, value in given.items() if value not in (None, "", [], "None")}
