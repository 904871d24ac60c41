"""
Waiting for an export: when to poll, and what each poll means; decided once for every way of waiting.

A transport polls and sleeps; :class:`ExportPoller` receives each outcome and says what comes next.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_crux.api.errors import export_failed, export_timed_out
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.api.requests import canonical_uuid
from airflow_provider_crux.api.responses import Export, ExportState
from airflow_provider_crux.exceptions import CruxError, CruxNotFoundError, CruxTransientError

POLL_INTERVAL: Final = 30.0
"""Seconds between two polls, unless the task says otherwise."""

TIMEOUT: Final = 60 * 60.0
"""Seconds until an export is late, unless the task says otherwise."""

NOT_FOUND_GRACE: Final = 60.0
"""Seconds after the response to the request in which Crux Connect may not know the export yet."""

MAX_POLL_FAILURES: Final = 5
"""Consecutive transient polling errors; the last of them ends the wait."""

_JITTER: Final = 0.1


def violations(poll_interval: object, timeout: object) -> list[str]:
    """Return what is wrong with the arguments of a wait: sentences that name field, value and remedy."""
    return [
        f"{name}: {value!r} is not a number of seconds above 0; use one, for example {example:g}"
        for name, value, example in (("poll_interval", poll_interval, POLL_INTERVAL), ("timeout", timeout, TIMEOUT))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf")
    ]


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
    _failures: int = field(default=0, init=False, repr=False)
    _unknown_statuses: set[str] = field(default_factory=set, init=False, repr=False)

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
            warning = self._status_warning(outcome)
        else:
            warning = self._error_warning(outcome, now)
        if now >= self.deadline:
            raise export_timed_out(self.export_uuid, warning)
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
        return PollAgain(self._until_deadline(now, self.poll_interval * jitter), warning)

    def rest_of_grace(self, now: float) -> float:
        """Return the seconds until an export that is not found is an error."""
        return max(0.0, self.accepted_at + NOT_FOUND_GRACE - now)

    def _until_deadline(self, now: float, delay: float) -> float:
        """Shorten a delay so that it ends by the deadline: the last poll is neither skipped nor late."""
        return max(0.0, min(delay, self.deadline - now))

    def _status_warning(self, export: Export) -> str | None:
        if export.state is ExportState.FAILED:
            raise export_failed(self.export_uuid, export.status)
        if export.state is ExportState.PENDING or export.status in self._unknown_statuses:
            return None
        self._unknown_statuses.add(export.status)
        return f"Unknown status {excerpt(export.status)!r} of export {self.export_uuid}; still waiting"

    def _error_warning(self, error: CruxError, now: float) -> str:
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
