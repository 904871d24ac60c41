"""Checks of what stored files hold: how old, how many orders, how many missing. Pure: it reads no file."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from airflow_provider_crux.api.instants import Period, parse_utc
from airflow_provider_crux.api.orders import describe
from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.coverage import Coverage, first_texts, number_text, periods_text

if TYPE_CHECKING:
    from airflow_provider_crux.files.manifest import Manifest

_WEEK: Final = timedelta(weeks=1)
_MIN_INTERVALS: Final = 3
_MAX_SHARE: Final = 10
"""A larger number is a percentage."""


def _timedelta_problem(value: object) -> str | None:
    if isinstance(value, timedelta) and value >= timedelta(0):
        return None
    return "is not a timedelta of 0 or more; use one, for example timedelta(hours=26)"


def _count_problem(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return None
    return "is not a whole number of 0 or more; use one"


def _share_problem(value: object) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MAX_SHARE:
        return None
    return f"is not a number above 0 and up to {_MAX_SHARE}; use a share, for example 0.5, which is 50 %"


_RULES: Final[dict[str, Callable[[object], str | None]]] = {
    "max_age": _timedelta_problem,
    "min_orders": _count_problem,
    "volume_change": _share_problem,
    "max_missing_orders": _count_problem,
}


@dataclass(frozen=True, kw_only=True)
class CoverageChecks:
    """
    What else a coverage task checks, from the manifests alone. A check that is ``None``, the default, is left out.

    If an interval was exported several times, only the export that was requested latest counts: a file whose time lies
    within that of a later export is left out. The newest interval is the one that ends last.

    :param max_age: how long before ``until`` the newest hour may end that a file covers; default None.
    :param min_orders: how many orders the newest interval has at least; default None.
    :param volume_change: the share by which the orders of the newest interval may differ from the median of the same
        weekday's: 0.5 is 50 %; default None. These are the earlier intervals since ``since`` that have the same length
        and begin whole weeks before it, give or take an hour (less for intervals below 12 hours), for daylight saving
        time. With fewer than three of them, the check is inconclusive.
    :param max_missing_orders: how many orders of the list all files together may lack; default None. Only files that
        were stored with ``order_details`` know it.
    :raises CruxInvalidRequestError: if a value has another type, or is out of range.
    """

    max_age: timedelta | None = None
    min_orders: int | None = None
    volume_change: float | None = None
    max_missing_orders: int | None = None

    def __post_init__(self) -> None:
        values = {name: value for name in _RULES if (value := getattr(self, name)) is not None}
        problems = [
            f"checks.{name}: {describe(value)} {problem}"
            for name, value in values.items()
            if (problem := _RULES[name](value))
        ]
        if problems:
            raise CruxInvalidRequestError("; ".join(problems))


class Finding(NamedTuple):
    """What a check found; or, if it is not ``conclusive``, why it found nothing: that must not fail a task."""

    text: str
    conclusive: bool = True


_Inconclusive: Final = partial(Finding, conclusive=False)


class _Export(NamedTuple):
    """An export of which a file is stored, and what that file covers."""

    start: datetime
    end: datetime
    requested_at: datetime
    orders: int | None
    missing_orders: int | None

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def name(self) -> str:
        return periods_text([(self.start, self.end)])


def run_checks(
    checks: CoverageChecks, coverage: Coverage, files: Iterable[tuple[Manifest, Period]], empty: Sequence[Period]
) -> list[Finding]:
    """
    Return what the checks found.

    :param files: the manifests that count, and what their files cover.
    :param empty: intervals that no file covers, because they have no orders.
    """
    exports = _latest(files)
    newest = max(exports, key=lambda export: (export.end, export.requested_at), default=None)
    findings: list[Finding] = []
    if checks.max_age is not None:
        findings += _age(checks.max_age, coverage, [*(export.end for export in exports), *(end for _, end in empty)])
    if checks.min_orders is not None:
        findings += _few_orders(checks.min_orders, newest)
    if checks.volume_change is not None:
        findings += _volume(checks.volume_change, newest, exports)
    if checks.max_missing_orders is not None:
        findings += _missing_orders(checks.max_missing_orders, exports)
    return findings


def _latest(files: Iterable[tuple[Manifest, Period]]) -> list[_Export]:
    """Return the exports whose period does not lie in that of one that was requested later."""
    exports = [
        _Export(*period, requested_at, manifest.orders, manifest.missing_orders)
        for manifest, period in files
        if (requested_at := parse_utc(manifest.requested_at)) is not None  # always: otherwise a file covers nothing
    ]
    latest: list[_Export] = []
    # of the exports so far, the periods that lie in no other one: so the ends increase together with the starts
    widest: list[Period] = []
    for export in sorted(exports, key=lambda export: export.requested_at, reverse=True):
        before = bisect_right(widest, export.start, key=itemgetter(0))
        if before and widest[before - 1][1] >= export.end:
            continue
        latest.append(export)
        first = bisect_left(widest, export.start, key=itemgetter(0))
        widest[first : bisect_right(widest, export.end, key=itemgetter(1))] = [(export.start, export.end)]
    return latest


def _age(limit: timedelta, coverage: Coverage, ends: Sequence[datetime]) -> Iterator[Finding]:
    newest = max(ends, default=coverage.since)
    age = coverage.until - newest
    if age > limit:
        what = "the newest covered hour ended at" if ends else "no file covers any time since"
        yield Finding(
            f"checks.max_age: {what} {newest.isoformat()}, {_duration(age)} before {coverage.until.isoformat()}; the "
            f"limit is {_duration(limit)}. Check whether the DAG that exports is paused, late or failing, and in this "
            "log which files do not count"
        )
    elif not ends:
        yield _Inconclusive(
            f"checks.max_age: not checked, because no file covers any time since {newest.isoformat()}, which is only "
            f"{_duration(age)} before {coverage.until.isoformat()}; use an earlier since"
        )


def _few_orders(limit: int, newest: _Export | None) -> Iterator[Finding]:
    if newest is None or newest.orders is None:
        yield _unknown("min_orders", newest)
    elif newest.orders < limit:
        yield Finding(
            f"checks.min_orders: the newest interval, {newest.name}, has {number_text(newest.orders, 'order')}, fewer "
            f"than {limit:,}. Check the list of orders, and export the interval again if it has more"
        )


def _volume(limit: float, newest: _Export | None, exports: Iterable[_Export]) -> Iterator[Finding]:
    if newest is None or newest.orders is None:
        yield _unknown("volume_change", newest)
        return
    from statistics import median  # here, because it takes longer to import than the rest

    known = _of_weeks_before(newest, exports)
    compared = number_text(len(known), "interval of the same weekday and time before it")
    if len(known) < _MIN_INTERVALS:
        yield _Inconclusive(
            f"checks.volume_change: not checked, because the newest interval, {newest.name}, can only be compared with "
            f"{compared}; {_MIN_INTERVALS} are needed. With an earlier since, there may be more"
        )
        return
    usual = median(known)
    if not usual:
        yield _Inconclusive(f"checks.volume_change: not checked, because the median of {compared} is 0 orders")
        return
    change = abs(newest.orders - usual) / usual
    if change > limit:
        yield Finding(
            f"checks.volume_change: the newest interval, {newest.name}, has {number_text(newest.orders, 'order')}, "
            f"{_percent(change)} {'more' if newest.orders > usual else 'fewer'} than {_decimal(usual)}, the median of "
            f"{compared}; at most {_percent(limit)} is allowed. Check the list of orders, and export the interval "
            "again if it differs"
        )


def _of_weeks_before(newest: _Export, exports: Iterable[_Export]) -> list[int]:
    """Return the orders of one interval for each week before: those of one week may overlap."""
    nearest: dict[int, tuple[timedelta, int]] = {}
    for export in exports:
        if export.orders is not None and _is_weeks_before(export, newest):
            distance = newest.start - export.start
            week = round(distance / _WEEK)
            candidate = abs(distance - week * _WEEK), export.orders
            nearest[week] = min(candidate, nearest.get(week, candidate))
    return [orders for _, orders in nearest.values()]


def _is_weeks_before(export: _Export, newest: _Export) -> bool:
    """Tell whether an interval has the same length, and begins whole weeks before; except for daylight saving time."""
    tolerance = min(newest.length / 12, timedelta(hours=1))
    distance = newest.start - export.start
    return (
        distance > tolerance
        and (distance + tolerance) % _WEEK <= 2 * tolerance
        and abs(export.length - newest.length) <= tolerance
    )


def _missing_orders(limit: int, exports: Sequence[_Export]) -> Iterator[Finding]:
    compared = sum(export.missing_orders is not None for export in exports)
    lacking = sorted((export for export in _not_exported_again(exports) if export.missing_orders), key=itemgetter(0))
    count = sum(export.missing_orders or 0 for export in lacking)
    if count > limit:
        shown = first_texts(lacking, lambda export: f"{export.missing_orders:,} from {export.name}")
        yield Finding(
            f"checks.max_missing_orders: files lack {number_text(count, 'order')} of the list, at most {limit:,} may "
            f"be missing: {shown}. The log of the task that stored "
            "a file names up to ten of its missing orders. Export these intervals again; each export sends an e-mail"
        )
    if not exports:
        yield _unknown("max_missing_orders", None)
    elif not compared:
        yield _Inconclusive(
            "checks.max_missing_orders: not checked, because no file could be compared with the list of orders; set "
            "order_details on the task that stores the files, and read its log"
        )
    elif compared < len(exports):
        yield _Inconclusive(
            f"checks.max_missing_orders: only {compared:,} of {number_text(len(exports), 'file')} could be compared "
            "with the list of orders, so the others may lack orders too; set order_details on the task that stores the "
            "files, and read its log"
        )


def _not_exported_again(exports: Iterable[_Export]) -> Iterator[_Export]:
    """Yield the exports that are not within later ones together: in pieces, for example."""
    covered: list[Period] = []  # by later exports; neither overlap nor adjoin
    for export in sorted(exports, key=lambda export: export.requested_at, reverse=True):
        first = bisect_left(covered, export.start, key=itemgetter(1))
        last = bisect_right(covered, export.end, key=itemgetter(0))
        touched = covered[first:last]
        if not any(start <= export.start and end >= export.end for start, end in touched[:1]):
            yield export
        start = min([export.start, *(period[0] for period in touched[:1])])
        end = max([export.end, *(period[1] for period in touched[-1:])])
        covered[first:last] = [(start, end)]


def _unknown(name: str, newest: _Export | None) -> Finding:
    reason = (
        "no file counts; this log says which files do not, and why"
        if newest is None
        else f"the number of orders of the newest interval, {newest.name}, is unknown: its manifest "
        "has orders null. Read the log of the task that stored the file"
    )
    return _Inconclusive(f"checks.{name}: not checked, because {reason}")


def _duration(length: timedelta) -> str:
    """Return a length of time in days, hours and minutes."""
    minutes = length // timedelta(minutes=1)
    parts = (minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute")
    return " ".join(number_text(count, unit) for count, unit in parts if count) or "0 minutes"


def _percent(share: float) -> str:
    return f"{_decimal(share * 100)} %"


def _decimal(number: float) -> str:
    return f"{number:,.2f}".rstrip("0").rstrip(".")
