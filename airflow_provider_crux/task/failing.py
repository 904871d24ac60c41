"""What a retry cannot fix: the task fails immediately."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.exceptions import CruxError, CruxInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator


class InvalidArgumentsError(CruxInvalidRequestError, AirflowFailException):
    """A DAG with such an argument fails to parse; a mapped task, which Airflow creates in a run, fails immediately."""


@contextmanager
def fail_without_retry(*errors: type[CruxError]) -> Iterator[None]:
    """Raise Airflow's AirflowFailException instead of ``errors``, so that the task fails without a retry."""
    try:
        yield
    except errors as error:
        raise AirflowFailException(str(error)) from error
