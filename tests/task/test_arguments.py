"""The operator's arguments: what the form of a DAG supplies, and what a rendered template means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, ParamValidationError

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.params import export_arguments_from_params, orders_export_params
from airflow_provider_crux.task.arguments import coerce_rendered, is_template

UUID = "b9888421-594c-4d2f-9f0d-3b138a16c845"
HOST = "http://127.0.0.1:9"
EXPORT_URL = f"{HOST}/api/orders/export/"
BODY = {"start_date": "2026-01-04T00:00:00.000Z", "end_date": "2026-01-05T00:00:00.000Z"}
DAY = {"orders_interval_start": BODY["start_date"], "orders_interval_end": BODY["end_date"]}


@pytest.fixture(autouse=True)
def crux(connect, requests_mock):
    connect(host=HOST, password="d7bb2fbb0c666dee5a5a36634baac3114e08ba9c")
    requests_mock.post(EXPORT_URL, json={"uuid": UUID})
    return requests_mock


@pytest.fixture
def run(make_context):
    """Return a function that executes the operator in a run with some ``conf`` for the parameters of its DAG."""

    def run_with_conf(conf: dict[str, Any], *, declared: dict[str, Any] | None = None, **arguments: Any) -> None:
        params = orders_export_params() if declared is None else declared
        dag = DAG("manual", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params=params)
        operator = CruxOrdersExportOperator(task_id="export", dag=dag, **arguments)
        dag_run = SimpleNamespace(run_type="manual", run_after=datetime(2026, 1, 5, tzinfo=UTC))
        values = {name: dag.params[name] for name in dag.params} | conf
        operator.execute(make_context(dag=dag, dag_run=dag_run, params=values))

    return run_with_conf


def test_an_empty_field_is_not_set(crux, run) -> None:
    params = orders_export_params()
    assert {name: param.resolve() for name, param in params.items()} == dict.fromkeys(params)
    assert export_arguments_from_params({name: param.resolve() for name, param in params.items()}) == {}
    run(DAY | {"orders_line_item_status": [], "orders_sort_key": ""})
    assert crux.last_request.json() == BODY


def test_every_field_is_part_of_the_request(crux, run) -> None:
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
    assert crux.last_request.json() == BODY | {
        "line_item_status": ["rejected", "allocated"],
        "status_conjunction": "and",
        "sort": {"key": "date", "dir": "des"},
        "start": 0,
        "limit": 9,
    }


def test_the_form_does_not_change_what_the_dags_author_has_set(crux, run) -> None:
    run(DAY | {"orders_start": 5}, start=1, line_item_status=["rejected"])
    assert crux.last_request.json() == BODY | {"start": 1, "line_item_status": ["rejected"]}


def test_a_parameter_of_another_task_never_changes_an_export(crux, run) -> None:
    foreign = {"start": 7, "limit": 8, "sort": {"key": "x", "dir": "asc"}, "line_item_status": ["rejected"]}
    foreign |= {"status_conjunction": "and", "start_date": "2020-01-01", "lookback": 3}
    foreign |= {"interval_start": "2020-01-01", "interval_end": "2020-01-02"}
    run(DAY, declared=orders_export_params() | foreign)
    assert crux.last_request.json() == BODY
    run({}, declared=orders_export_params() | foreign, lookback=timedelta(days=1), durable=False)
    assert crux.last_request.json() == BODY


def test_a_parameter_that_the_task_declares_counts_too(crux, run) -> None:
    run({"orders_limit": 5}, declared={}, params={"orders_limit": 9}, lookback=timedelta(days=1))
    assert crux.last_request.json() == BODY | {"limit": 5}


def test_a_value_in_conf_counts_only_if_the_dag_declares_the_parameter(crux, run) -> None:
    conf = {"orders_interval_start": "2020-01-01", "orders_limit": 5, "orders_sort_key": "date"}
    run(conf, declared={"region": "eu"}, lookback=timedelta(days=1))
    assert crux.last_request.json() == BODY


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"orders_interval_start": BODY["end_date"], "orders_interval_end": BODY["start_date"]}, "is reversed"),
        (
            {"orders_line_item_status": ["rejected", "allocated"], "orders_status_conjunction": "only"},
            "'only' takes one status",
        ),
        ({"orders_status_conjunction": "and"}, "status_conjunction: 'and' is set without line_item_status"),
        ({"orders_start": 5, "orders_limit": 4}, "limit: 4 is below start 5"),
        ({"orders_sort_dir": "asc"}, "sort: key"),
        ({"orders_sort_key": "date"}, "sort: dir"),
        ({"orders_interval_start": "tomorrow"}, "interval_start: .*'tomorrow'"),
    ],
)
def test_an_invalid_combination_fails_the_run_with_the_same_error_as_in_code(
    crux, run, conf: dict[str, Any], message: str
) -> None:
    with pytest.raises(AirflowFailException, match=message):
        run(DAY | conf)
    assert crux.call_count == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("orders_line_item_status", "rejected"),
        ("orders_status_conjunction", "xor"),
        ("orders_sort_dir", "up"),
        ("orders_start", -1),
        ("orders_limit", "all"),
        ("orders_interval_start", 5),
    ],
)
def test_airflow_rejects_a_value_that_the_form_does_not_offer(name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError, match=re.escape(repr(value))):
        orders_export_params()[name].resolve(value)


def test_every_field_has_a_title_and_a_description() -> None:
    for param in orders_export_params().values():
        assert param.schema["title"]
        assert param.description


@pytest.mark.parametrize("value", ["{{ ds }}", "{% if a %}1{% endif %}", ["{{ ds }}"], {"key": ["{{ ds }}"]}])
def test_a_template_is_recognized_wherever_it_is_nested(value: object) -> None:
    assert is_template(value)


@pytest.mark.parametrize("value", ["date", "{ }", ["rejected"], {"key": "date", "dir": "asc"}, 3, None])
def test_a_value_that_is_known_when_the_dag_is_parsed_is_no_template(value: object) -> None:
    assert not is_template(value)


def test_a_rendered_text_has_the_type_of_its_argument_again() -> None:
    rendered = {
        "start": " 4 ",
        "limit": "None",
        "sort": "{'key': 'date', 'dir': 'asc'}",
        "line_item_status": "['rejected']",
        "status_conjunction": "",
        "interval_start": "2026-01-02",
    }
    assert coerce_rendered(rendered) == {
        "start": 4,
        "sort": {"key": "date", "dir": "asc"},
        "line_item_status": ["rejected"],
        "interval_start": "2026-01-02",
    }


def test_every_parameter_has_the_prefix_that_no_other_task_uses() -> None:
    assert not [name for name in orders_export_params() if not name.startswith("orders_")]


@pytest.mark.parametrize(
    ("name", "text"),
    [("start", "four"), ("start", "9" * 5000), ("limit", "1;2"), ("sort", "date"), ("line_item_status", "[" * 9999)],
    ids=lambda value: value[:20],
)
def test_a_rendered_text_that_cannot_be_read_is_left_for_the_rules_to_report(name: str, text: str) -> None:
    assert coerce_rendered({name: text}) == {name: text}
