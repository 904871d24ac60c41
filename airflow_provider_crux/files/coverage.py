"""Which hours of a stretch of time are covered by stored files, and which are not. Pure: it reads no file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, TypeVar

from airflow_provider_crux.api.instants import Period
from airflow_provider_crux.api.orders import OrdersExportRequest
from airflow_provider_crux.exceptions import CruxInvalidRequestError

T = TypeVar("T")

MIN_GAP: Final = timedelta(minutes=1)
"""Length of the shortest gap that is worth an e-mail. Days that end at 23:59:59 leave gaps of one second."""

MAX_SHOWN: Final = 20
"""Number of periods, or of other items, that a message shows."""


@dataclass(frozen=True)
class Coverage:
    """What a set of periods covers of a stretch of time: gaps and overlaps, oldest first."""

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
    """Return what periods, in any order, cover of a stretch of time. Those that adjoin do not overlap."""
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
    Cut periods into pieces of the length ``longest``; only the last one of a period is shorter.

    Instead of a last piece below :data:`MIN_GAP`, the one before is longer, unless ``longest`` is below that too.
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
    """What to do about gaps, oldest first: intervals to export, those without orders, and the gaps without these."""

    pieces: tuple[Period, ...]
    empty: tuple[Period, ...]
    gaps: tuple[Period, ...]
    has_more: bool
    """Whether there may be more intervals to export."""


def find_missing(
    gaps: Sequence[Period], longest: timedelta, *, most: int, may_have_orders: Callable[[Period], bool] | None = None
) -> Missing:
    """
    Cut gaps into at most ``most`` intervals to export, and leave out those without orders.

    The gaps do not adjoin, oldest first. ``may_have_orders`` is only called until ``most`` intervals have orders.
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


def number_text(count: int, noun: str) -> str:
    """Return a number with a noun in its number: ``2 gaps``."""
    first, separator, rest = noun.partition(" ")
    return f"{count:,} {first}{'' if count == 1 else 's'}{separator}{rest}"


def first_texts(items: Collection[T], text_of: Callable[[T], str]) -> str:
    """Return the texts of the first items, and how many more there are."""
    rest = len(items) - MAX_SHOWN
    return "; ".join(map(text_of, islice(items, MAX_SHOWN))) + (f"; and {rest:,} more" if rest > 0 else "")


def periods_text(periods: Collection[Period]) -> str:
    """Return the first of some periods as text, and how many more there are."""
    return first_texts(periods, lambda period: " to ".join(moment.isoformat() for moment in period))


def _filters_text(kind: tuple[OrdersExportRequest, Sequence[str]]) -> str:
    filters, names = kind
    text = json.dumps(filters.as_json()) if filters.as_json() else "no filters"
    return f"{len(names)} with {text} (for example {names[0]})"


def common_filters(path: str, exports: Iterable[tuple[OrdersExportRequest, str]]) -> OrdersExportRequest:
    """
    Return the filters that all exports in a folder have, from pairs of filters and file; none if there is no export.

    :raises CruxInvalidRequestError: if two have different filters, or one holds only a part of its interval.
    """
    kinds: dict[OrdersExportRequest, list[str]] = {}
    for filters, name in exports:
        kinds.setdefault(filters, []).append(name)
    text = first_texts(kinds.items(), _filters_text)
    # An error: if they only did not count, every run would export these intervals again, with an e-mail each.
    if any(kind.start or kind.limit is not None for kind in kinds):
        raise CruxInvalidRequestError(
            f"path: {path!r} holds exports of only a part of their intervals: {text}. Move them to another folder, and "
            "export these intervals without start and limit"
        )
    if len(kinds) > 1:
        raise CruxInvalidRequestError(
            f"path: {path!r} holds exports with different filters, which cannot be checked together: {text}. Use two "
            "folders, one for each kind, and move each file with its manifest"
        )
    return next(iter(kinds), OrdersExportRequest())
