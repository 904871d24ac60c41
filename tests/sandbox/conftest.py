from collections.abc import Iterator

import pytest
import requests

from airflow_provider_crux.sandbox.server import running_sandbox
from airflow_provider_crux.sandbox.state import ManualClock, Sandbox, SandboxSettings

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
    """A session that ignores any proxy and .netrc of the machine."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def crux(http: requests.Session) -> requests.Session:
    """A session with the token that has every permission."""
    http.headers["Authorization"] = f"Token {SETTINGS.token}"
    return http
