"""The pytest fixture ``crux_sandbox``. pytest imports this module in every project, so it imports nothing heavy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.sandbox.state import Sandbox


@pytest.fixture
def crux_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """
    Run a sandbox during a test, and set the connection ``crux_default`` to it. Its exports are done immediately.

    For other settings, pass :class:`~airflow_provider_crux.sandbox.state.SandboxSettings` by pytest's indirect
    parametrization. For another connection, use :func:`~airflow_provider_crux.sandbox.server.running_sandbox`.
    """
    try:
        from airflow_provider_crux.sandbox.server import running_sandbox
    except ModuleNotFoundError as error:
        pytest.fail(f"crux_sandbox needs pip install 'airflow-provider-crux[sandbox]': {error}", pytrace=False)
    with running_sandbox(getattr(request, "param", None)) as sandbox:
        connection: dict[str, Any] = {"conn_type": "crux", "host": sandbox.url, "password": sandbox.settings.token}
        if sandbox.settings.api_version != "api":
            connection["extra"] = {"api_version": sandbox.settings.api_version}
        monkeypatch.setenv("AIRFLOW_CONN_CRUX_DEFAULT", json.dumps(connection))
        yield sandbox
