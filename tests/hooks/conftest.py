"""Fixtures of the hooks' tests."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from airflow_provider_crux.transport import http


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip every delay before a retry on a worker; the list contains their seconds."""
    seconds: list[float] = []
    monkeypatch.setattr(http, "time", SimpleNamespace(**{**vars(time), "sleep": seconds.append}))
    return seconds
