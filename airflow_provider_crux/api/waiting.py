"""
Waiting for an export: what each look at it means, and when to look again; decided once for every way of waiting.

A transport looks and sleeps; :class:`Wait` is told what was seen and says what next.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from airflow_provider_crux.api.answers import Export, ExportState
from airflow_provider_crux.api.calls import canonical_uuid
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxExportFailedError,
    CruxExportTimeoutError,
    CruxNotFoundError,
    CruxTransientError,
    CruxUnavailableError,
)

GRACE: Final = 60.0
"""Seconds after the request in which an export that is not found may only not be known yet."""

MAX_FAILURES: Final = 5
"""How many looks in a row may fail for a passing reason; the last of them ends the wait."""

_JITTER: Final = 0.1


@dataclass(frozen=True)
class Pause:
    """
    Look again later.

    :param seconds: from now.
    :param remark: what a person should read in the log; ``None`` where nothing is out of the ordinary.
    """

    seconds: float
    remark: str | None = None


def may_appear(look: Export | CruxError, *, asked_at: float, now: float) -> bool:
    """Tell whether Crux Connect does not know the export *yet*: it was asked for only just now."""
    return isinstance(look, CruxNotFoundError) and now - asked_at < GRACE


@dataclass
class Wait:
    """
    The wait for one export. All points in time are seconds since the epoch: a deferred wait moves between machines.

    :param export_uuid: the export.
    :param asked_at: when it was asked for, or when the wait began, where nobody knows.
    :param deadline: after which the next look is the last.
    :param poll_interval: seconds between two looks; they vary by a tenth, so that many waits do not look together.
    :param not_before: before which nobody looks; default: at once.
    """

    export_uuid: str
    asked_at: float
    deadline: float
    poll_interval: float
    not_before: float = 0.0
    _failures: int = field(default=0, init=False, repr=False)
    _words: set[str] = field(default_factory=set, init=False, repr=False)

    def first_pause(self, now: float) -> Pause:
        """Return when to look first: many waits that begin together, as after a restart, are to spread."""
        spread = random.uniform(0, self.poll_interval)  # noqa: S311 - no secret
        return Pause(self._until(now, max(spread, self.not_before - now)))

    def judge(self, look: Export | CruxError, now: float) -> Export | Pause:
        """
        Say what a look at the export means.

        :param look: the state that was seen, or the error that was met.
        :param now: when.
        :returns: the export when it is done, else how long to wait before the next look.
        :raises CruxExportFailedError: when it failed.
        :raises CruxExportTimeoutError: when the deadline is over; the look itself came first.
        :raises CruxError: ``look`` itself, where it will not pass, or has not passed for five looks.
        """
        if isinstance(look, Export):
            self._failures = 0
            if look.state is ExportState.DONE:
                return look
            remark = self._remark(look)
        else:
            remark = self._failure(look, now)
        if now >= self.deadline:
            raise timed_out(self.export_uuid, remark)
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
        return Pause(self._until(now, self.poll_interval * jitter), remark)

    def _until(self, now: float, seconds: float) -> float:
        """Return a pause that ends by the deadline, so that the last look is neither missed nor late."""
        return max(0.0, min(seconds, self.deadline - now))

    def _remark(self, export: Export) -> str | None:
        if export.state is ExportState.FAILED:
            raise failed(self.export_uuid, export.status)
        if export.state is ExportState.WAITING or export.status in self._words:
            return None
        self._words.add(export.status)
        word = repr(excerpt(export.status))
        return f"Export {self.export_uuid} is in a state that is new to this provider, {word}: waiting on"

    def _failure(self, error: CruxError, now: float) -> str:
        if may_appear(error, asked_at=self.asked_at, now=now):
            return f"Export {self.export_uuid} is not known yet"
        if not isinstance(error, CruxTransientError):
            raise error
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            raise error
        return f"Look {self._failures} of {MAX_FAILURES} in a row failed: {error}"


class WaitState(Enum):
    """How a deferred wait ended. ``ERROR`` tells only that the trigger could not find out: look again."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ERROR = "error"


def event(export_uuid: str, state: WaitState) -> dict[str, Any]:
    """Return what a trigger hands back to its task: it is stored in Airflow's database, so it holds nothing else."""
    return {"export_uuid": export_uuid, "state": state.value}


def uuid_in(event: object) -> str | None:
    """Return which export an event is about; ``None`` where it does not say."""
    return canonical_uuid(event.get("export_uuid")) if isinstance(event, Mapping) else None


def state_of(event: object, *, export_uuid: str | None) -> WaitState:
    """
    Read what a trigger handed back.

    :param event: what came out of Airflow's database; a trigger of another version may have put it there.
    :param export_uuid: the export that the task deferred for.
    :returns: how the wait ended; ``ERROR`` where the event is of another form or another export.
    """
    about = uuid_in(event)
    if about is None or about != canonical_uuid(export_uuid) or not isinstance(event, Mapping):
        return WaitState.ERROR
    try:
        return WaitState(event.get("state"))
    except ValueError:
        return WaitState.ERROR


def failed(export_uuid: str, status: str | None = None) -> CruxExportFailedError:
    """Return the error for an export that Crux Connect gave up."""
    said = "" if status is None else f": Crux Connect calls it {excerpt(status)!r}"
    return CruxExportFailedError(
        f"Export {export_uuid} failed{said}. It has no file and will have none: ask for a new export, and Crux Connect "
        "for the reason"
    )


def lost_sight(export_uuid: str, detail: str | None = None) -> CruxUnavailableError:
    """Return the error for an export that the triggerer could not follow; nothing is known to be wrong with it."""
    said = "it is not done yet" if detail is None else detail
    return CruxUnavailableError(
        f"The triggerer could not find out how export {export_uuid} stands; its log above says why. Now {said}. "
        "Check that the triggerer reaches Crux Connect as the workers do"
    )


def timed_out(export_uuid: str, detail: str | None = None) -> CruxExportTimeoutError:
    """Return the error for an export that was not done before the deadline."""
    said = "" if detail is None else f" ({detail})"
    return CruxExportTimeoutError(
        f"Export {export_uuid} was not done in time{said}. It goes on at Crux Connect: give a longer timeout, or wait "
        "for it again with CruxExportSensor"
    )
