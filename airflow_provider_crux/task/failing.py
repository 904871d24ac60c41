"""What a retry cannot fix: the task fails immediately."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.exceptions import CruxError, CruxInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator


class InvalidArgumentsError(CruxInvalidRequestError, AirflowFailException):
    """
    An argument of a task is invalid.

    A DAG with it fails to parse. A mapped task, which Airflow creates when it runs, fails immediately.
    """


@contextmanager
def fail_without_retry(*errors: type[CruxError]) -> Iterator[None]:
    """Raise Airflow's AirflowFailException instead of ``errors``, so that the task fails without a retry."""
    try:
        yield
    except errors as error:
        raise AirflowFailException(str(error)) from error
