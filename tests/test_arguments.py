"""The form of a DAG that a person triggers, and what the operator makes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.arguments import export_arguments_from_params, orders_export_params

UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
EXPORT = "https://api.cruxconnect.com/api/orders/export/"
DAY = {"interval_start": "2026-01-04T00:00:00.000Z", "interval_end": "2026-01-05T00:00:00.000Z"}
SENT = {"start_date": DAY["interval_start"], "end_date": DAY["interval_end"]}


@pytest.fixture(autouse=True)
def crux(connect, requests_mock):
    connect(password="d7bb2fbb0c666dee5a5a36634baac3114e08ba9c")
    requests_mock.post(EXPORT, json={"uuid": UUID})
    return requests_mock


def run(conf: dict[str, Any], **given: Any) -> None:
    """Run the operator as a run with this ``conf`` would: Airflow has checked it against the parameters."""
    dag = DAG("manual", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params=orders_export_params())
    operator = CruxOrdersExportOperator(task_id="export", dag=dag, **given)
    params = {name: dag.params[name] for name in dag.params} | conf
    run_from_context = SimpleNamespace(run_type="manual", run_after=datetime(2026, 1, 5, tzinfo=UTC))
    pushes = SimpleNamespace(xcom_push=lambda **_: None)
    operator.execute({"dag": dag, "dag_run": run_from_context, "params": params, "ti": pushes})


def test_every_field_may_stay_empty_and_means_not_set(crux) -> None:
    params = orders_export_params()
    assert {name: param.resolve() for name, param in params.items()} == dict.fromkeys(params)
    assert export_arguments_from_params({name: param.resolve() for name, param in params.items()}) == {}
    run(DAY | {"orders_line_item_status": [], "orders_sort_key": ""})
    assert crux.last_request.json() == SENT


def test_every_field_goes_into_the_request(crux) -> None:
    run(
        DAY
        | {
            "orders_line_item_status": ["rejected", "allocated"],
            "orders_status_conjunction": "and",
            "orders_sort_key": "date",
            "orders_sort_dir": "des",
            "orders_start": 0,
            "orders_limit": 9,
        }
    )
    assert crux.last_request.json() == SENT | {
        "line_item_status": ["rejected", "allocated"],
        "status_conjunction": "and",
        "sort": {"key": "date", "dir": "des"},
        "start": 0,
        "limit": 9,
    }


def test_what_the_dags_author_has_set_is_not_for_the_form_to_change(crux) -> None:
    run(DAY | {"orders_start": 5}, start=1, line_item_status=["rejected"])
    assert crux.last_request.json() == SENT | {"start": 1, "line_item_status": ["rejected"]}


def test_a_parameter_of_another_task_never_changes_an_export(crux) -> None:
    foreign = {"start": 7, "limit": 8, "sort": {"key": "x", "dir": "asc"}, "line_item_status": ["rejected"]}
    run(DAY | foreign | {"status_conjunction": "and", "start_date": "2020-01-01", "lookback": 3})
    assert crux.last_request.json() == SENT


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({"interval_start": DAY["interval_end"], "interval_end": DAY["interval_start"]}, "interval"),
        ({"orders_line_item_status": ["rejected", "allocated"], "orders_status_conjunction": "only"}, "conjunction"),
        ({"orders_status_conjunction": "and"}, "status_conjunction"),
        ({"orders_start": 5, "orders_limit": 4}, "limit: 4 is below start 5"),
        ({"orders_sort_dir": "asc"}, "sort: key"),
        ({"orders_sort_key": "date"}, "sort: dir"),
        ({"interval_start": "tomorrow"}, "interval_start: .*'tomorrow'"),
    ],
)
def test_a_combination_that_is_wrong_fails_the_run_with_the_same_error_as_in_code(
    crux, conf: dict[str, Any], named: str
) -> None:
    with pytest.raises(AirflowFailException, match=named):
        run(DAY | conf)
    assert crux.call_count == 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("orders_line_item_status", "rejected"),
        ("orders_status_conjunction", "xor"),
        ("orders_sort_dir", "up"),
        ("orders_start", -1),
        ("orders_limit", "all"),
        ("interval_start", 5),
    ],
)
def test_airflow_refuses_what_the_form_does_not_offer(name: str, wrong: Any) -> None:
    with pytest.raises(Exception, match=r"(?i)param|valid|not"):
        orders_export_params()[name].resolve(wrong)


def test_every_field_has_a_title_and_says_what_empty_means() -> None:
    for param in orders_export_params().values():
        assert param.schema["title"]
        assert param.description
