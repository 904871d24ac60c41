"""The periods of a schedule, computed by Airflow's own timetables. `interval.py` decides which one a run exports."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_crux.api.instants import Period
from airflow_provider_crux.exceptions import CruxIntervalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.timetables.base import Timetable

# by name, because they are two classes in Airflow 3, and have another name in Airflow 2
_ASSET_OR_TIME: Final = ("AssetOrTimeSchedule", "DatasetOrTimeSchedule")

# The other fields of a relativedelta, such as day=31, replace what was there, so nothing leads back.
_RELATIVE: Final = frozenset(("years", "months", "days", "hours", "minutes", "seconds", "microseconds"))

# A period of any cron ends within this time: 29 February on a given weekday can be 40 years apart.
_MAX_SEARCH: Final = timedelta(days=100 * 366)


def schedule_name(timetable: Any) -> str:
    """Return how a person names a schedule: the kind of timetable, and its summary if it has one."""
    summary = getattr(timetable, "summary", None) or getattr(timetable, "expression", None)
    name = type(timetable).__name__
    return f"{name} {summary}" if summary and summary != name else name


def last_complete_period(timetable: Any, moment: datetime) -> Period | None:
    """
    Return the last complete period of a schedule that ended at or before an instant.

    For crons: the data interval of the last run due by then or, if such runs have no data interval with length, the
    time since the run before it. For a time difference: that difference before the instant, or its own data interval.
    For any other timetable: the data interval it gives a manual run. ``None`` if the schedule has no periods.
    """
    from airflow.timetables.interval import DeltaDataIntervalTimetable
    from airflow.timetables.trigger import DeltaTriggerTimetable

    at = _pendulum(moment)
    core = _core_timetable(timetable)
    if _is_cron(core):
        return _last_complete_cron_period(core, at)
    period: Period = core.infer_manual_data_interval(run_after=at)
    start, end = period
    is_empty_trigger = start == end and isinstance(core, DeltaTriggerTimetable)
    if is_empty_trigger or type(core) is DeltaDataIntervalTimetable:
        start, end = _difference_before(at, core)
    return (start, end) if start < end else None


def _difference_before(at: Any, core: Timetable) -> Period:
    """Return the period from the run before an instant to the run at it."""
    from airflow.timetables.interval import DeltaDataIntervalTimetable

    start, end = DeltaDataIntervalTimetable.deserialize(core.serialize()).infer_manual_data_interval(run_after=at)
    delta = core.serialize()["delta"]
    if isinstance(delta, dict) and not _is_only_run_before(at, start, relativedelta=delta):
        raise CruxIntervalError(
            f"{core.summary} leads to {at.isoformat()} from several instants or from none, so it does not tell when "
            "the previous run was"
        )
    return start, end


def _is_only_run_before(at: Any, start: Any, *, relativedelta: dict[str, Any]) -> bool:
    from airflow.timetables.trigger import DeltaTriggerTimetable

    if not _RELATIVE.issuperset(relativedelta):
        return False
    runs = DeltaTriggerTimetable.deserialize({"delta": relativedelta, "interval": 0})
    # One month after 28 January and after 31 January is the same day; 31 March is one month after no day. If several
    # days lead to the same one, they are neighbors.
    days = (start - timedelta(days=1), start, start + timedelta(days=1))
    return [next(_scheduled_runs(runs, day))[1] == at for day in days] == [False, True, False]


def period_starting_at(timetable: Any, moment: datetime) -> Period | None:
    """Return the period that begins at an instant, such as a partition date; ``None`` if the schedule is no cron."""
    core = _core_timetable(timetable)
    if not _is_cron(core):
        return None
    return moment, next(_scheduled_runs(core, _pendulum(moment)))[1]


def partition_keys(timetable: Any, period: Period, run_key: str | None, *, most: int) -> list[str]:
    """
    Return the keys of the partitions that a period touches, in order; none if the schedule has no partitions of time.

    A ``CronPartitionTimetable`` says when its partitions begin, and how their keys look. ``PartitionedAtRuntime``
    leaves that to the tasks: they are days in UTC, with keys as the other schedule has them by default
    (``2026-01-02T00:00:00``), unless the run was triggered for a partition.

    :param run_key: the partition of the run, if it has one.
    :param most: number of keys to return at most.
    """
    from airflow.timetables import trigger

    core: Any
    if getattr(timetable, "partitioned_at_runtime", False) and run_key is None:
        core = trigger.CronPartitionTimetable("0 0 * * *", timezone="UTC")
    elif type(timetable).__name__ == "CronPartitionTimetable":
        # without an offset, a run is due when its partition begins
        core = trigger.CronPartitionTimetable.deserialize(_core_timetable(timetable).serialize() | {"run_offset": 0})
    else:
        return []
    start, end = map(_pendulum, period)
    if start >= end:
        return []
    return list(islice(_partition_keys(core, start, end), most))


def _partition_keys(core: Any, start: Any, end: Any) -> Iterator[str]:
    """Yield the keys of the partitions that begin before ``end``, from the one in which ``start`` is."""
    from airflow.timetables.base import DagRunInfo, TimeRestriction

    # from the run before, and not from an earliest date: Airflow skips that one if clocks go forward after it
    last_complete = _last_complete_cron_period(core, start)
    before: Any = last_complete[0] if last_complete else start
    info = DagRunInfo(run_after=before, data_interval=None, partition_date=None, partition_key=None)
    restriction = TimeRestriction(earliest=None, latest=None, catchup=True)
    last = None
    while (info := core.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)).partition_date < end:
        if info.partition_key != last:
            last = info.partition_key
            yield last


def _pendulum(moment: datetime) -> Any:
    import pendulum

    return pendulum.instance(moment).in_timezone("UTC")


def _core_timetable(timetable: Any) -> Timetable:
    """Return the timetable as the scheduler knows it; of Airflow's own that follows assets or time, the time's."""
    from airflow.timetables.base import Timetable

    is_asset_or_time = type(timetable).__name__ in _ASSET_OR_TIME and type(timetable).__module__.startswith("airflow.")
    time_side = timetable.timetable if is_asset_or_time else timetable
    if isinstance(time_side, Timetable):
        return time_side
    # From Airflow 3.2 on a DAG's file, and so a task, has the SDK's description of a timetable.
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    core: Timetable = decode_timetable(encode_timetable(time_side))
    return core


def _is_cron(core: Timetable) -> bool:
    from airflow.timetables import trigger
    from airflow.timetables.interval import CronDataIntervalTimetable

    # 2.11 has no timetable of several crons
    multiple = getattr(trigger, "MultipleCronTriggerTimetable", trigger.CronTriggerTimetable)
    return isinstance(core, CronDataIntervalTimetable | trigger.CronTriggerTimetable | multiple)


def _scheduled_runs(core: Timetable, after: Any) -> Iterator[Period]:
    """Yield the data intervals of the runs that a scheduler creates after an instant, in order."""
    from airflow.timetables.base import DataInterval, TimeRestriction

    unrestricted = TimeRestriction(earliest=None, latest=None, catchup=True)
    last = DataInterval.exact(after)
    while (  # pragma: no branch - a cron always has a next run; the types do not know
        run := core.next_dagrun_info(last_automated_data_interval=last, restriction=unrestricted)
    ) is not None and run.data_interval is not None:
        if run.data_interval.end <= last.end:  # pragma: no cover - at some changes of the clocks, on Airflow 2
            # it would go back and forth forever
            raise ValueError(f"its runs do not advance past {last.end.isoformat()}")
        last = run.data_interval
        yield last.start, last.end


def _last_complete_cron_period(core: Timetable, at: Any) -> Period | None:
    # Forward from ever further back, as the scheduler goes: when the clocks change, the previous time of a cron can be
    # the very same instant, or a later one. The first run after an instant that is not the schedule's own can be an
    # hour off, so it is skipped.
    back = timedelta(minutes=1)
    while back < _MAX_SEARCH:
        due = takewhile(lambda period: period[1] <= at, _scheduled_runs(core, at - back))
        for previous, last in deque(pairwise(islice(due, 1, None)), maxlen=1):
            return last if last[0] < last[1] else (previous[1], last[1])
        back *= 2
    return None  # pragma: no cover - Airflow runs no cron that is due less than twice in a century
