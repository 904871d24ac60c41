"""Each fault, met by each call over each transport: what the user gets, how often it was sent, what is left behind."""

from __future__ import annotations

import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tenacity

from airflow_provider_crux.api.responses import Export
from airflow_provider_crux.exceptions import CruxAmbiguousError, CruxError
from airflow_provider_crux.hooks.crux import CruxHook
from tests.faults.calls import BEFORE, BY_LOGIN, DAY, PASSWORD, WAYS, Way, outcome
from tests.faults.cases import CASES, ELSEWHERE, Case, Met
from tests.faults.certificates import certificate
from tests.faults.server import EXPORT, FILE, SIGNATURE, TOKEN, UUID, Server, Wire, answer, running

SECRETS = (TOKEN, PASSWORD, SIGNATURE, "X-Amz")


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no test wait; what would have been waited is in the list."""
    seconds: list[float] = []
    blocking, looping = tenacity.Retrying, tenacity.AsyncRetrying

    async def sleep(waited: float) -> None:
        seconds.append(waited)

    monkeypatch.setattr(tenacity, "Retrying", lambda **given: blocking(**given, sleep=seconds.append))
    monkeypatch.setattr(tenacity, "AsyncRetrying", lambda **given: looping(**given, sleep=sleep))
    return seconds


def prepared(stack: ExitStack, case: Case, way: Way, folder: Path) -> tuple[list[Server], str, dict[str, Any]]:
    """Start what the case needs; return the servers, the nearest first, the URL, and what the connection must know."""
    # generous, where no timeout is to be met; else above what a busy machine takes to connect to itself
    connect_timeout = 0.4 if case.sent else 0.1
    extra: dict[str, Any] = {"connect_timeout": connect_timeout, "read_timeout": 0.1} if case.brief else {}
    extra |= {"max_retries": 1}
    place = case.place and stack.enter_context(case.place())
    if place and case.proxy is None:
        return [], place, extra
    tls = None
    if case.certificate is not None:
        tls, bundle = certificate(folder, **case.certificate)  # type: ignore[arg-type]
        extra["ca_bundle"] = str(bundle)
    server = stack.enter_context(running(case.fault, way.path, at_once=case.at_once, tls=tls, scheme=case.scheme))
    if case.proxy is None:
        return [server], server.url, extra
    if place:
        return [server], server.url, {**extra, "proxy": place}
    proxy = stack.enter_context(running(case.proxy, ""))
    return [proxy, server], server.url, {**extra, "proxy": proxy.url}


# a login in the triggerer takes the way of a look there: where timeouts are met it is left out, to save their time
MEETINGS = [
    (case, way)
    for case in CASES
    for way in WAYS
    if case.expected(way) and not (case.brief and str(way) == "login, triggerer")
]


@pytest.mark.parametrize(("case", "way"), MEETINGS, ids=[f"{case}-{way}" for case, way in MEETINGS])
def test_what_the_user_gets(case: Case, way: Way, connect, tmp_path: Path, waits: list[float]) -> None:
    lake, pki = tmp_path / "lake", tmp_path / "pki"
    lake.mkdir()
    pki.mkdir()
    with ExitStack() as stack:
        servers, url, extra = prepared(stack, case, way, pki)
        connect(host=url, extra=extra, **(BY_LOGIN if case.by_login else way.credentials))
        file = f"{url}{FILE}orders.csv?X-Amz-Expires=600&X-Amz-Signature={SIGNATURE}"
        got = outcome(way, file, lake)
        expected = case.expected(way)
        assert expected is not None
        judge(got, expected, case, way, url)
        if expected.again and case.waits is not None:
            assert waits
            assert all(case.waits[0] <= seconds <= case.waits[1] for seconds in waits)
        if case.place is None:
            servers[0].await_connections(1 + expected.again)
        if way.call == "file":
            assert [found.name for found in lake.iterdir()] == ["orders.csv"]
            assert (lake / "orders.csv").read_bytes() == (BEFORE if expected.error else case.stored)
    if case.place is None:
        judge_traffic(servers, expected, case, way)
    else:
        assert len(waits) == 1, "it was not tried again"
        assert not any(server.connections for server in servers)


def judge(got: object, expected: Met, case: Case, way: Way, url: str) -> None:
    if expected.error is None:
        assert got == way.good
        return
    assert type(got) is expected.error
    assert isinstance(got, CruxError)
    shown = str(got).removeprefix(f"Could not {way.doing}: ").replace(url.partition("://")[2], "HOST")
    assert shown.startswith(expected.says)
    told = "".join(traceback.format_exception(got)) + repr(got)
    assert not [secret for secret in SECRETS if secret in told.replace("X-Amz-Expires=600", "")]


def judge_traffic(servers: list[Server], expected: Met, case: Case, way: Way) -> None:
    for server in servers:
        assert server.mistakes == []
        assert not server.tired, "the server gave up before the client did"
    assert sum(server.may_have_started for server in servers) <= 1
    # where timeouts are met, a client may be gone before the request is read
    all_counted = not (case.at_once or case.brief) and case.sent
    arrived = sum(server.asked(way.path) for server in servers) if all_counted else servers[0].connections
    if way.by == "requests":
        assert arrived == (2 if expected.again else 1)
    else:
        # aiohttp sends a GET again by itself, once, where a connection breaks
        assert (arrived > 1) == expected.again
    if way.call == "login" and expected.error:
        assert not any(server.asked(EXPORT) for server in servers)
    if not case.sent:
        assert not [head for server in servers for head in server.came if not head.startswith("CONNECT")]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_arrives_at_the_host_that_a_redirect_names(way: Way, status: int, connect, tmp_path: Path) -> None:
    with running(lambda wire: wire.say(200)) as elsewhere:
        location = f"Location: {elsewhere.url}{way.path}"
        with running(lambda wire: wire.say(status, b"", location), way.path) as server:
            connect(host=server.url, **way.credentials)
            got = outcome(way, server.file_url, tmp_path)
            assert "Redirects are not followed" in str(got)
            assert server.asked(way.path) == 1
        assert elsewhere.connections == 0
    assert any(case.name.endswith(ELSEWHERE) and case.name.startswith(str(status)) for case in CASES)


def test_an_answer_that_comes_late_is_not_taken_for_that_of_the_next_call(connect) -> None:
    """After 103 and a lost answer, the connection is not used again: the answer to one call would be the next one's."""

    def fault(wire: Wire) -> None:
        if len(wire.server.came) > 1:
            wire.send(wire.good())
            return
        wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        wire.hold()

    with running(fault, EXPORT) as server:
        connect(host=server.url, password=TOKEN, extra={"read_timeout": 0.1})
        hook = CruxHook()
        with pytest.raises(CruxAmbiguousError):
            hook.export_orders(DAY)
        assert hook.export_orders(DAY) == UUID
        assert server.connections == 2


def test_more_than_was_announced_is_not_taken_for_the_answer_to_the_next_call(connect) -> None:
    """What follows an answer on a connection that stays open is nobody's."""
    other = UUID.replace("b", "c")

    def fault(wire: Wire) -> None:
        kept = wire.good().replace(b"Connection: close", b"Connection: keep-alive")
        wire.send(kept + kept.replace(UUID.encode(), other.encode()))
        while wire.read():
            wire.send(kept)

    with running(fault, EXPORT) as server:
        connect(host=server.url, password=TOKEN)
        hook = CruxHook()
        with hook.get_conn():
            assert [hook.export_orders(DAY), hook.export_orders(DAY)] == [UUID, UUID]


def test_a_drip_is_named(connect, tmp_path: Path) -> None:
    """Neither silence nor a cut: a person has to know what to look for."""
    (case,) = (case for case in CASES if case.name.startswith("a byte of the body"))
    for way in (way for way in WAYS if way.call != "login"):
        with running(case.fault, way.path) as server:
            # no pause is as long as the read timeout
            connect(
                host=server.url,
                extra={"connect_timeout": 0.4, "read_timeout": 0.2, "max_retries": 0},
                **way.credentials,
            )
            assert "no end after" in str(outcome(way, server.file_url, tmp_path))
            assert not server.tired


def test_a_file_that_comes_steadily_may_take_longer_than_an_answer(connect, tmp_path: Path) -> None:
    """Nor does the time count that the reader takes."""
    body = bytes(4 * 1024 * 1024)

    def fault(wire: Wire) -> None:
        wire.send(answer(200, body)[: -len(body)])
        for at in range(0, len(body), 64 * 1024):
            wire.send(body[at : at + 64 * 1024])
            wire.server.ended.wait(0.02)

    with running(fault, FILE) as server:
        connect(host=server.url, password=TOKEN, extra={"read_timeout": 0.4})
        with CruxHook().open_file(Export(uuid=UUID, status="completed", url=server.file_url)) as chunks:
            assert b"".join(chunks) == body
