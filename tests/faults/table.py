"""
The page docs/reliability.md: what stands before the table, and the table of the cases.

``python -m tests.faults.table`` writes it; a test fails where the page that is committed says something else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.faults.calls import WAYS
from tests.faults.cases import CASES, Case, Met

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"

BEFORE: Final = """\
# What happens when the network, or a server, misbehaves

Each row is a test: a server on loopback does what the first column says, to a real connection of the provider's
hooks. `python -m tests.faults.table` writes this page from those tests (`tests/faults/`), and a test fails where the
two differ.

What holds in every row:

- **No export is asked for twice on a doubt.** A request that may have been processed is sent once. It is sent again
  only where it surely was not: no connection was made, or the server said 429 or 503 (or 401, after a new login).
- **No call hangs.** A connection must stand within `connect_timeout`, TLS included. A pause of `read_timeout` ends an
  answer; so does an answer that is not whole after twice `read_timeout`, however steadily its bytes drip. Of a file,
  the headers must have come by then, and its body may take as long again for each 64 KiB: at the default of 60
  seconds, no less than 546 bytes a second. The time in which the file is written does not count.
  In the triggerer `connect_timeout` comes on top. How long an export is waited for is
  [another matter](waiting-and-storing.md#waiting).
- **No part of a file is stored.** What was at the path before is there afterwards, with nothing beside it.
- **No message shows a secret**: token, password, or the path and query of a file's link.
- **No answer fills the memory.** No more than 1 MiB of an answer is read, unpacked; of a file 256 KiB at a time.
- **Nothing is sent to another host**: redirects are not followed.

"export" is `CruxHook.export_orders`, "look" is `get_export`, by the worker and by the triggerer, "login" is the login
before either, "file" is the fetch of a file. *Sent again* says whether the provider itself repeats the call, up to
`max_retries` times (3 unless the connection says otherwise), before the error is raised; *exports asked for* counts
the requests for an export that leave where `max_retries` is 1. What Airflow does with each error stands in the
[reference](reference.md#airflow_provider_cruxexceptions).

| what happens | to | the user gets | the message goes on after "Could not ...:" | sent again | exports asked for |
|---|---|---|---|---|---|
"""

AFTER: Final = """
## What is left

- `Content-Length` is believed: where a server announces less than the file has, nothing tells. The `sha256` that the
  transfer hands on is that of the bytes that came.
- A server that sends without any pause and without end (a file of no length in chunks, or trailers after a chunked
  body) is read as long as it sends, with no more memory: set `execution_timeout` for a task whose storage is not
  trusted.
- How long a name may take to be resolved is the operating system's to say, for a worker.
- aiohttp itself sends a GET once more where its connection breaks; so a look by the triggerer may be sent twice as
  often.
"""


def asked_for(case: Case, call: str, met: Met) -> str:
    """Return how many requests for an export leave the machine."""
    if call.startswith("export"):
        return str((1 + met.again) * case.sent)
    return "1" if call == "login" and met.error is None else "0"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def row(name: str, calls: list[str], met: Met, waits: tuple[float, float] | None, asked: str) -> str:
    user = "what was asked for" if met.error is None else f"`{met.error.__name__}`"
    again = "yes" if met.again else "no"
    if met.again and waits is not None:
        again = f"yes, after {waits[0]:g} to {waits[1]:g} s"
    says = f"`{met.says.replace('HOST', '<host>')}...`" if met.says else ""
    return f"| {' | '.join(map(cell, (name, ', '.join(calls), user, says, again, asked)))} |"


def rows(case: Case) -> list[str]:
    """Return the rows of one case: one for each thing that a call can meet."""
    met: dict[tuple[Met, str], list[str]] = {}
    for way in WAYS:
        expected = case.expected(way)
        if expected is None:
            continue
        call = str(way)
        if call.endswith(", triggerer"):
            if expected == case.met.get(way.call):
                continue
            call = f"{way.call} (triggerer)"
        met.setdefault((expected, asked_for(case, call, expected)), []).append(call)
    return [
        row(case.name if number == 0 else "", calls, what, case.waits, asked)
        for number, ((what, asked), calls) in enumerate(met.items())
    ]


def page() -> str:
    return BEFORE + "".join(f"{line}\n" for case in CASES for line in rows(case)) + AFTER


if __name__ == "__main__":
    PAGE.write_text(page())
