"""The record of an export across the tries of a task, in both stores."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_crux.durable import (
    KEY,
    ExportStateStore,
    SubmittedExport,
    delete_variable,
    fingerprint,
    variable_key,
)
from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

if TYPE_CHECKING:
    from collections.abc import Callable

EXPORT = SubmittedExport("b9888421-594c-4d2f-9f0d-3b138a16c845", 1_700_000_000.5)
BODY = {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}
FINGERPRINT = fingerprint("crux_default", BODY)
VARIABLE = "crux_export.d.export.manual__2026-01-05.-1"
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


@pytest.fixture(params=["task state store", "Variable"])
def make_store(request, make_context) -> Callable[..., ExportStateStore]:
    """Return a function that makes the store of another try of one task instance."""
    entries = {"task_state_store": StateStore()} if request.param == "task state store" else {}

    def store(*, durable: bool = True, **identity: Any) -> ExportStateStore:
        return ExportStateStore(make_context(identity=identity, **entries), durable=durable, log=LOG)

    return store


def test_a_later_try_loads_what_an_earlier_one_saved(make_store) -> None:
    assert make_store().load(FINGERPRINT) is None
    make_store().save(EXPORT, FINGERPRINT)
    assert make_store(try_number=2).load(FINGERPRINT) == EXPORT


def test_an_export_of_another_request_is_not_loaded(make_store) -> None:
    make_store().save(EXPORT, FINGERPRINT)
    assert make_store(try_number=2).load(fingerprint("other", BODY)) is None


def test_a_completed_export_is_loaded_until_the_task_is_cleared(make_store) -> None:
    make_store(max_tries=2).save(EXPORT, FINGERPRINT)
    make_store(max_tries=2).save(EXPORT, FINGERPRINT, completed=True)
    assert make_store(max_tries=2, try_number=2).load(FINGERPRINT) == EXPORT
    # a Clear raises max_tries
    assert make_store(max_tries=3, try_number=2).load(FINGERPRINT) is None


def test_an_export_that_is_not_completed_is_loaded_even_after_a_clear(make_store) -> None:
    make_store(max_tries=2).save(EXPORT, FINGERPRINT)
    assert make_store(max_tries=3, try_number=2).load(FINGERPRINT) == EXPORT


def test_a_task_that_is_not_durable_neither_saves_nor_loads(make_store, variables) -> None:
    make_store(durable=False).save(EXPORT, FINGERPRINT)
    assert make_store().load(FINGERPRINT) is None
    make_store().save(EXPORT, FINGERPRINT)
    assert make_store(durable=False).load(FINGERPRINT) is None


def test_the_record_is_in_one_place_and_holds_nothing_else(make_context, variables) -> None:
    record = {"export_uuid": EXPORT.export_uuid, "requested_at": EXPORT.requested_at, "fingerprint": FINGERPRINT}
    task_state_store = StateStore()
    with_state = make_context(task_state_store=task_state_store)
    ExportStateStore(with_state, durable=True, log=LOG).save(EXPORT, FINGERPRINT)
    assert (task_state_store, variables) == ({KEY: record}, {})
    ExportStateStore(make_context(), durable=True, log=LOG).save(EXPORT, FINGERPRINT)
    assert {key: json.loads(value) for key, value in variables.items()} == {VARIABLE: record}


@pytest.mark.parametrize("text", ["", "text", "[1]", '{"fingerprint": 1}'])
def test_a_variable_with_other_contents_is_ignored(make_context, variables, text: str) -> None:
    variables[VARIABLE] = text
    assert ExportStateStore(make_context(), durable=True, log=LOG).load(FINGERPRINT) is None


@pytest.mark.parametrize(
    "difference", [{"dag_id": "e"}, {"task_id": "other"}, {"run_id": "manual__2026-01-06"}, {"map_index": 3}]
)
def test_every_task_instance_has_a_record_of_its_own(make_context, difference: dict[str, Any]) -> None:
    ExportStateStore(make_context(), durable=True, log=LOG).save(EXPORT, FINGERPRINT)
    other = make_context(identity=difference)
    assert ExportStateStore(other, durable=True, log=LOG).load(FINGERPRINT) is None


def test_a_key_that_is_too_long_for_a_variable_is_hashed(make_context) -> None:
    def key(length: int, **identity: Any) -> str:
        return variable_key(make_context(identity={"run_id": "r" * length, **identity})["ti"])

    longest = 250 - len(key(0))
    assert key(longest) == f"crux_export.d.export.{'r' * longest}.-1"
    assert len(key(longest)) == 250
    hashed = key(longest + 1)
    assert hashed.startswith("crux_export.")
    assert len(hashed) == len("crux_export.") + 64
    assert len({hashed, key(longest + 2), key(longest + 1, map_index=10), key(longest + 1, task_id="exporz")}) == 4


def test_a_fingerprint_identifies_a_request() -> None:
    assert fingerprint("crux_default", dict(reversed(BODY.items()))) == FINGERPRINT
    assert fingerprint("crux_default", BODY | {"start": 0}) != FINGERPRINT
    assert fingerprint("crux_other", BODY) != FINGERPRINT


def test_a_store_that_cannot_be_read_fails_a_later_try_and_not_the_first(make_context, caplog) -> None:
    def store(try_number: int) -> ExportStateStore:
        context = make_context(identity={"try_number": try_number}, task_state_store=FailingStore())
        return ExportStateStore(context, durable=True, log=LOG)

    assert store(1).load(FINGERPRINT) is None
    assert "Could not read the record of an earlier export (ConnectionError)" in caplog.text
    with pytest.raises(ConnectionError):
        store(2).load(FINGERPRINT)


def test_a_store_that_cannot_be_written_is_a_warning_that_names_the_export(make_context, caplog) -> None:
    context = make_context(task_state_store=FailingStore())
    ExportStateStore(context, durable=True, log=LOG).save(EXPORT, FINGERPRINT)
    assert f"Could not save export {EXPORT.export_uuid} (ConnectionError)" in caplog.text


def test_the_variable_is_removed_after_success_below_airflow_3_3_alone(make_context, variables) -> None:
    variables |= {VARIABLE: "{}", "unrelated": "1"}
    delete_variable(make_context(task_state_store=StateStore()))
    assert set(variables) == {VARIABLE, "unrelated"}
    delete_variable(make_context())
    assert set(variables) == {"unrelated"}


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
