"""The tasks of an account with another version of the API: what they check, what they skip, and what they record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException

from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, OTHER_LINE_ITEM_STATUSES
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.params import orders_export_params
from tests.manifests import HOST
from tests.raw_server import TOKEN, UUID

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.operators.lake import Lake

API = f"http://{HOST}"
DAY = {"interval_start": "2026-01-04", "interval_end": "2026-01-05"}
DATES = {"start_date": "2026-01-04T00:00:00.000Z", "end_date": "2026-01-05T00:00:00.000Z"}
NO_ORDERS = {"total_results": 9, "orders": []}


@pytest.fixture
def run(make_context, connect) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the task of an account with a version, and returns the XComs."""

    def execute(version: str, params: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
        connect(host=API, password=TOKEN, extra={"api_version": version, "max_retries": 0})
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params=orders_export_params()) as dag:
            operator = CruxOrdersExportOperator(task_id="export", **DAY, **arguments)
        context = make_context(dag=dag, params=params or {})
        return {"return_value": operator.execute(context), **context["ti"].pushed}

    return execute


def bodies(requests_mock: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(request.path, request.json()) for request in requests_mock.request_history]


@pytest.mark.parametrize("status", [*LINE_ITEM_STATUSES, *OTHER_LINE_ITEM_STATUSES])
def test_a_dag_may_use_the_statuses_of_every_version(status: str) -> None:
    CruxOrdersExportOperator(task_id="export", line_item_status=[status])
    param = orders_export_params()["orders_line_item_status"]
    assert status in param.schema["examples"]


def test_a_status_that_no_version_has_fails_when_the_dag_is_parsed() -> None:
    with pytest.raises(CruxInvalidRequestError) as raised:
        CruxOrdersExportOperator(task_id="export", line_item_status=["HasTracking"])
    assert str(raised.value) == (
        "Task 'export': line_item_status: unknown status ['HasTracking']; use unallocated, allocated, rejected, "
        "has_tracking, backordered, or, with api_version 'v1' or 'timp', also partial, cancelled, needs_tracking"
    )


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        (
            {"line_item_status": ["partial", "rejected"]},
            (
                "line_item_status: no api_version can combine ['partial', 'rejected']; use only some of unallocated, "
                "partial, allocated, or only some of rejected, has_tracking, backordered, cancelled, needs_tracking"
            ),
        ),
        (
            {"line_item_status": ["cancelled"], "status_conjunction": "only"},
            "status_conjunction: no api_version can combine 'only' with ['cancelled']; use 'or', or leave it out",
        ),
    ],
)
def test_what_no_version_can_say_fails_when_the_dag_is_parsed(filters: dict[str, Any], problem: str) -> None:
    with pytest.raises(CruxInvalidRequestError) as raised:
        CruxOrdersExportOperator(task_id="export", **filters)
    assert str(raised.value) == f"Task 'export': {problem}"


@pytest.mark.parametrize(
    ("version", "filters", "problem"),
    [
        ("api", {"line_item_status": ["partial"]}, r"^line_item_status: api_version 'api' has no status \['partial'\]"),
        ("v1", {"line_item_status": ["allocated", "rejected"]}, "^line_item_status: api_version 'v1' cannot combine"),
        (
            "timp",
            {"line_item_status": ["rejected"], "status_conjunction": "only"},
            "^status_conjunction: api_version 'timp' has no 'only'",
        ),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_what_the_version_cannot_say_fails_the_run_without_a_request(
    run, requests_mock, variables, logged, *, version: str, filters: dict[str, Any], problem: str, skip: bool
) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        run(version, skip_if_no_orders=skip, **filters)
    assert requests_mock.call_count == 0
    assert "Requesting an export" not in logged()
    assert variables == {}, "no request may have been sent"


def test_the_xcom_does_not_depend_on_the_version(run, requests_mock) -> None:
    requests_mock.post(f"{API}/timp/orders/search/export/", status_code=201, json={"uuid": UUID})
    pushed = run(
        "timp", {"orders_line_item_status": ["needs_tracking"], "orders_sort_key": "date", "orders_sort_dir": "des"}
    )
    spelled = {"sort": {"key": "date", "dir": "desc"}, "line_item_designation": ["NeedsTracking"], **DATES}
    assert bodies(requests_mock) == [("/timp/orders/search/export/", spelled)]
    neutral = {"sort": {"key": "date", "dir": "des"}, "line_item_status": ["needs_tracking"], **DATES}
    assert pushed["return_value"] == UUID
    assert pushed["export_interval"]["request"] == neutral


def test_an_export_is_skipped_only_if_no_designation_has_orders(run, requests_mock) -> None:
    requests_mock.post(f"{API}/orders/", json=NO_ORDERS)
    requests_mock.post(f"{API}/orders/search/export/", json={"uuid": UUID})
    statuses = ["rejected", "backordered"]
    with pytest.raises(AirflowSkipException, match=r"lists no orders for .*backordered.*: no export was requested"):
        run("v1", line_item_status=statuses, skip_if_no_orders=True)
    listed = [
        ("/orders/", {"start": 0, "limit": 1, "line_item_designation": spelled, **DATES})
        for spelled in ("Rejected", "Backordered")
    ]
    assert bodies(requests_mock) == listed
    requests_mock.reset_mock()
    requests_mock.post(f"{API}/orders/", [{"json": NO_ORDERS}, {"json": {"total_results": 9, "orders": [{}]}}])
    run("v1", line_item_status=statuses, skip_if_no_orders=True)
    export = {"line_item_designation": ["Rejected", "Backordered"], **DATES}
    assert bodies(requests_mock) == [*listed, ("/orders/search/export/", export)]


@pytest.mark.parametrize(
    "page", [{"json": {"total_results": 9, "orders": [{}]}}, {"status_code": 204}, {"status_code": 500}]
)
def test_a_list_of_timp_that_leaves_a_doubt_never_stops_the_export(run, requests_mock, page: dict[str, Any]) -> None:
    requests_mock.post(f"{API}/timp/orders/", [{"json": NO_ORDERS}, page])
    requests_mock.post(f"{API}/timp/orders/search/export/", json={"uuid": UUID})
    assert run("timp", skip_if_no_orders=True)["return_value"] == UUID
    assert [path for path, _ in bodies(requests_mock)] == [*["/timp/orders/"] * 2, "/timp/orders/search/export/"]


def test_the_proof_lists_each_designation_of_the_stored_files(connect, requests_mock, folder: Lake, find_gaps) -> None:
    connect(host=API, password=TOKEN, extra={"api_version": "v1"})
    requests_mock.post(f"{API}/orders/", json=NO_ORDERS)
    start = datetime(2026, 1, 4, tzinfo=UTC)
    folder.store(start, start + timedelta(days=1), filters={"line_item_status": ["rejected", "cancelled"]})
    gaps, _ = find_gaps(folder.url, since="2026-01-04", until="2026-01-06", skip_if_no_orders=True)
    assert gaps == []
    assert [body["line_item_designation"] for _, body in bodies(requests_mock)] == ["Cancelled", "Rejected"]
    connect(host=API, password=TOKEN, extra={"api_version": "api"})
    message = (
        "^path: connection 'crux_default' cannot request the filters of the exports stored there: line_item_status: "
    )
    with pytest.raises(AirflowFailException, match=message):
        find_gaps(folder.url, since="2026-01-04", until="2026-01-06", skip_if_no_orders=True)
    assert requests_mock.call_count == 2
