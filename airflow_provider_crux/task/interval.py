"""
Which interval a run exports.

First the decision, which is pure. Then what Airflow knows about a run; `timetables.py` computes the periods of its
schedule. Every difference between the runs of Airflow's versions is in these two modules.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.instants import Period, whole_second
from airflow_provider_crux.api.orders import describe
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import CruxIntervalError
from airflow_provider_crux.task.timetables import last_complete_period, period_starting_at, schedule_name

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Interval:
    """The interval to export, in UTC, both ends truncated to the second. It is neither empty nor reversed."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", truncate_instant("interval_start", self.start))
        object.__setattr__(self, "end", truncate_instant("interval_end", self.end))
        if self.end > self.start:
            return
        problem = "is empty" if self.end == self.start else "is reversed"
        raise CruxIntervalError(
            f"The interval from interval_start {self.start.isoformat()} to interval_end {self.end.isoformat()} "
            f"{problem}, in whole seconds; use an interval_end after the interval_start"
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """What Airflow knows about a run."""

    period: Period | None
    """
    The run's own: its data interval, if it has length; else the period of its partition; else the schedule's last
    complete period that ended by the end of the interval or data interval, or by ``reference``.
    """
    reference: datetime
    """
    The end of the interval, if given; else the end of the data interval, unless it is after ``started``; else the
    instant from which the run may start; else ``started``.
    """
    started: datetime
    # for error messages: the schedule as a person names it, and why it gives no period, unless its kind has none
    schedule: str
    is_partition: bool = False
    no_period: str | None = None


def parse_instant(name: str, value: object) -> datetime:
    """
    Read an instant that a user gave as the argument ``name``; UTC without a time zone.

    ISO 8601 text (``2026-01-02``, ``2026-01-02T06:00:00Z``, ``2026-01-02 06:00:00+01:00``), a datetime, a date, or
    eight digits as text or number (``20260102``).
    """
    moment = value
    if isinstance(value, int) and 10_000_000 <= value <= 99_999_999:
        moment = str(value)  # a rendered {{ ds_nodash }} arrives as a number with render_template_as_native_obj
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = value.isoformat()
    if isinstance(moment, str):
        with suppress(ValueError):
            moment = datetime.fromisoformat(moment.strip())
    if not isinstance(moment, datetime):
        raise CruxIntervalError(
            f"{name}: {describe(value)} is not an instant; use a datetime, or text such as "
            "2026-01-02T06:00:00Z (UTC without a time zone)"
        )
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def truncate_instant(name: str, moment: datetime) -> datetime:
    """Return an instant in UTC, truncated to the second; ``name`` is the argument, for error messages."""
    try:
        return whole_second(moment)
    except OverflowError:
        raise CruxIntervalError(
            f"{name}: {moment.isoformat()} is outside the years 1 to 9999 in UTC; use an instant within"
        ) from None


def export_interval(
    run: Run,
    *,
    now: datetime,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
    lookback: timedelta | None = None,
) -> Interval:
    """
    Decide which interval a run exports.

    The end is ``interval_end``; else the end of the run's own period; else, with ``lookback``, the reference instant.
    With ``lookback``, a period that had not ended when the run started does not count: compared with ``now``, a retry
    could export another interval than the try before it. The start is ``interval_start``; else the end minus
    ``lookback``; else the start of the same period. Only ``interval_end`` may be after ``now``.
    """
    if run.period is None and lookback is None:
        reason = f": {run.no_period}" if run.no_period else ""
        raise CruxIntervalError(
            f"There is no interval to export: this run has no data interval with length, and its schedule "
            f"({run.schedule}) has no period of its own{reason}. Set interval_start and interval_end, or lookback, for "
            "example timedelta(days=1), or use a schedule with data intervals, for example CronDataIntervalTimetable"
        )
    start, end = run.period or (run.reference, run.reference)
    if interval_end is not None:
        end = interval_end
    elif lookback is not None and end > run.started:
        end = run.reference
    elif end > max(now, run.started):  # the scheduler's clock can be ahead
        raise _period_has_not_ended(run, start, end)
    if lookback is not None:
        try:
            start = end - lookback
        except OverflowError:
            raise CruxIntervalError(
                f"lookback: {lookback} before {end.isoformat()} is outside the years 1 to 9999; use a shorter one"
            ) from None
    return Interval(interval_start or start, end)


def _period_has_not_ended(run: Run, start: datetime, end: datetime) -> CruxIntervalError:
    remedy = f"run_offset=-1 in its schedule ({run.schedule}), or " if run.is_partition else ""
    return CruxIntervalError(
        f"The period of this run, from {start.isoformat()} to {end.isoformat()}, has not ended: an export would miss "
        f"the orders that are still to come. Set {remedy}lookback, for example timedelta(days=1), to export the time "
        "before the run; or set interval_start and interval_end; or clear the task after the end of the period"
    )


def interval_problems(ends: Mapping[str, object], lookback: object) -> list[str]:
    """Return what is wrong with the arguments of an interval, as far as they are known when a DAG is parsed."""
    problems = []
    if lookback is not None and not (isinstance(lookback, timedelta) and lookback > timedelta(0)):
        problems.append(f"lookback: {lookback!r} is not a timedelta above 0; use one, for example timedelta(days=3)")
    try:
        instants = [parse_instant(name, value) for name, value in ends.items()]
        if len(instants) == 2:
            Interval(*instants)
    except CruxIntervalError as error:
        problems.append(str(error))
    return problems


# From here on: Airflow.

_ASSET_RUN_TYPES: Final = ("asset_triggered", "dataset_triggered")


def interval_from_context(
    context: Mapping[str, Any],
    *,
    now: datetime | None = None,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
    lookback: timedelta | None = None,
) -> Interval:
    """Return the interval that a task exports: the ends that are given, else see :func:`export_interval`."""
    if interval_start is not None and interval_end is not None:
        return Interval(interval_start, interval_end)
    now = now or datetime.now(UTC)
    run = run_from_context(context, now=now, reference=interval_end)
    return export_interval(run, now=now, interval_start=interval_start, interval_end=interval_end, lookback=lookback)


def run_from_context(context: Mapping[str, Any], *, now: datetime, reference: datetime | None = None) -> Run:
    """Gather what Airflow knows about the run of a task; ``reference`` is the end of the interval, if it is given."""
    started = _started(context["dag_run"], now)
    # Airflow 2.11 has no run_after; there every run has a data interval
    due = getattr(context["dag_run"], "run_after", None) or started
    started = max(started, due)
    instant = reference or context.get("data_interval_end") or due
    timetable = context["dag"].timetable
    schedule = schedule_name(timetable)
    period, no_period = None, None
    try:
        period = _own_period(context, timetable, instant)
    except NotImplementedError:  # Airflow's word for a timetable whose manual runs have no data interval
        pass
    except CruxIntervalError as error:
        no_period = str(error)
    except Exception as error:
        # of whatever kind: a timetable may be anybody's, and Airflow's own raise where the clocks change
        raise CruxIntervalError(
            f"The schedule ({schedule}) gives no period that ends by {instant.isoformat()}: {type(error).__name__}: "
            f"{excerpt(str(error))}. Set interval_start and interval_end"
        ) from error
    return Run(
        period=period,
        reference=due if reference is None and instant > started else instant,
        started=started,
        schedule=schedule,
        is_partition=bool(context.get("partition_date")),
        no_period=no_period,
    )


def _started(dag_run: Any, now: datetime) -> datetime:
    started: datetime | None = getattr(dag_run, "start_date", None)
    if started is None or (started > now and _run_type(dag_run) == "manual"):
        return now  # dag.test() gives the logical date as the start, even one in the future
    return started


def _own_period(context: Mapping[str, Any], timetable: Any, reference: datetime) -> Period | None:
    dag_run = context["dag_run"]
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start and end and start < end:
        return start, end
    partition_date = context.get("partition_date")
    if partition_date and (period := period_starting_at(timetable, partition_date)) is not None:
        return period
    # The clock says nothing about a run that an asset triggered, or about one for a partition of another time
    # (Airflow 3.2 gives a task the partition's key, but not its date).
    if _run_type(dag_run) in _ASSET_RUN_TYPES or getattr(dag_run, "partition_key", None):
        return None
    return last_complete_period(timetable, reference)


def _run_type(dag_run: Any) -> str:
    run_type = getattr(dag_run, "run_type", "")
    return str(getattr(run_type, "value", run_type))
