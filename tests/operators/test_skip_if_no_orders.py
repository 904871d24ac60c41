"""``skip_if_no_orders``: the sandbox counts the exports, each of which would be an e-mail to a person."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import SandboxSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_crux.sandbox.state import Sandbox

LIST_PATH, EXPORT_PATH = "/api/orders/", "/api/orders/export/"
DAY = {"interval_start": "2026-01-04", "interval_end": "2026-01-05"}
NO_ORDERS = {"interval_start": "2016-01-04", "interval_end": "2016-01-05"}


class StateStore(dict[str, Any]):
    """Airflow's task state store, which outlives a try."""

    set = dict.__setitem__


@pytest.fixture(params=[True, False], ids=["task state store", "Variable"])
def run(request: pytest.FixtureRequest, make_context) -> Callable[..., str]:
    """Return a function that runs a try of the task; its arguments are the operator's."""
    store = {"task_state_store": StateStore()} if request.param else {}
    tries = []

    def run_try(**arguments: Any) -> str:
        tries.append(arguments)
        context = make_context(
            identity={"try_number": len(tries), "max_tries": 2},
            dag=DAG("asking", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)),
            dag_run=SimpleNamespace(run_type="manual", run_after=datetime(2026, 1, 5, tzinfo=UTC)),
            params={},
            **store,
        )
        run_try.pushed = context["ti"].pushed
        operator = CruxOrdersExportOperator(
            task_id="export", **({"skip_if_no_orders": True, "poll_interval": 0.01} | DAY | arguments)
        )
        return operator.execute(context)

    return run_try


def paths(sandbox: Sandbox) -> list[tuple[str, int]]:
    return [(entry["path"], entry["status"]) for entry in sandbox.requests if entry["method"] == "POST"]


@pytest.mark.parametrize(
    "arguments", [{}, {"wait_for_completion": True}, {"wait_for_completion": True, "deferrable": True}]
)
@pytest.mark.parametrize("filters", [{}, {"start": 4, "limit": 9, "sort": {"key": "total", "dir": "des"}}])
def test_without_orders_the_task_is_skipped_and_no_export_is_requested(
    held_sandbox: Sandbox, run, arguments: dict[str, Any], filters: dict[str, Any]
) -> None:
    with pytest.raises(AirflowSkipException, match=r"lists no orders for .*2016-01-04.*: no export was requested"):
        run(**NO_ORDERS, **arguments, **filters)
    assert paths(held_sandbox) == [(LIST_PATH, 200)]
    dates = {"start_date": "2016-01-04T00:00:00.000Z", "end_date": "2016-01-05T00:00:00.000Z"}
    assert held_sandbox.requests[0]["body"] == {**dates, "start": 0, "limit": 1}
    assert held_sandbox.exports == []
    assert "export_interval" not in run.pushed


def test_the_filters_decide_whether_there_are_orders(held_sandbox: Sandbox, run) -> None:
    # no order has five line items
    with pytest.raises(AirflowSkipException):
        run(line_item_status=list(LINE_ITEM_STATUSES), status_conjunction="and")
    assert held_sandbox.exports == []
    run(line_item_status=list(LINE_ITEM_STATUSES))
    assert len(held_sandbox.exports) == 1


def test_with_orders_one_export_is_requested_with_its_own_filters(held_sandbox: Sandbox, run) -> None:
    uuid = run(start=3, limit=5)
    assert paths(held_sandbox) == [(LIST_PATH, 200), (EXPORT_PATH, 200)]
    assert held_sandbox.exports == [uuid]
    assert (held_sandbox.requests[1]["body"]["start"], held_sandbox.requests[1]["body"]["limit"]) == (3, 5)


def test_without_the_argument_nothing_is_listed(held_sandbox: Sandbox, run) -> None:
    run(**NO_ORDERS, skip_if_no_orders=False)
    assert paths(held_sandbox) == [(EXPORT_PATH, 200)]


def test_the_decision_does_not_depend_on_the_reading_of_the_count(connect, run) -> None:
    with running_sandbox(SandboxSettings(total_results="organization")) as sandbox:
        connect(host=sandbox.url, password=sandbox.settings.token)
        with pytest.raises(AirflowSkipException):
            run(**NO_ORDERS)
        assert sandbox.exports == []
    with running_sandbox() as sandbox:
        connect(host=sandbox.url, password=sandbox.settings.token)
        sandbox.respond_next(LIST_PATH, 200, {}, b'{"total_results": 0, "orders": [{"uuid": "canary"}]}')
        uuid = run()
        assert sandbox.exports == [uuid]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ((403, b'{"detail": "no"}'), "HTTP 403"),
        ((404, b""), "HTTP 404"),
        ((405, b""), "HTTP 405"),
        ((429, b""), "HTTP 429"),
        ((500, b""), "HTTP 500"),
        ((503, b""), "HTTP 503"),
        ((200, b"<html>Sign in</html>"), "not a list of orders"),
        ((200, b'{"total_results": 1, "orders": ["canary Ada"]}'), "not a list of orders"),
    ],
)
def test_a_list_that_cannot_be_read_never_stops_the_export(
    held_sandbox: Sandbox, run, logged, response: tuple[int, bytes], reason: str
) -> None:
    status, body = response
    held_sandbox.respond_next(LIST_PATH, status, {}, body)
    uuid = run(**NO_ORDERS)
    assert paths(held_sandbox) == [(LIST_PATH, status), (EXPORT_PATH, 200)]
    assert held_sandbox.exports == [uuid]
    output = logged()
    assert "Could not check whether there are orders; requesting the export anyway: " in output
    assert reason in output
    assert "canary" not in output


def test_a_list_that_takes_too_long_never_stops_the_export(held_sandbox: Sandbox, run, connect, logged) -> None:
    connect(host=held_sandbox.url, password=held_sandbox.settings.token, extra={"max_retries": 0, "read_timeout": 2})
    # the rest of the body never comes
    held_sandbox.respond_next(LIST_PATH, 200, {"Content-Length": "1000"}, b"{")
    uuid = run()
    assert held_sandbox.exports == [uuid]
    assert "requesting the export anyway: Could not list orders: the response was lost" in logged()


def test_if_the_export_fails_too_its_error_counts(held_sandbox: Sandbox, run) -> None:
    held_sandbox.respond_next(LIST_PATH, 401)
    held_sandbox.respond_next(EXPORT_PATH, 401)
    with pytest.raises(AirflowFailException, match="Could not request an export of orders"):
        run()


def test_a_retry_resumes_its_export_and_does_not_list(held_sandbox: Sandbox, run) -> None:
    with pytest.raises(TaskDeferred) as deferral:
        run(wait_for_completion=True, deferrable=True)
    held_sandbox.finish_export(held_sandbox.exports[0])
    # the orders are gone meanwhile, which must not matter: the e-mail was sent
    held_sandbox.respond_next(LIST_PATH, 200, {}, b'{"total_results": 0, "orders": []}')
    assert run(wait_for_completion=True) == deferral.value.kwargs["export"]["export_uuid"]
    assert paths(held_sandbox) == [(LIST_PATH, 200), (EXPORT_PATH, 200)]


def test_a_retry_without_an_export_lists_again(held_sandbox: Sandbox, run) -> None:
    held_sandbox.respond_next(LIST_PATH, 200, {}, b'{"total_results": 0, "orders": []}')
    with pytest.raises(AirflowSkipException):
        run()
    assert [run()] == held_sandbox.exports
    assert paths(held_sandbox) == [(LIST_PATH, 200), (LIST_PATH, 200), (EXPORT_PATH, 200)]
