"""The record of an export across the tries of a task, in both stores; how tasks use it is tested with the operator."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import airflow
import pytest
from airflow.listeners.listener import get_listener_manager
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crux.api.exports import SubmittedExport
from airflow_provider_crux.api.orders import OrdersExportRequest, Sort
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator
from airflow_provider_crux.task.durable import KEY, ExportStateStore, Intent
from airflow_provider_crux.task.variable_record import delete_variable, variable_key
from tests.conftest import FakeTaskInstance

AIRFLOW_2 = airflow.__version__.startswith("2.")
REQUESTED_AT = datetime(2026, 1, 2, 0, 0, 7, 500_000, tzinfo=UTC)
EXPORT = SubmittedExport(
    "b9888421-594c-4d2f-9f0d-3b138a16c845",
    OrdersExportRequest(
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        end_date=datetime(2026, 1, 2, tzinfo=UTC),
        sort=Sort("date", "desc"),
        line_item_status=("rejected",),
    ),
    REQUESTED_AT,
    REQUESTED_AT + timedelta(seconds=1),
    "crux_default",
)
VARIABLE = "crux_export:d:export:manual__2026-01-05:-1"
LOG = logging.getLogger("tests.durable")


class StateStore(dict[str, Any]):
    """Airflow's task state store, which holds JSON."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class FailingStore:
    """A store whose database is away."""

    def get(self, key: str) -> Any:
        raise ConnectionError("no database")

    def set(self, key: str, value: Any) -> None:
        raise ConnectionError("no database")

    def delete(self, key: str) -> None:
        raise ConnectionError("no database")


def make_store(context: Any, *, durable: bool = True) -> ExportStateStore:
    return ExportStateStore(context, retries=2, durable=durable, log=LOG)


def test_the_record_is_in_one_place_and_holds_nothing_else(make_context, variables) -> None:
    record = {
        "crux_conn_id": "crux_default",
        "export_uuid": "b9888421-594c-4d2f-9f0d-3b138a16c845",
        "interval_start": "2026-01-01T00:00:00.000Z",
        "interval_end": "2026-01-02T00:00:00.000Z",
        "request": {
            "sort": {"key": "date", "dir": "des"},
            "line_item_status": ["rejected"],
            "start_date": "2026-01-01T00:00:00.000Z",
            "end_date": "2026-01-02T00:00:00.000Z",
        },
        "requested_at": "2026-01-02T00:00:07.500000+00:00",
        "accepted_at": "2026-01-02T00:00:08.500000+00:00",
    }
    task_state_store = StateStore()
    make_store(make_context(task_state_store=task_state_store)).save(EXPORT)
    assert (task_state_store, variables) == ({KEY: record}, {})
    make_store(make_context()).save(EXPORT)
    assert {key: json.loads(value) for key, value in variables.items()} == {VARIABLE: record}


def test_a_task_that_is_not_durable_neither_saves_nor_loads(make_context, variables) -> None:
    make_store(make_context(), durable=False).save_intent(Intent(REQUESTED_AT))
    make_store(make_context(), durable=False).save(EXPORT)
    assert variables == {}
    make_store(make_context()).save(EXPORT)
    assert make_store(make_context(), durable=False).load() is None


@pytest.mark.parametrize("text", ["", "text", "[1]", '{"request": {}}'])
def test_a_variable_with_other_contents_is_an_error_that_names_it(make_context, variables, text: str) -> None:
    variables[VARIABLE] = text
    with pytest.raises(AirflowFailException, match=f"the Variable '{VARIABLE}', is damaged"):
        make_store(make_context()).load()


@pytest.mark.parametrize(
    "difference",
    [
        {"dag_id": "e"},
        {"task_id": "other"},
        {"run_id": "manual__2026-01-06"},
        {"map_index": 3},
        {"dag_id": "d.export", "task_id": "sub"},
    ],
)
def test_every_task_instance_has_a_record_of_its_own(make_context, difference: dict[str, Any]) -> None:
    make_store(make_context(identity={"task_id": "export.sub"})).save(EXPORT)
    assert make_store(make_context(identity={"task_id": "export.sub"})).load() == EXPORT
    other = make_context(identity={"task_id": "export.sub"} | difference)
    assert make_store(other).load() is None


IDS = st.text("ab._-", min_size=1, max_size=4)
RUN_IDS = st.text("ab:.", min_size=1, max_size=6)
IDENTITIES = st.tuples(IDS, IDS, RUN_IDS, st.integers(-1, 12))


@given(IDENTITIES, IDENTITIES)
def test_no_two_task_instances_share_a_variable(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    def key(identity: tuple[Any, ...]) -> str:
        names = ("dag_id", "task_id", "run_id", "map_index")
        return variable_key(FakeTaskInstance(**dict(zip(names, identity, strict=True))))

    assert (key(one) == key(other)) == (one == other)


def test_a_key_that_is_too_long_for_a_variable_is_hashed(make_context) -> None:
    def key(length: int, **identity: Any) -> str:
        return variable_key(make_context(identity={"run_id": "r" * length, **identity})["ti"])

    longest = 250 - len(key(0))
    assert key(longest) == f"crux_export:d:export:{'r' * longest}:-1"
    assert len(key(longest)) == 250
    hashed = key(longest + 1)
    assert hashed.startswith("crux_export:")
    assert len(hashed) == len("crux_export:") + 64
    assert len({hashed, key(longest + 2), key(longest + 1, map_index=10), key(longest + 1, task_id="exporz")}) == 4


def test_every_variable_has_a_key_that_fits_into_a_database(make_context, variables) -> None:
    # a later try that finds nothing also writes the Variable that tests whether reading works
    for length in range(180, 260):
        store = make_store(make_context(identity={"run_id": "r" * length, "try_number": 2}))
        assert store.load() is None
        store.save(EXPORT)
        assert store.load() == EXPORT
    assert len(variables) == 80


def test_a_store_that_is_away_stops_what_must_not_be_sent_and_nothing_else(make_context, caplog) -> None:
    store = make_store(make_context(task_state_store=FailingStore()))
    with pytest.raises(AirflowException, match="Could not read 'crux_export' in the task state store"):
        store.load()
    with pytest.raises(AirflowException, match="Could not save in 'crux_export' in the task state store"):
        store.save_intent(Intent(REQUESTED_AT))
    store.discard_intent(None)
    assert "The next try will treat this request as if it had been processed" in caplog.text
    store.save(EXPORT)
    assert f"Export {EXPORT.export_uuid} is requested; if this try ends early" in caplog.text


def test_the_variable_is_removed_after_success_below_airflow_3_3_alone(make_context, variables) -> None:
    variables |= {VARIABLE: "{}", "unrelated": "1"}
    delete_variable(make_context(task_state_store=StateStore()))
    assert set(variables) == {VARIABLE, "unrelated"}
    context = make_context()
    delete_variable(context)
    if AIRFLOW_2:  # a worker that is killed now leaves a task that has not succeeded
        assert set(variables) == {VARIABLE, "unrelated"}
        for task_instance in (make_context(identity={"task_id": "other"})["ti"], context["ti"]):
            get_listener_manager().hook.on_task_instance_success(
                previous_state=None, task_instance=task_instance, session=None
            )
    assert set(variables) == {"unrelated"}


def test_a_try_that_airflow_has_given_up_does_not_remove_the_record_of_the_next_one(
    make_context, variables, monkeypatch
) -> None:
    variables[VARIABLE] = "{}"
    monkeypatch.setattr("airflow_provider_crux.task.variable_record._is_current", lambda _: False)
    delete_variable(make_context())
    assert set(variables) == {VARIABLE}


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 says whether it could read its database")
def test_a_later_try_does_not_believe_that_there_is_no_record_if_it_can_read_none(make_context, monkeypatch) -> None:
    monkeypatch.setattr("airflow_provider_crux.task.variable_record._read_variable", lambda _: None)
    assert make_store(make_context()).load() is None
    with pytest.raises(AirflowException, match="Airflow cannot read its Variables"):
        make_store(make_context(identity={"try_number": 2})).load()


def test_the_variable_is_removed_at_once_in_a_run_that_airflow_does_not_store(make_context, variables) -> None:
    """``airflow tasks test`` of Airflow 2 calls the callbacks, and never stores a success."""
    variables[VARIABLE] = "{}"
    delete_variable(make_context(test_mode=True))
    assert variables == {}


# The operator removes the Variable in its on_success_callback, beside those of the DAG's author.


def own_callback(context: Any) -> None:
    """Do what a DAG's author wants."""


def other_callback(context: Any) -> None:
    """Do what else a DAG's author wants."""


@pytest.mark.parametrize(
    ("given", "callbacks"),
    [
        (None, [delete_variable]),
        (own_callback, [own_callback, delete_variable]),
        ([], [delete_variable]),
        ([own_callback, other_callback], [own_callback, other_callback, delete_variable]),
    ],
    ids=["none", "callable", "empty list", "list"],
)
@pytest.mark.parametrize("place", ["argument", "default_args"])
def test_the_callbacks_of_the_dags_author_are_kept(given: object, callbacks: list[object], place: str) -> None:
    arguments = {"on_success_callback": given}
    default_args = arguments if place == "default_args" else {}
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=default_args):
        first = CruxOrdersExportOperator(task_id="first", **(arguments if place == "argument" else {}))
        second = CruxOrdersExportOperator(task_id="second", **(arguments if place == "argument" else {}))
    assert first.on_success_callback == callbacks
    assert second.on_success_callback == callbacks  # none is added twice to a list that tasks share


def test_a_task_that_is_not_durable_has_no_callback_of_ours() -> None:
    task = CruxOrdersExportOperator(task_id="export", durable=False, on_success_callback=own_callback)
    assert task.on_success_callback in (own_callback, [own_callback])
