"""Which of several exports of a time counts, compared with a simple search; and that it takes no longer for many."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_crux.api.instants import Period
from airflow_provider_crux.files.coverage import cover
from airflow_provider_crux.files.coverage_checks import CoverageChecks, run_checks
from airflow_provider_crux.files.manifest import Manifest, read_manifest
from tests.manifests import manifest

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def stored(start: int, end: int, requested: int, missing: int) -> tuple[Manifest, Period]:
    """Return a manifest of some hours that was requested so many hours after all of them."""
    requested_at = START + 1000 * HOUR + requested * HOUR
    content = manifest(
        START + start * HOUR, START + end * HOUR, requested_at=requested_at.isoformat(), missing_orders=missing
    )
    return read_manifest(json.dumps(content).encode(), content["bytes"])


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(0, 4)), max_size=8))
@example([(0, 2, 1), (0, 2, 2)])  # exported again
@example([(0, 2, 1), (1, 1, 2)])  # only a part was exported again
@example([(0, 1, 1), (1, 1, 1), (0, 2, 2), (0, 4, 3)])
@example([(0, 3, 1), (1, 3, 2), (1, 2, 0)])
@example([(0, 4, 1), (0, 2, 2), (2, 2, 3)])  # in two pieces
def test_an_export_within_later_ones_does_not_count(exports: list[tuple[int, int, int]]) -> None:
    # each has a binary digit of its own, so the sum says which ones count
    files = [(start, start + length, at, 2**number) for number, (start, length, at) in enumerate(exports)]
    counting = [
        file
        for number, file in enumerate(files)
        if not all(
            any(
                other[0] <= hour < other[1] and (other[2], -position) > (file[2], -number)
                for position, other in enumerate(files)
            )
            for hour in range(file[0], file[1])
        )
    ]
    stretch = cover(START, START + 12 * HOUR, [])
    findings = run_checks(CoverageChecks(max_missing_orders=0), stretch, [stored(*file) for file in files], [])
    counts = [re.search(r"files lack ([\d,]+) order", finding.text) for finding in findings if finding.conclusive]
    assert [count and int(count[1].replace(",", "")) for count in counts] == [sum(file[3] for file in counting)][
        : len(files)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("nested", [False, True], ids=["one after the other", "one in the other"])
def test_ten_thousand_exports_take_no_quadratic_time(*, nested: bool) -> None:
    """A hundred times as many may take a thousand times as long; a search in a search would take ten thousand."""

    def seconds(count: int) -> float:
        files = [
            (content, (START + (0 if nested else number) * HOUR, START + (number + 1) * HOUR))
            for number, content in enumerate([stored(0, 1, 0, 1)[0]] * count)
        ]
        checks = CoverageChecks(max_age=HOUR, min_orders=1, volume_change=0.5, max_missing_orders=0)
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            run_checks(checks, cover(START, START + count * HOUR, []), files, [])
            best = min(best, time.process_time() - begin)
        return best

    assert seconds(10_000) < 1000 * max(seconds(100), 1e-4)
