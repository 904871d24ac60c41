"""
Waiting for an export: when to poll, and what each poll means; decided once for every way of waiting.

A hook polls and sleeps; :class:`ExportPoller` receives each outcome and says what comes next.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from airflow_provider_crux.api.errors import export_failed, export_timed_out
from airflow_provider_crux.api.orders import describe
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.api.requests import canonical_uuid
from airflow_provider_crux.api.responses import Export, ExportState
from airflow_provider_crux.exceptions import CruxError, CruxNotFoundError, CruxTransientError

POLL_INTERVAL: Final = 30.0
"""Seconds between two polls, unless the task says otherwise."""

TIMEOUT: Final = 60 * 60.0
"""Seconds to wait for an export, unless the task says otherwise."""

MAX_WAIT: Final = 366 * 24 * 60 * 60.0
"""
Longest ``poll_interval`` and ``timeout`` in seconds: a year.

Airflow makes a timedelta of each, and adds it to the present; a larger number would fail there, after the request.
"""

NOT_FOUND_GRACE: Final = timedelta(seconds=60)
"""Time after the response to the request in which Crux Connect may not know the export yet."""

MAX_POLL_FAILURES: Final = 5
"""Consecutive transient polling errors; the last of them ends the wait."""

_JITTER: Final = 0.1


def longest_wait(seconds: float) -> timedelta:
    """Return a length of time, cut to a year: Airflow and Python accept longer ones, but no instant after them."""
    return timedelta(seconds=min(seconds, MAX_WAIT))


def wait_problems(poll_interval: object, timeout: object) -> list[str]:
    """Return what is wrong with the arguments of a wait: sentences that name field, value and remedy."""
    return [
        f"{name}: {describe(value).partition(' ')[2]} is not a number of seconds above 0 and up to {MAX_WAIT:.0f} "
        f"(a year); use one, for example {example:g}"
        for name, value, example in (("poll_interval", poll_interval, POLL_INTERVAL), ("timeout", timeout, TIMEOUT))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_WAIT
    ]


class WaitOutcome(StrEnum):
    """How a wait in the triggerer ended; ``UNKNOWN`` if the trigger could not get the status."""

    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class PollAgain:
    """Poll again in ``delay`` seconds, and log the ``warning`` if there is one."""

    delay: float
    warning: str | None = None
    rest_of_grace: float = 0.0
    """Seconds until an export that was not found is an error; 0 if it was found."""


def within_not_found_grace(outcome: Export | CruxError, *, accepted_at: datetime | None, now: datetime) -> bool:
    """Tell whether Crux Connect does not know the export *yet*, because it was requested a moment ago."""
    is_recent = accepted_at is not None and now - accepted_at < NOT_FOUND_GRACE
    return is_recent and isinstance(outcome, CruxNotFoundError)


@dataclass
class ExportPoller:
    """The wait for one export. Instants are wall-clock times, because a deferred wait moves between machines."""

    export_uuid: str
    accepted_at: datetime
    """When Crux Connect accepted its request, or when the wait began if nobody knows."""
    deadline: datetime | None
    """The first poll after it is the last; ``None`` if somebody else ends the wait."""
    poll_interval: float
    """Seconds between two polls. They vary by a tenth, so that many waits do not poll together."""
    first_poll_at: datetime | None = None
    reason: str | None = field(default=None, init=False, repr=False)
    """What the last poll found besides a pending export; ``None`` if nothing."""
    _failures: int = field(default=0, init=False, repr=False)
    _logged: set[str] = field(default_factory=set, init=False, repr=False)

    def first_delay(self, now: datetime) -> PollAgain:
        """Return when to poll first. Waits that begin together, as after a restart, spread over one interval."""
        delay = self._until_deadline(now, random.uniform(0, self.poll_interval))  # noqa: S311 - no secret
        if self.first_poll_at is not None:
            # even if the deadline is earlier: Airflow could not resume the task yet
            delay = max(delay, (self.first_poll_at - now).total_seconds())
        return PollAgain(delay)

    def evaluate(self, outcome: Export | CruxError, now: datetime) -> Export | PollAgain:
        """
        Return the export if it is done, otherwise when to poll again.

        :raises CruxExportFailedError: if the export failed.
        :raises CruxExportTimeoutError: if the deadline is over.
        :raises CruxError: ``outcome`` itself, if it is permanent or the fifth consecutive transient error.
        """
        if isinstance(outcome, Export):
            self._failures = 0
            if outcome.state is ExportState.DONE:
                return outcome
            self.reason = self._reason_of_status(outcome)
            warning = self._warning_once(self.reason)
        else:
            self.reason = warning = self._reason_of_error(outcome, now)
        if self.deadline is not None and now >= self.deadline:
            raise export_timed_out(self.export_uuid, self.reason)
        delay = self.poll_interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
        grace = self.accepted_at + NOT_FOUND_GRACE - now if isinstance(outcome, CruxNotFoundError) else timedelta(0)
        return PollAgain(self._until_deadline(now, delay), warning, grace.total_seconds())

    def _until_deadline(self, now: datetime, delay: float) -> float:
        """Shorten a delay so that it ends by the deadline: the last poll is neither skipped nor late."""
        return delay if self.deadline is None else max(0.0, min(delay, (self.deadline - now).total_seconds()))

    def _warning_once(self, reason: str | None) -> str | None:
        if reason is None or reason in self._logged:
            return None
        self._logged.add(reason)
        return f"{reason}; still waiting"

    def _reason_of_status(self, export: Export) -> str | None:
        if export.state is ExportState.FAILED:
            raise export_failed(self.export_uuid, export.status)
        if export.lacks_file:
            status = excerpt(export.status)
            return f"Export {self.export_uuid} has the status {status!r}, but no file: it may hold no orders"
        if export.state is ExportState.UNKNOWN:
            return f"Unknown status {excerpt(export.status)!r} of export {self.export_uuid}"
        return None

    def _reason_of_error(self, error: CruxError, now: datetime) -> str:
        if within_not_found_grace(error, accepted_at=self.accepted_at, now=now):
            return f"Crux Connect does not know export {self.export_uuid} yet; still waiting"
        if not isinstance(error, CruxTransientError):
            raise error
        self._failures += 1
        if self._failures >= MAX_POLL_FAILURES:
            raise error
        return f"Poll failed ({self._failures} of {MAX_POLL_FAILURES} in a row end the wait): {error}"


def event_payload(export_uuid: str, outcome: WaitOutcome) -> dict[str, Any]:
    """Return the payload of a trigger's event. Airflow stores it in its database, so it contains nothing else."""
    return {"export_uuid": export_uuid, "state": outcome.value}


def export_uuid_from_event(event: object) -> str | None:
    """Return which export an event is about, or ``None`` if it does not say."""
    return canonical_uuid(event.get("export_uuid")) if isinstance(event, Mapping) else None


def outcome_from_event(event: object, *, export_uuid: str) -> WaitOutcome:
    """Read the payload of a trigger's event: ``UNKNOWN`` if it has another form or is about another export."""
    uuid = export_uuid_from_event(event)
    if uuid is None or uuid != canonical_uuid(export_uuid) or not isinstance(event, Mapping):
        return WaitOutcome.UNKNOWN
    return next((outcome for outcome in WaitOutcome if outcome == event.get("state")), WaitOutcome.UNKNOWN)
