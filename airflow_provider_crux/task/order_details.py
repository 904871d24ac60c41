"""What a transfer takes from the list of orders: the details of its rows, and which orders the file lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.order_details import OrderDetails, read_order_details
from airflow_provider_crux.exceptions import CruxError, CruxInvalidRequestError, CruxInvalidResponseError
from airflow_provider_crux.files.order_details import ListedOrders

if TYPE_CHECKING:
    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.hooks.crux import CruxHook

_CLOCKS_DIFFER: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class OrderDetailsSource:
    """
    The list of the orders of an export, if the task reads it.

    :param order_details: the argument of the task.
    :param submitted: the export, whose own request selects the orders of the list.
    :param done: what the task does with the file, as a participle.
    :param checkpoint: called for each order before the file is stored; raises if the task was killed.
    """

    order_details: bool | str
    hook: CruxHook
    submitted: SubmittedExport
    log: Any
    done: str
    checkpoint: Callable[[], None]

    @contextmanager
    def read(self) -> Iterator[ListedOrders | None]:
        """
        Read the list; ``None`` if it need not be read, or cannot and need not be.

        :raises CruxError: if the list cannot be read, and must be.
        """
        if not self.order_details:
            yield None
            return
        with closing(ListedOrders()) as listed:
            yield listed if self._try_to_read(listed) else None

    def _try_to_read(self, listed: ListedOrders) -> bool:
        try:
            listed.read(self._orders(self.checkpoint))
        except CruxError as error:
            if self.order_details != "if_available":
                raise type(error)(
                    f"order_details: the list of orders cannot be read. {error}. Nothing was {self.done}; to go on "
                    "without these columns, use order_details='if_available'"
                ) from error
            self.log.warning("The columns of order_details are empty, because the list cannot be read. %s", error)
            return False
        return True

    def _orders(self, checkpoint: Callable[[], None] = lambda: None) -> Iterator[OrderDetails | None]:
        request = self.submitted.request
        if request is None:
            raise CruxInvalidRequestError(
                f"It is unknown which orders export {self.submitted.export_uuid} has: pass export.output of the "
                "CruxOrdersExportOperator that requests it, and leave its do_xcom_push on"
            )
        if not request.selects_by_index:
            request = replace(request, sort=None)  # a list that is sorted by what changes may lose orders
        for order in self.hook.iter_orders(request):
            checkpoint()
            yield read_order_details(order)

    def compare(self, listed: ListedOrders | None) -> dict[str, int | None]:
        """
        Log what file and list do not have in common, once the file has been stored, and return what XComs say of it.

        They say nothing if the task does not read the list. ``missing_orders`` is ``None`` if nobody can know. It is no
        reason to fail: the file is stored.
        """
        if not self.order_details:
            return {}
        counts: dict[str, int | None] = {"matched_orders": None, "missing_orders": None}
        if listed is None or not listed.file_has_orders:
            return counts
        try:
            counts["matched_orders"] = matched = listed.matched
            self.log.info("The list of orders has %d of the %d orders of the file", matched, listed.orders)
            counts["missing_orders"] = self._missing(listed)
        except CruxError as error:
            self.log.warning("Whether the file lacks orders is unknown. %s", error)
        return counts

    def _missing(self, listed: ListedOrders) -> int | None:
        """Return how many orders the file lacks; raise CruxError if the list does not tell."""
        request = self.submitted.request
        if request is None or request.line_item_status or request.selects_by_index:
            self.log.info("missing_orders is unknown: the export has line_item_status, start or limit")
            return None  # what these select changes
        start, end = request.start_date, request.end_date
        # what came after the export is not missing
        before = (self.submitted.requested_at or datetime.now(UTC)) - _CLOCKS_DIFFER
        if listed.missing(start, end, before).count or listed.unlisted.count:
            # orders of the last minutes may come or go between the export and the list
            listed.read(self._orders())
        missing, unlisted = listed.missing(start, end, before), listed.unlisted
        if unlisted.count:
            self.log.warning(
                "The list lacks %s that the file of export %s has: their columns of order_details are empty",
                unlisted,
                self.submitted.export_uuid,
            )
        if listed.unreadable:
            raise CruxInvalidResponseError(f"{listed.unreadable} orders of the list have no UUID")
        if unlisted.count and not listed.matched:
            raise CruxInvalidResponseError("The list has none of the orders of the file: it may have other filters")
        if (others := listed.of_other_days(start, end)).count:
            raise CruxInvalidResponseError(f"The list also has {others} that were not created within the interval")
        if missing.count:
            self.log.warning(
                "The file of export %s lacks %s that the list has. Export the interval again, with an e-mail; if "
                "orders are missing again, ask Crux Connect for the reason",
                self.submitted.export_uuid,
                missing,
            )
        return missing.count
