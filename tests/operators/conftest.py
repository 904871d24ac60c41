"""The object store of the tests in this folder, and one task instance of the export operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.object_store import running_s3, s3
from tests.operators.task_instance import StateStore, Task

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

__all__ = ["running_s3", "s3"]


@pytest.fixture
def task(make_context, held_sandbox: Sandbox) -> Task:
    return Task(make_context, StateStore())


@pytest.fixture
def task_without_store(make_context, held_sandbox: Sandbox) -> Task:
    """A task below Airflow 3.3, whose record is in a Variable."""
    return Task(make_context, None)


@pytest.fixture(params=["task", "task_without_store"], ids=["task state store", "Variable"])
def any_task(request) -> Task:
    return request.getfixturevalue(request.param)
