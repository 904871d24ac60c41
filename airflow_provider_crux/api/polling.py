"""
Waiting for an export: when to poll, and what each poll means; decided once for every way of waiting.

A transport polls and sleeps; :class:`ExportPoller` receives each outcome and says what comes next.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
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

NOT_FOUND_GRACE: Final = 60.0
"""Seconds after the response to the request in which Crux Connect may not know the export yet."""

MAX_POLL_FAILURES: Final = 5
"""Consecutive transient polling errors; the last of them ends the wait."""

_JITTER: Final = 0.1


def wait_problems(poll_interval: object, timeout: object) -> list[str]:
    """Return what is wrong with the arguments of a wait: sentences that name field, value and remedy."""
    return [
        f"{name}: {_shown(value)} is not a number of seconds above 0 and up to {MAX_WAIT:.0f} (a year); use one, "
        f"for example {example:g}"
        for name, value, example in (("poll_interval", poll_interval, POLL_INTERVAL), ("timeout", timeout, TIMEOUT))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_WAIT
    ]


def sensor_problems(poke_interval: object, timeout: object) -> list[str]:
    """Return which argument of a sensor is too long, as :func:`wait_problems` does. Airflow checks the rest."""
    return [
        f"{name}: {_shown(value)} is longer than a year; use at most {MAX_WAIT:.0f} seconds"
        for name, value in (("poke_interval", poke_interval), ("timeout", timeout))
        if (isinstance(value, timedelta) and value > timedelta(seconds=MAX_WAIT))
        or (isinstance(value, int | float) and value > MAX_WAIT)
    ]


def _shown(value: object) -> str:
    """Return the beginning of a value, even of a number with thousands of digits."""
    return describe(value).partition(" ")[2]


@dataclass(frozen=True)
class PollAgain:
    """
    Poll again later.

    :param delay: seconds from now.
    :param warning: what the log should say; ``None`` if all is well.
    """

    delay: float
    warning: str | None = None


def within_not_found_grace(outcome: Export | CruxError, *, accepted_at: float, now: float) -> bool:
    """Tell whether Crux Connect does not know the export *yet*, because it was requested a moment ago."""
    return isinstance(outcome, CruxNotFoundError) and now - accepted_at < NOT_FOUND_GRACE


@dataclass
class ExportPoller:
    """
    The wait for one export. All times are seconds since the epoch, because a deferred wait moves between machines.

    :param export_uuid: the export.
    :param accepted_at: when Crux Connect accepted its request, or when the wait began if nobody knows.
    :param deadline: the first poll after it is the last.
    :param poll_interval: seconds between two polls. They vary by a tenth, so that many waits do not poll together.
    :param first_poll_at: earliest time of the first poll; default: immediately.
    """

    export_uuid: str
    accepted_at: float
    deadline: float
    poll_interval: float
    first_poll_at: float = 0.0
    reason: str | None = field(default=None, init=False, repr=False)
    """What the last poll found besides a pending export; ``None`` if nothing."""
    _failures: int = field(default=0, init=False, repr=False)
    _logged: set[str] = field(default_factory=set, init=False, repr=False)

    def first_delay(self, now: float) -> PollAgain:
        """Return when to poll first. Waits that begin together, as after a restart, spread over one interval."""
        spread = random.uniform(0, self.poll_interval)  # noqa: S311 - no secret
        # not before first_poll_at, even if the deadline is: Airflow could not resume the task yet
        return PollAgain(max(self._until_deadline(now, spread), self.first_poll_at - now))

    def evaluate(self, outcome: Export | CruxError, now: float) -> Export | PollAgain:
        """
        Say what a poll means.

        :param outcome: the export, or the error that the poll met.
        :param now: the time of the poll.
        :return: the export if it is done, otherwise how long to wait before the next poll.
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
        if now >= self.deadline:
            raise export_timed_out(self.export_uuid, self.reason)
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
        return PollAgain(self._until_deadline(now, self.poll_interval * jitter), warning)

    def rest_of_grace(self, now: float) -> float:
        """Return the seconds until an export that is not found is an error."""
        return max(0.0, self.accepted_at + NOT_FOUND_GRACE - now)

    def _until_deadline(self, now: float, delay: float) -> float:
        """Shorten a delay so that it ends by the deadline: the last poll is neither skipped nor late."""
        return max(0.0, min(delay, self.deadline - now))

    def _warning_once(self, reason: str | None) -> str | None:
        if reason is None or reason in self._logged:
            return None
        self._logged.add(reason)
        return f"{reason}; still waiting"

    def _reason_of_status(self, export: Export) -> str | None:
        status = excerpt(export.status)
        if export.state is ExportState.FAILED:
            raise export_failed(self.export_uuid, export.status)
        if export.lacks_file:
            return f"Export {self.export_uuid} has the status {status!r}, but no file: it may hold no orders"
        if export.state is ExportState.UNKNOWN:
            return f"Unknown status {status!r} of export {self.export_uuid}"
        return None

    def _reason_of_error(self, error: CruxError, now: float) -> str:
        if within_not_found_grace(error, accepted_at=self.accepted_at, now=now):
            return f"Crux Connect does not know export {self.export_uuid} yet; still waiting"
        if not isinstance(error, CruxTransientError):
            raise error
        self._failures += 1
        if self._failures >= MAX_POLL_FAILURES:
            raise error
        return f"Poll failed ({self._failures} of {MAX_POLL_FAILURES} in a row end the wait): {error}"


def event_payload(export_uuid: str, state: ExportState) -> dict[str, Any]:
    """Return the payload of a trigger's event. Airflow stores it in its database, so it contains nothing else."""
    return {"export_uuid": export_uuid, "state": state.value}


def export_uuid_from_event(event: object) -> str | None:
    """Return which export an event is about, or ``None`` if it does not say."""
    return canonical_uuid(event.get("export_uuid")) if isinstance(event, Mapping) else None


def state_from_event(event: object, *, export_uuid: str) -> ExportState:
    """
    Read the payload of a trigger's event.

    :param event: what Airflow's database contained; a trigger of another version may have written it.
    :param export_uuid: the export for which the task deferred.
    :return: the state of the export; ``UNKNOWN`` if the event has another form or is about another export.
    """
    uuid = export_uuid_from_event(event)
    if uuid is None or uuid != canonical_uuid(export_uuid) or not isinstance(event, Mapping):
        return ExportState.UNKNOWN
    try:
        return ExportState(str(event.get("state")))
    except ValueError:
        return ExportState.UNKNOWN
