"""The page docs/evidence/faults.md is made from the cases."""

from __future__ import annotations

from tests.faults.cases import CASES
from tests.faults.table import PAGE, page


def test_committed_page_matches_cases() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.faults.table, and read the difference"


def test_case_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
