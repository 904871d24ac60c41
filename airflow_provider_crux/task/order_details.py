"""What a transfer takes from the list of orders: the details of its rows, and which orders the file lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.order_details import OrderDetails, read_order_details
from airflow_provider_crux.exceptions import CruxError, CruxInvalidRequestError
from airflow_provider_crux.files.order_details import ListedOrders

if TYPE_CHECKING:
    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.hooks.crux import CruxHook

_CLOCKS_DIFFER: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class OrderDetailsSource:
    """
    The list of the orders of an export.

    :param submitted: the export, whose own request selects the orders of the list.
    :param checkpoint: called for each order before the file is stored; raises if the task was killed.
    """

    hook: CruxHook
    submitted: SubmittedExport
    log: Any
    checkpoint: Callable[[], None]

    @contextmanager
    def read(self, order_details: bool | str) -> Iterator[ListedOrders | None]:
        """
        Read the list; ``None`` if it cannot be read, and need not be.

        :param order_details: the argument of the task.
        :raises CruxError: if the list cannot be read, and must be.
        """
        with closing(ListedOrders()) as listed:
            is_available = bool(order_details) and self._try_to_read(
                listed, is_required=order_details != "if_available"
            )
            yield listed if is_available else None

    def _try_to_read(self, listed: ListedOrders, *, is_required: bool) -> bool:
        try:
            listed.read(self._orders(self.checkpoint))
        except CruxError as error:
            if is_required:
                raise type(error)(
                    f"order_details: the list of orders cannot be read. {error}. Nothing was stored; to go on without "
                    f"these columns, use order_details='if_available'"
                ) from error
            self.log.warning("The columns of order_details are empty, because the list cannot be read. %s", error)
            return False
        return True

    def _orders(self, checkpoint: Callable[[], None] = lambda: None) -> Iterator[OrderDetails]:
        if self.submitted.request is None:
            raise CruxInvalidRequestError(
                f"It is unknown which orders export {self.submitted.export_uuid} has: pass export.output of the "
                "CruxOrdersExportOperator that requests it, and leave its do_xcom_push on"
            )
        for order in self.hook.iter_orders(self.submitted.request):
            checkpoint()
            if (details := read_order_details(order)) is not None:
                yield details

    def compare(self, listed: ListedOrders | None) -> dict[str, int | None]:
        """
        Log what file and list do not have in common, once the file has been read, and return what XComs say of it.

        ``missing_orders`` is ``None`` if nobody can know: the list cannot be read again, or its filters go by what may
        have changed since the export, or by positions.
        """
        if listed is None:
            return {"matched_orders": None, "missing_orders": None}
        matched = listed.matched
        self.log.info("The list of orders has %d of the %d orders of the file", matched, listed.orders)
        return {"matched_orders": matched, "missing_orders": self._missing(listed)}

    def _missing(self, listed: ListedOrders) -> int | None:
        request = self.submitted.request
        if request is None or request.line_item_status or request.start or request.limit is not None:
            return None
        # what came after the export is not missing; neither is what may be before the interval or after it
        requested_at = self.submitted.requested_at or datetime.now(UTC)
        boundaries = [moment for moment in (request.start_date, request.end_date) if moment is not None]
        if listed.missing(requested_at - _CLOCKS_DIFFER, boundaries)[0] or listed.unlisted[0]:
            # orders of the last minutes may come or go between the export and the list
            try:
                listed.read(self._orders())
            except CruxError as error:
                self.log.warning(
                    "Whether the file lacks orders is unknown, because the list cannot be read again. %s", error
                )
                return None
        missing, uuids = listed.missing(requested_at - _CLOCKS_DIFFER, boundaries)
        if missing:
            self.log.warning(
                "The file of export %s lacks %s of the list: %s. Export the interval again, with an e-mail; if orders "
                "are missing again, ask Crux Connect for the reason",
                self.submitted.export_uuid,
                _number(missing),
                _shown(uuids, missing),
            )
        unlisted, uuids = listed.unlisted
        if unlisted:
            self.log.warning(
                "The list lacks %s of the file of export %s: %s. Their columns of order_details are empty",
                _number(unlisted),
                self.submitted.export_uuid,
                _shown(uuids, unlisted),
            )
        return missing


def _number(orders: int) -> str:
    return f"{orders} order{'' if orders == 1 else 's'}"


def _shown(uuids: list[str], count: int) -> str:
    return ", ".join(uuids) + (f", and {count - len(uuids)} more" if count > len(uuids) else "")
