"""A try that ends while its request is under way, in whatever way: the next one knows. A server counts the requests."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_crux.exceptions import CruxAmbiguousError, CruxRateLimitError
from tests.operators.task_instance import StateStore, Task, make_operator
from tests.raw_server import EXPORT_PATH, LOGIN_PATH, TOKEN, UUID, Connection, Fault, RawServer, raw_server

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = r"may have been under way since 20\d\d-.*Nothing was sent now.*clear the task"


class Killed(BaseException):
    """The end of the process, as far as the code in it can notice."""


def kill_this_process(connection: Connection) -> None:
    """End the try whose request the server has read, as the signal of a timeout does: before the response."""
    os.kill(os.getpid(), signal.SIGUSR1)
    connection.stay_silent()


def lose_response(_: Connection) -> None:
    """Close the connection without a response."""


def respond_normally(connection: Connection) -> None:
    connection.send(connection.normal_response())


@pytest.fixture(autouse=True)
def _signal() -> Iterator[None]:
    def kill(*_: object) -> None:
        raise Killed

    before = signal.signal(signal.SIGUSR1, kill)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture(params=[True, False], ids=["task state store", "Variable"])
def any_task(request, make_context) -> Task:
    return Task(make_context, StateStore() if request.param else None)


@pytest.fixture
def serve(connect):
    """Return a context manager that runs a server whose responses to the requests for an export are these, in turn."""

    @contextmanager
    def server(*faults: Fault) -> Iterator[RawServer]:
        def fault(connection: Connection) -> None:
            faults[min(connection.server.count_requests(EXPORT_PATH), len(faults)) - 1](connection)

        with raw_server(fault, EXPORT_PATH) as running:
            connect(host=running.url, password=TOKEN, extra={"max_retries": 0, "read_timeout": 10})
            yield running

    return server


ENDS = pytest.mark.parametrize(
    ("end", "error"), [(kill_this_process, Killed), (lose_response, CruxAmbiguousError)], ids=["killed", "lost"]
)


@ENDS
def test_by_default_the_next_try_says_that_a_second_e_mail_may_be_sent(
    any_task: Task, serve, end: Fault, error: type[BaseException], logged
) -> None:
    with serve(end, respond_normally) as server:
        with pytest.raises(error):
            any_task.run()
        logged()
        assert any_task.run() == UUID
        assert server.count_requests(EXPORT_PATH) == 2
    assert "its outcome is unknown. This try requests another one, because on_ambiguous is 'retry'" in logged()


def test_with_fail_the_tries_after_a_killed_one_report_it_and_only_a_clear_requests_again(
    any_task: Task, serve
) -> None:
    with serve(kill_this_process, respond_normally) as server:
        with pytest.raises(Killed):
            any_task.run(on_ambiguous="fail")
        # a try that is itself killed before Airflow knows that it failed is tried again: three times the same
        for _ in range(3):
            with pytest.raises(AirflowFailException, match=UNKNOWN):
                any_task.run(on_ambiguous="fail")
        any_task.clear_another_task()
        with pytest.raises(AirflowFailException, match=UNKNOWN):
            any_task.run(on_ambiguous="fail")
        assert server.count_requests(EXPORT_PATH) == 1
        any_task.clear()
        assert any_task.run(on_ambiguous="fail") == UUID
        assert server.count_requests(EXPORT_PATH) == 2


def test_with_fail_a_clear_before_any_try_has_reported_it_does_not_request_again(any_task: Task, serve) -> None:
    with serve(kill_this_process, respond_normally) as server:
        with pytest.raises(Killed):
            any_task.run(on_ambiguous="fail", retries=0)
        any_task.clear(retries=0)
        with pytest.raises(AirflowFailException, match=UNKNOWN):
            any_task.run(on_ambiguous="fail", retries=0)
        assert server.count_requests(EXPORT_PATH) == 1


def without_uuid(connection: Connection) -> None:
    connection.respond(200, b"{}")


@pytest.mark.parametrize(
    ("end", "policy"),
    [(lose_response, "fail"), (without_uuid, "fail"), (without_uuid, "retry")],
    ids=["lost", "200 without a UUID, fail", "200 without a UUID, retry"],
)
def test_after_a_try_that_has_reported_it_itself_a_clear_requests_again(
    any_task: Task, serve, end: Fault, policy: str
) -> None:
    with serve(end, respond_normally) as server:
        with pytest.raises(AirflowFailException, match="a second e-mail"):
            any_task.run(on_ambiguous=policy)
        assert server.count_requests(EXPORT_PATH) == 1
        any_task.clear()
        assert any_task.run(on_ambiguous=policy) == UUID
        assert server.count_requests(EXPORT_PATH) == 2


def rate_limit(connection: Connection) -> None:
    connection.respond(429, b"", "Retry-After: 1")


def reject(connection: Connection) -> None:
    connection.respond(403)


@pytest.mark.parametrize(
    ("end", "error"), [(rate_limit, CruxRateLimitError), (reject, AirflowFailException)], ids=["429", "403"]
)
def test_after_a_request_that_was_surely_not_processed_the_next_try_requests(
    any_task: Task, serve, end: Fault, error: type[Exception], logged
) -> None:
    with serve(end, respond_normally) as server:
        with pytest.raises(error):
            any_task.run(on_ambiguous="fail")
        logged()
        assert any_task.run(on_ambiguous="fail") == UUID
        assert server.count_requests(EXPORT_PATH) == 2
    assert "unknown" not in logged()


def test_a_request_that_was_surely_not_processed_does_not_hide_that_of_an_earlier_try(
    any_task: Task, serve, logged
) -> None:
    with serve(lose_response, rate_limit, respond_normally) as server:
        with pytest.raises(CruxAmbiguousError):
            any_task.run()
        with pytest.raises(CruxRateLimitError):
            any_task.run()
        logged()
        assert any_task.run() == UUID
        assert server.count_requests(EXPORT_PATH) == 3
    assert "its outcome is unknown. This try requests another one" in logged()


def test_what_fails_before_the_request_leaves_no_intent(any_task: Task, serve, connect) -> None:
    """Neither a connection that cannot be read nor a login is the request."""
    with serve(respond_normally) as server:
        connect(host=server.url, login="ada", password="wrong", extra={"max_retries": 0, "read_timeout": 10})
        server.fault, server.faulty_path = kill_this_process, LOGIN_PATH
        with pytest.raises(Killed):
            any_task.run(on_ambiguous="fail")
        server.fault, server.faulty_path = respond_normally, EXPORT_PATH
        assert any_task.run(on_ambiguous="fail") == UUID
        assert server.count_requests(EXPORT_PATH) == 1


def test_a_missing_connection_leaves_no_intent(any_task: Task, serve) -> None:
    with serve(respond_normally):
        with pytest.raises(AirflowFailException, match="does not exist"):
            any_task.run(on_ambiguous="fail", crux_conn_id="crux_missing")
        assert any_task.run(on_ambiguous="fail") == UUID


def test_a_request_is_not_sent_again_after_a_wait_if_airflow_has_given_up_the_try(
    make_context, serve, connect, monkeypatch
) -> None:
    task = Task(make_context, None)
    checks = [True, True, False]
    monkeypatch.setattr(
        "airflow_provider_crux.task.variable_record._is_current", lambda _: checks.pop(0) if checks else False
    )
    with serve(lambda connection: connection.respond(429, b"", "Retry-After: 0")) as server:
        connect(host=server.url, password=TOKEN, extra={"max_retries": 3})
        with pytest.raises(AirflowException, match=r"SupersededError.*Nothing was sent"):
            task.run(on_ambiguous="fail")
        assert server.count_requests(EXPORT_PATH) == 1


def test_an_intent_counts_even_if_the_next_try_has_another_request(any_task: Task, serve) -> None:
    with serve(kill_this_process, respond_normally) as server:
        with pytest.raises(Killed):
            any_task.run(on_ambiguous="fail")
        with pytest.raises(AirflowFailException, match=UNKNOWN):
            any_task.run(on_ambiguous="fail", line_item_status=["rejected"])
        assert server.count_requests(EXPORT_PATH) == 1


@pytest.mark.parametrize("checks", [[False], [True, False]], ids=["before the intent", "while it is saved"])
def test_a_try_below_airflow_3_3_that_airflow_has_given_up_sends_nothing(
    make_context, serve, monkeypatch, checks: list[bool]
) -> None:
    """The tests with disrupted tries suspend real ones."""
    task = Task(make_context, None)
    monkeypatch.setattr("airflow_provider_crux.task.variable_record._is_current", lambda _: checks.pop(0))
    with serve(respond_normally) as server:
        with pytest.raises(AirflowException, match=r"SupersededError.*Nothing was sent"):
            task.run(on_ambiguous="fail")
        assert server.count_requests(EXPORT_PATH) == 0


def test_fail_without_a_memory_is_an_error_when_the_dag_is_parsed() -> None:
    with pytest.raises(AirflowFailException, match="on_ambiguous: 'fail' needs durable=True"):
        make_operator(on_ambiguous="fail", durable=False)
