"""Which hours of a stretch of time are covered by stored files, and which are not. Pure: it reads no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_provider_crux.api.instants import Period

MIN_GAP: Final = timedelta(minutes=1)
"""Length of the shortest gap that is worth an e-mail. Days that end at 23:59:59 leave gaps of one second."""


@dataclass(frozen=True)
class Coverage:
    """
    What a set of periods covers of a stretch of time.

    :param since: start of the stretch.
    :param until: end of the stretch.
    :param gaps: what no period covers, oldest first.
    :param overlaps: what more than one period covers, oldest first.
    """

    since: datetime
    until: datetime
    gaps: tuple[Period, ...]
    overlaps: tuple[Period, ...]

    @property
    def covered(self) -> timedelta:
        """How much time is covered."""
        return self.until - self.since - total(self.gaps)

    @property
    def long_gaps(self) -> tuple[Period, ...]:
        """The gaps that are not below :data:`MIN_GAP`."""
        return tuple((start, end) for start, end in self.gaps if end - start >= MIN_GAP)

    @property
    def short_gaps(self) -> tuple[Period, ...]:
        """The gaps below :data:`MIN_GAP`."""
        return tuple((start, end) for start, end in self.gaps if end - start < MIN_GAP)


def total(periods: Iterable[Period]) -> timedelta:
    """Return the length of all periods together."""
    return sum((end - start for start, end in periods), timedelta())


def cover(since: datetime, until: datetime, periods: Iterable[Period]) -> Coverage:
    """
    Return what periods cover of a stretch of time. Periods that adjoin leave no gap and do not overlap.

    :param since: start of the stretch.
    :param until: end of the stretch, not before ``since``.
    :param periods: in any order.
    """
    clipped = sorted((max(start, since), min(end, until)) for start, end in periods)
    gaps: list[Period] = []
    overlaps: list[Period] = []
    reached = since
    for start, end in clipped:
        if start >= end:
            continue
        if start > reached:
            gaps.append((reached, start))
        elif start < reached:
            _extend(overlaps, (start, min(end, reached)))
        reached = max(reached, end)
    if reached < until:
        gaps.append((reached, until))
    return Coverage(since, until, tuple(gaps), tuple(overlaps))


def _extend(periods: list[Period], period: Period) -> None:
    """Append a period, or make the last one longer if they adjoin or overlap."""
    if periods and period[0] <= periods[-1][1]:
        periods[-1] = (periods[-1][0], max(periods[-1][1], period[1]))
    else:
        periods.append(period)


def cut(periods: Iterable[Period], longest: timedelta) -> Iterator[Period]:
    """
    Cut periods into pieces.

    :param periods: the periods.
    :param longest: length of the longest piece, above 0; only the last piece of a period is shorter. Instead of a last
        piece below :data:`MIN_GAP`, the one before is longer, unless ``longest`` is below that too.
    """
    rest = MIN_GAP if longest >= MIN_GAP else timedelta(microseconds=1)
    for start, end in periods:
        while start < end:
            # not a sum first: it may be longer than all of time
            piece_end = end if end - start - rest < longest else start + longest
            yield start, piece_end
            start = piece_end  # noqa: PLW2901 - the rest of the period


@dataclass(frozen=True)
class Missing:
    """
    What to do about gaps.

    :param pieces: the intervals to export, oldest first.
    :param empty: the intervals without orders, likewise.
    :param gaps: the gaps without these, likewise.
    :param has_more: whether there may be more intervals to export.
    """

    pieces: tuple[Period, ...]
    empty: tuple[Period, ...]
    gaps: tuple[Period, ...]
    has_more: bool


def find_missing(
    gaps: Sequence[Period], longest: timedelta, *, most: int, may_have_orders: Callable[[Period], bool] | None = None
) -> Missing:
    """
    Cut gaps into intervals to export, and leave out those without orders.

    :param gaps: the gaps, oldest first; none adjoins the next.
    :param longest: length of the longest interval, above 0.
    :param most: number of intervals to export at most.
    :param may_have_orders: tells whether an interval may have orders; only called until there are so many that do.
        Default: every interval does.
    """
    pieces: list[Period] = []
    empty: list[Period] = []
    rest: Period | None = None
    for piece in cut(gaps, longest):
        if len(pieces) == most:
            rest = piece
            break
        (pieces if may_have_orders is None or may_have_orders(piece) else empty).append(piece)
    left: list[Period] = []
    for period in [*pieces, *((max(start, rest[0]), end) for start, end in gaps if rest and end > rest[0])]:
        _extend(left, period)
    return Missing(tuple(pieces), tuple(empty), tuple(left), has_more=rest is not None)


def same_filters(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """
    Tell whether two requests select the same orders of an interval.

    :param one: the body of a request; its dates do not count.
    :param other: likewise.
    """
    return _filters(one) == _filters(other)


def _filters(request: Mapping[str, Any]) -> dict[str, Any]:
    filters = {name: value for name, value in request.items() if name not in ("start_date", "end_date")}
    if not filters.get("start"):
        filters.pop("start", None)  # 0 is the default
    statuses = filters.get("line_item_status")
    if isinstance(statuses, list | tuple):
        filters["line_item_status"] = sorted(statuses, key=str)
        filters.setdefault("status_conjunction", "or")
    return filters
