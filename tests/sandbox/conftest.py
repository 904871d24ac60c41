from collections.abc import Iterator

import pytest
import requests

from airflow_provider_crux.sandbox.clock import ManualClock
from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.settings import SandboxSettings
from airflow_provider_crux.sandbox.state import Sandbox

SETTINGS = SandboxSettings(token_lifetime=7200, export_seconds=30, url_lifetime=300)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sandbox(clock: ManualClock) -> Iterator[Sandbox]:
    with running_sandbox(SETTINGS, clock=clock) as running:
        yield running


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """Speak to loopback, past any proxy or .netrc of the machine."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def crux(http: requests.Session) -> requests.Session:
    """Speak with the token that may do everything."""
    http.headers["Authorization"] = f"Token {SETTINGS.token}"
    return http
