"""What the tests of both versions' UI start from, and a picture of what the browser showed when one failed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Error

from airflow_provider_crux.sandbox.server import running_sandbox
from tests.e2e.connected import PROJECT

if TYPE_CHECKING:
    from airflow_provider_crux.sandbox.state import Sandbox

WRONG_TOKEN = "0123456789abcdef0123456789abcdef01234567"


def environment() -> dict[str, str]:
    """Return the settings of an Airflow that knows the provider, and whose Test button is enabled."""
    return {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # an installed provider does not need it, a checkout does
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
    }


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Stand in for Crux Connect."""
    with running_sandbox() as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    """Keep a picture of what the browser showed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and page is not None:
        file = item.config._tmp_path_factory.mktemp("failed") / f"{item.name}.png"
        with contextlib.suppress(Error):  # the browser may be what failed
            page.screenshot(path=file)
            report.sections.append(("The browser showed", f"{page.url}\n{file}"))
    return report
