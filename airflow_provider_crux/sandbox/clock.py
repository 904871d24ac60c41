"""The time as the sandbox sees it: the machine's, or one that a test moves by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Says what time it is, in UTC and with its zone."""


def system_clock() -> datetime:
    """Return the machine's time, in UTC."""
    return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is told to move, so that a test about expiry need not wait.

    :param now: where it stands at first, with its zone (default: 2025-01-01T00:00:00Z)
    """

    def __init__(self, now: datetime = datetime(2025, 1, 1, tzinfo=UTC)) -> None:
        self._now = now.astimezone(UTC)

    def __call__(self) -> datetime:
        """Return the time this clock shows."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock on.

        :param seconds: by how much
        """
        self._now += timedelta(seconds=seconds)
