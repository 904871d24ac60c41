"""Fixtures of the hooks' tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip every delay before a retry on a worker; the list contains their seconds."""
    import tenacity

    seconds: list[float] = []
    real = tenacity.Retrying
    monkeypatch.setattr(tenacity, "Retrying", lambda **policy: real(**policy, sleep=seconds.append))
    return seconds
