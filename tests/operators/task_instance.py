"""One task instance of the export operator, whose tries and record a test controls."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from airflow.listeners.listener import get_listener_manager
from airflow.providers.common.compat.sdk import DAG, TaskDeferred

from airflow_provider_crux.operators.orders import CruxOrdersExportOperator

if TYPE_CHECKING:
    from collections.abc import Callable

AIRFLOW_2 = airflow.__version__.startswith("2.")
BODY = {"start_date": "2026-01-01T00:00:00.000Z", "end_date": "2026-01-02T00:00:00.000Z"}
WAIT = {"wait_for_completion": True}
DEFER = {"wait_for_completion": True, "deferrable": True}


class StateStore(dict[str, Any]):
    """Airflow's task state store, which outlives a try."""

    set = dict.__setitem__
    delete = dict.__delitem__


class ReadOnlyStore(StateStore):
    """A store that can be written a number of times, and read always."""

    def __init__(self, writes: int = 0) -> None:
        super().__init__()
        self.writes = writes

    def set(self, key: str, value: Any) -> None:
        if not self.writes:
            raise RuntimeError("database is locked")
        self.writes -= 1
        self[key] = value


class UnreadableStore(StateStore):
    """A store that cannot be read."""

    def get(self, key: str) -> Any:
        raise RuntimeError("database is locked")


class Task:
    """
    One task instance. Each try has an operator and a context of its own; the store outlives them.

    :param make_context: the fixture.
    :param store: Airflow's task state store; ``None`` below Airflow 3.3.
    """

    def __init__(self, make_context: Callable[..., dict[str, Any]], store: StateStore | None) -> None:
        self.store = store
        self.pushed: dict[str, Any] = {}
        self.tries, self.max_tries, self.clear_number = 0, 2, 0
        self._make_context = make_context

    def run(self, **arguments: Any) -> str:
        """Run a try, and return the UUID of its export; what it pushed is in ``pushed``."""
        return make_operator(**arguments).execute(self.new_context())

    def defer(self, **arguments: Any) -> TaskDeferred:
        """Run a try until it defers."""
        with pytest.raises(TaskDeferred) as deferral:
            self.run(**DEFER, **arguments)
        return deferral.value

    def crash_while_waiting(self, **arguments: Any) -> str:
        """Run a try that requests an export and ends while it waits, and return the UUID of the export."""
        return self.defer(**arguments).kwargs["export"]["export_uuid"]

    def resume(self, deferral: TaskDeferred, *, on_ambiguous: str = "retry", **event: Any) -> str:
        """Resume a try with a trigger's event and with what the try deferred with."""
        return self._resume(deferral, {"event": event, **deferral.kwargs}, on_ambiguous=on_ambiguous)

    def resume_in_dag_test(self, deferral: TaskDeferred, **event: Any) -> str:
        """Resume a try as ``dag.test()`` does: with the event alone."""
        return self._resume(deferral, {"event": event})

    def _resume(self, deferral: TaskDeferred, kwargs: dict[str, Any], **arguments: Any) -> str:
        return make_operator(**DEFER, **arguments).resume_execution(deferral.method_name, kwargs, self.new_context())

    def succeed(self, **arguments: Any) -> str:
        """Run a try that succeeds, with the callbacks that Airflow calls then."""
        operator, context = make_operator(**arguments), self.new_context()
        uuid = operator.execute(context)
        for callback in operator.on_success_callback:
            callback(context)
        if AIRFLOW_2:  # which stores the success only now
            hook = get_listener_manager().hook
            hook.on_task_instance_success(previous_state=None, task_instance=context["ti"], session=None)
        return uuid

    def clear(self, *, retries: int = 2) -> None:
        """Do what Airflow does when a person clears the task instance; ``retries`` is what the DAG says then."""
        self.max_tries = self.tries + retries
        self.clear_number += 1

    def clear_another_task(self) -> None:
        """Do what Airflow does when a person clears another task of the same run."""
        self.clear_number += 1

    def new_context(self) -> dict[str, Any]:
        """Return the context of the next try."""
        self.tries += 1
        context = self._make_context(
            identity={"try_number": self.tries, "max_tries": self.max_tries},
            dag=DAG("waiting", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)),
            dag_run=SimpleNamespace(
                run_type="manual", run_after=datetime(2026, 1, 5, tzinfo=UTC), clear_number=self.clear_number
            ),
            params={},
            **({} if self.store is None else {"task_state_store": self.store}),
        )
        # Airflow removes what a try pushed before the next one
        self.pushed = context["ti"].pushed
        return context


def make_operator(**arguments: Any) -> CruxOrdersExportOperator:
    interval = {"interval_start": "2026-01-01", "interval_end": "2026-01-02"}
    return CruxOrdersExportOperator(task_id="export", **({"poll_interval": 0.01, "retries": 2} | interval | arguments))
