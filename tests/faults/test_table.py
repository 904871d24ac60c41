"""The page of faults says what the cases say."""

from __future__ import annotations

from tests.faults.cases import CASES
from tests.faults.table import PAGE, page


def test_the_committed_page_is_that_of_the_cases() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.faults.table, and read what has changed"


def test_each_case_is_named_once() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
