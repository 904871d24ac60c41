"""
Write docs/evidence/faults.md: ``faults.md.template`` with the table of the cases.

Run ``python -m tests.faults.table``; a test fails if the committed page differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.faults.cases import CASES, Case, Outcome
from tests.faults.operations import OPERATIONS

PAGE: Final = Path(__file__).parents[2] / "docs" / "evidence" / "faults.md"
TEMPLATE: Final = Path(__file__).with_name("faults.md.template")


def export_requests(case: Case, request: str, outcome: Outcome) -> int:
    """Return how many requests for an export are sent."""
    if request.startswith("export"):
        return (1 + outcome.sent_again) * case.sent
    return int(request == "login" and outcome.error is None)


def escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def row(name: str, requests: list[str], outcome: Outcome, delay: tuple[float, float] | None, exports: int) -> str:
    result = "success" if outcome.error is None else f"`{outcome.error.__name__}`"
    message = f"`{outcome.message.replace('HOST', '<host>')}...`" if outcome.message else ""
    sent_again = "yes" if outcome.sent_again else "no"
    if outcome.sent_again and delay is not None:
        sent_again = f"yes, after {delay[0]:g} to {delay[1]:g} s"
    cells = (name, ", ".join(requests), result, message, sent_again, str(exports))
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def rows(case: Case) -> list[str]:
    """Return the rows of a case: one for each of its outcomes."""
    requests: dict[tuple[Outcome, int], list[str]] = {}
    for operation in OPERATIONS:
        outcome = case.expected(operation)
        same_on_worker = operation.transport == "aiohttp" and outcome == case.outcomes.get(operation.request)
        if outcome is not None and not same_on_worker:
            exports = export_requests(case, str(operation), outcome)
            requests.setdefault((outcome, exports), []).append(str(operation))
    return [
        row(case.name if number == 0 else "", names, outcome, case.delay, exports)
        for number, ((outcome, exports), names) in enumerate(requests.items())
    ]


def page() -> str:
    return TEMPLATE.read_text().replace("{{ table }}", "\n".join(line for case in CASES for line in rows(case)))


if __name__ == "__main__":
    PAGE.write_text(page())
