"""The faults that lose the response, once more behind a proxy: nothing else may come of them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tests.faults.cases import CASES, RESPONSE_LOST, Case
from tests.raw_server import Connection


def loses_the_response(case: Case) -> bool:
    """Tell whether a server without TLS and without a proxy gets the request, and the client no response."""
    outcome = case.outcomes.get("export")
    direct = case.scheme == "http" and case.certificate is None and case.proxy is None and case.address is None
    return direct and outcome is not None and outcome.message == RESPONSE_LOST.message


def twins(case: Case) -> Iterator[Case]:
    """Make the same fault of a server behind a plain proxy, of that proxy itself, and of a server behind a tunnel."""
    yield replace(case, name=f"{case.name}; through a plain proxy", proxy=Connection.forward)
    yield replace(case, name=f"{case.name}; at a plain proxy", at_proxy=True)
    yield replace(case, name=f"{case.name}; through a tunnel", proxy=Connection.tunnel, certificate={})


PROXY_CASES: Final = tuple(twin for case in CASES if loses_the_response(case) for twin in twins(case))
