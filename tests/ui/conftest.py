"""Fixtures for the UI tests of both versions, and a screenshot if a test fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Error

from airflow_provider_crux.sandbox.server import running_sandbox
from tests.real_airflow.sandbox_airflow import REPOSITORY

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

WRONG_TOKEN = "0123456789abcdef0123456789abcdef01234567"
HASH_KEY = "a made-up key of the hashes"


def environment() -> dict[str, str]:
    """Return the settings of an Airflow with this provider and an enabled Test button."""
    return {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # without it, Airflow's REST API and the JSON in the form show the key
        "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "hash_key",
        # needed if the provider runs from a checkout instead of an installed package
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Run a sandbox instead of Crux Connect."""
    with running_sandbox() as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    """Save a screenshot of the browser if the test failed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and page is not None:
        file = item.config._tmp_path_factory.mktemp("failed") / f"{item.name}.png"
        with contextlib.suppress(Error):  # the browser itself may have failed
            page.screenshot(path=file)
            report.sections.append(("Screenshot", f"{page.url}\n{file}"))
    return report
