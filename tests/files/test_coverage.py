"""Which seconds are covered, compared with a set of seconds; how gaps are cut; and which filters are equal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_crux.api.instants import Period
from airflow_provider_crux.api.orders import LINE_ITEM_STATUSES, OrdersExportRequest
from airflow_provider_crux.files.coverage import common_filters, cover, cut, find_missing
from airflow_provider_crux.files.manifest import Manifest
from tests.manifests import manifest

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def seconds(periods: list[Period] | tuple[Period, ...]) -> list[int]:
    """Return every second of the periods, as often as it occurs."""
    starts_and_ends = [((start - START) // SECOND, (end - START) // SECOND) for start, end in periods]
    return [second for start, end in starts_and_ends for second in range(start, end)]


SECOND = timedelta(seconds=1)
# Few seconds, so that periods adjoin, overlap, are equal, empty or reversed, and lie across both ends of the stretch.
PERIODS = st.lists(st.tuples(st.integers(-3, 23), st.integers(-3, 23)), max_size=8)


@given(PERIODS, st.integers(0, 20))
@example([(0, 5), (5, 10)], 10)  # adjoining
@example([(0, 10), (2, 4), (6, 8)], 10)  # one within the other
@example([(0, 6), (0, 6), (4, 10), (4, 8)], 10)
def test_gaps_and_overlaps_are_those_of_a_set_of_seconds(numbers: list[tuple[int, int]], length: int) -> None:
    periods = [(at(start), at(end)) for start, end in numbers]
    coverage = cover(at(0), at(length), periods)

    counts = [sum(start <= second < end for start, end in numbers) for second in range(length)]
    assert seconds(coverage.gaps) == [second for second, count in enumerate(counts) if count == 0]
    assert seconds(coverage.overlaps) == [second for second, count in enumerate(counts) if count > 1]
    assert coverage.covered == timedelta(seconds=sum(count > 0 for count in counts))
    # None is empty, and gaps do not adjoin: that would be two e-mails for one stretch.
    for stretches in (coverage.gaps, coverage.overlaps):
        assert all(start < end for start, end in stretches)
        assert all(before[1] < after[0] for before, after in pairwise(stretches))


@given(PERIODS, st.integers(1, 30))
def test_pieces_hold_the_same_seconds_and_are_as_long_as_possible(numbers: list[tuple[int, int]], longest: int) -> None:
    periods = [(at(start), at(end)) for start, end in numbers]
    pieces = list(cut(periods, timedelta(seconds=longest)))

    assert seconds(pieces) == seconds(periods)
    assert all(SECOND <= end - start <= timedelta(seconds=longest) for start, end in pieces)
    lengths = [max(0, end - start) for start, end in numbers]
    assert len(pieces) == sum(-(-length // longest) for length in lengths)


def test_pieces_may_be_longer_than_all_of_time() -> None:
    assert list(cut([(at(0), at(9))], timedelta.max)) == [(at(0), at(9))]


@given(PERIODS, st.integers(1, 30), st.integers(1, 9), st.integers(0, 6))
@example([(0, 5), (5, 23)], 4, 3, 2)  # all but the last second has no orders
def test_each_second_of_a_gap_is_exported_or_has_no_orders_or_is_left_for_later(
    numbers: list[tuple[int, int]], longest: int, most: int, orders: int
) -> None:
    """Orders are in the seconds that a number divides; 0 is none at all."""
    gaps = cover(at(0), at(23), [(at(start), at(end)) for start, end in numbers]).gaps
    listed: list[Period] = []

    def may_have_orders(interval: Period) -> bool:
        listed.append(interval)
        return any(orders and second % orders == 0 for second in seconds([interval]))

    pieces = list(cut(gaps, SECOND * longest))
    missing = find_missing(gaps, SECOND * longest, most=most, may_have_orders=may_have_orders)
    assert sorted([*missing.pieces, *missing.empty]) == listed == pieces[: len(listed)]
    assert all(map(may_have_orders, missing.pieces))
    assert not any(map(may_have_orders, missing.empty))
    del listed[len(missing.pieces) + len(missing.empty) :]
    # It lists all, or stops at the last that it returns.
    assert missing.has_more == (len(listed) < len(pieces))
    assert len(missing.pieces) == most if missing.has_more else len(missing.pieces) <= most
    assert sorted(seconds([*missing.gaps, *missing.empty])) == seconds(gaps)
    assert all(before[1] < after[0] for before, after in pairwise(missing.gaps))
    everything = find_missing(gaps, SECOND * longest, most=most)
    assert (everything.pieces, everything.empty, everything.gaps) == (tuple(pieces[:most]), (), gaps)


@given(st.lists(st.integers(0, 200), max_size=9))
def test_a_gap_below_one_minute_is_short(ends: list[int]) -> None:
    points = [at(end) for end in sorted(ends)]
    coverage = cover(at(0), at(200), [(point, point + SECOND) for point in points])
    assert sorted([*coverage.short_gaps, *coverage.long_gaps]) == list(coverage.gaps)
    assert all(end - start < 60 * SECOND for start, end in coverage.short_gaps)
    assert all(end - start >= 60 * SECOND for start, end in coverage.long_gaps)


def filters_of(**filters: Any) -> OrdersExportRequest:
    """Return the filters of the manifest of an export with these filters, and a day of its own for each."""
    day = START + timedelta(days=len(filters))
    request = OrdersExportRequest(start_date=day, end_date=day + timedelta(days=1), **filters).as_json()
    content = manifest(day, day + timedelta(days=1), filters=request)
    return Manifest.from_json(json.dumps(content).encode()).filters


SORT = {"key": "date", "dir": "des"}
STATUSES = ["rejected", "allocated"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({}, {"start": 0}),
        ({"sort": SORT}, {"sort": {"key": "date", "dir": "desc"}}),
        ({"line_item_status": STATUSES}, {"line_item_status": STATUSES[::-1]}),
        ({"line_item_status": STATUSES}, {"line_item_status": tuple(STATUSES), "status_conjunction": "or"}),
        ({"start": 2, "limit": 9}, {"limit": 9, "start": 2}),
        ({"sort": SORT}, {}),
        (
            {"line_item_status": ["rejected"], "status_conjunction": "only"},
            {"line_item_status": ["rejected"], "status_conjunction": "all"},
        ),
    ],
)
def test_equal_filters_written_differently_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert filters_of(**one) == filters_of(**other)


DIFFERENT = [
    {},
    {"start": 1},
    {"limit": 0},
    {"limit": 9},
    {"start": 1, "limit": 9},
    *({"line_item_status": [status]} for status in LINE_ITEM_STATUSES),
    {"line_item_status": STATUSES},
    {"line_item_status": STATUSES, "status_conjunction": "and"},
    {"line_item_status": ["rejected"], "status_conjunction": "only"},
]


def test_other_filters_are_not_the_same() -> None:
    assert len({filters_of(**filters) for filters in DIFFERENT}) == len(DIFFERENT)


def test_a_folder_without_files_has_no_filters() -> None:
    assert common_filters("lake", []) == OrdersExportRequest()
