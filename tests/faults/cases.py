"""Every fault and its outcome: the tests make each of them happen, and the table in the docs is made from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from airflow_provider_crux import exceptions as errors
from tests.faults.operations import Operation
from tests.raw_server import CSV, SIGNATURE, TOKEN, Connection, Fault, full_backlog, unused_url

OK: Final = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True)
class Outcome:
    """
    What an operation leads to.

    :param error: the class of its error; ``None`` if it succeeds.
    :param message: how the error message begins, after "Could not ...: " if it begins so.
    :param sent_again: whether the request is sent again.
    """

    error: type[errors.CruxError] | None
    message: str = ""
    sent_again: bool = False


SUCCESS: Final = Outcome(None)

Expected = Mapping[str, Outcome]
"""Outcomes by request; under ``"poll (triggerer)"`` if the outcome in the triggerer differs."""


@dataclass(frozen=True)
class Case:
    """
    One fault.

    :param name: what happens, as the table says it.
    :param fault: what the server does.
    :param outcomes: what each operation leads to; other operations are not run.
    :param sent: whether the request is sent at all.
    :param before_request: whether the fault happens before the request is read.
    :param times_out: whether a timeout ends it, so that the test sets short ones.
    :param with_login: whether the connection has a login, whatever the operation.
    :param scheme: of the URL.
    :param certificate: arguments of the server's certificate; ``None`` for plain HTTP.
    :param address: gives a URL without a usable server, to use instead of the server's (or the proxy's).
    :param proxy: what the proxy before the server does; ``None`` if there is none.
    :param at_proxy: whether the server is itself the proxy before another host.
    :param delay: bounds of the seconds before the request is sent again.
    :param stored: content of the stored file.
    """

    name: str
    fault: Fault
    outcomes: Expected
    sent: bool = True
    before_request: bool = False
    times_out: bool = False
    with_login: bool = False
    scheme: str = "http"
    certificate: Mapping[str, object] | None = None
    address: Callable[[], AbstractContextManager[str]] | None = None
    proxy: Fault | None = None
    at_proxy: bool = False
    delay: tuple[float, float] | None = None
    stored: bytes = field(default=CSV, repr=False)

    def __str__(self) -> str:
        return self.name

    def expected(self, operation: Operation) -> Outcome | None:
        return self.outcomes.get(str(operation), self.outcomes.get(operation.request))


# -- what servers do


def send(*pieces: bytes, then: Fault = lambda _: None) -> Fault:
    def fault(connection: Connection) -> None:
        connection.send(b"".join(pieces))
        then(connection)

    return fault


def respond(status: int, body: bytes = b"", *headers: str) -> Fault:
    return lambda connection: connection.respond(status, body, *headers)


def respond_json(content: object) -> Fault:
    return respond(200, json.dumps(content).encode(), "Content-Type: application/json")


def respond_after(*pieces: bytes) -> Fault:
    return lambda connection: connection.send(b"".join(pieces) + connection.normal_response())


def with_length(header: bytes) -> Fault:
    """Respond normally, but replace the header ``Content-Length``."""
    return lambda connection: connection.send(
        connection.normal_response().replace(b"Content-Length: ", header + b"X-True-Length: ")
    )


def endless(*pieces: bytes, pause: float = 0.02) -> Fault:
    return lambda connection: connection.send_forever(*pieces, pause=pause)


def repeat_request(connection: Connection) -> None:
    connection.respond(400, connection.server.requests[-1].encode() + f" {SIGNATURE} {TOKEN}".encode())


def large_body(connection: Connection) -> None:
    connection.send(OK + b"Content-Length: 200000000\r\n\r\n")
    connection.send(b"a,b\r\n".ljust(1_000_000, b"x"))
    for _ in range(199):
        connection.send(b"x" * 1_000_000)


@cache
def compressed_zeros() -> bytes:
    return gzip.compress(bytes(200_000_000), compresslevel=1)


def compressed_body(connection: Connection) -> None:
    connection.respond(200, compressed_zeros(), "Content-Encoding: gzip")


def reject_first(connection: Connection) -> None:
    if connection.server.rejected:
        connection.send(connection.normal_response())
    else:
        connection.respond(401)


# -- what operations lead to


def same_for_all(outcome: Outcome, *, download: Outcome | None = None, triggerer: Outcome | None = None) -> Expected:
    """Let export, poll and login have the same outcome, unless ``triggerer`` says otherwise for the last two there."""
    outcomes = dict.fromkeys(("export", "poll", "login"), outcome)
    if triggerer is not None:
        outcomes |= dict.fromkeys(("poll (triggerer)", "login (triggerer)"), triggerer)
    return outcomes if download is None else {**outcomes, "download": download}


def succeeds(*, download: Outcome = SUCCESS, triggerer: Outcome | None = None) -> Expected:
    return same_for_all(SUCCESS, download=download, triggerer=triggerer)


RESPONSE_LOST: Final = Outcome(errors.CruxUnavailableError, "the response was lost (", sent_again=True)


def lost(*, download_again: bool = True) -> Expected:
    download = replace(RESPONSE_LOST, message="the download from HOST was incomplete (", sent_again=download_again)
    export = Outcome(errors.CruxAmbiguousError, RESPONSE_LOST.message)
    return {**same_for_all(RESPONSE_LOST, download=download), "export": export}


def not_connected() -> Expected:
    outcome = Outcome(errors.CruxUnavailableError, "cannot connect to Crux Connect (", sent_again=True)
    return same_for_all(outcome, download=replace(outcome, message="cannot connect to HOST ("))


def not_trusted() -> Expected:
    outcome = Outcome(errors.CruxInvalidConnectionError, "the certificate of Crux Connect is not trusted (")
    return same_for_all(outcome, download=replace(outcome, message="the certificate of HOST is not trusted ("))


def invalid_response(
    problem: str, *, status: int = 200, download: Outcome | None = None, triggerer: Outcome | None = None
) -> Expected:
    """Name the problem of the response to a poll. For an export, every JSON object without a UUID is the same one."""

    def outcome(problem: str) -> Outcome:
        return Outcome(errors.CruxInvalidResponseError, f"Crux Connect returned HTTP {status}, but {problem}")

    return {
        **same_for_all(outcome(f"{problem} ("), download=download, triggerer=triggerer),
        "export": outcome(f"{problem} (" if problem.startswith("its body") else "its body has no valid uuid ("),
        "login": outcome("the login returned no valid auth_token. "),
    }


def rejected(
    status: int, error: type[errors.CruxError], download_error: type[errors.CruxError], *, sent_again: bool = False
) -> Expected:
    outcome = Outcome(error, f"Crux Connect returned HTTP {status} (", sent_again)
    download = Outcome(
        download_error,
        f"HOST returned HTTP {status} (",
        sent_again or issubclass(download_error, errors.CruxTransientError),
    )
    return same_for_all(outcome, download=download)


def redirected(status: int) -> Expected:
    outcomes = rejected(status, REJECTED, UNAVAILABLE)
    return {**outcomes, "export": Outcome(errors.CruxInvalidResponseError, f"Crux Connect returned HTTP {status} (")}


def ambiguous(status: int) -> Expected:
    outcomes = rejected(status, errors.CruxUnavailableError, errors.CruxUnavailableError, sent_again=True)
    return {**outcomes, "export": Outcome(errors.CruxAmbiguousError, f"Crux Connect returned HTTP {status} (")}


def retry_after(status: int, delay: tuple[float, float], header: str, shown: str | None = None) -> Case:
    error = errors.CruxRateLimitError if status == 429 else errors.CruxUnavailableError
    return Case(
        f"HTTP {status}, {shown or f'`Retry-After: {header}`'}",
        respond(status, b"", f"Retry-After: {header}"),
        rejected(status, error, errors.CruxUnavailableError, sent_again=True),
        delay=delay,
    )


def unverifiable(problem: str = "") -> Outcome:
    return Outcome(errors.CruxUnavailableError, f"HOST returned HTTP 200, but {problem}")


UNVERIFIABLE_FILE: Final = unverifiable()
REJECTED: Final = errors.CruxRequestRejectedError
UNAVAILABLE: Final = errors.CruxUnavailableError
REDIRECT: Final = "redirect to another host"
SLOW_BODY: Final = "an endless body, one byte at a time"

CASES: Final = (
    # -- connection
    Case("the server refuses the connection", Connection.stay_silent, not_connected(), sent=False, address=unused_url),
    Case(
        "the server accepts no connections (backlog full)",
        Connection.stay_silent,
        not_connected(),
        sent=False,
        address=full_backlog,
        times_out=True,
    ),
    Case(
        "the server accepts the connection, but neither reads nor responds",
        Connection.stay_silent,
        lost(),
        before_request=True,
        times_out=True,
    ),
    Case("a reset before the request is read", Connection.reset_unread, lost(), before_request=True),
    Case("a reset after the request is read", Connection.reset, lost()),
    Case("the server closes the connection without a response", send(b""), lost()),
    Case("the server reads the request, but never responds", Connection.stay_silent, lost(), times_out=True),
    # -- TLS
    Case("a valid certificate", respond_after(b""), succeeds(), certificate={}),
    Case(
        "a certificate for another host",
        respond_after(b""),
        not_trusted(),
        sent=False,
        certificate={"address": "127.0.0.2"},
    ),
    Case("an expired certificate", respond_after(b""), not_trusted(), sent=False, certificate={"days": -1}),
    Case("a self-signed certificate", respond_after(b""), not_trusted(), sent=False, certificate={"trusted": False}),
    Case(
        "no response to the TLS handshake",
        Connection.stay_silent,
        not_connected(),
        sent=False,
        before_request=True,
        times_out=True,
        scheme="https",
    ),
    Case(
        "a reset during the TLS handshake",
        Connection.reset_unread,
        not_connected(),
        sent=False,
        before_request=True,
        scheme="https",
    ),
    Case("plain HTTP at an https URL", respond(400), not_connected(), sent=False, before_request=True, scheme="https"),
    # -- incomplete responses
    Case("half of the status line, then the connection is closed", send(b"HTTP/1.1 20"), lost()),
    Case(
        "half of the status line, then nothing",
        send(b"HTTP/1.1 20", then=Connection.stay_silent),
        lost(),
        times_out=True,
    ),
    Case("half of the headers, then the connection is closed", send(OK, b"Content-Type: text/csv\r\n"), lost()),
    Case(
        "half of the body, then the connection is closed",
        send(OK, b"Content-Length: 99\r\n\r\n{"),
        lost(download_again=False),
    ),
    Case(
        "half of the body, then a reset",
        send(OK, b"Content-Length: 99\r\n\r\n{", then=Connection.reset),
        lost(download_again=False),
    ),
    Case(
        "half of the body, then nothing",
        send(OK, b"Content-Length: 99\r\n\r\n{", then=Connection.stay_silent),
        lost(download_again=False),
        times_out=True,
    ),
    Case(
        "half of a chunk, then the connection is closed",
        send(OK, b"Transfer-Encoding: chunked\r\n\r\n9\r\n{"),
        lost(download_again=False),
    ),
    # -- wrong lengths
    Case("`Content-Length` is too large", with_length(b"Content-Length: 9999\r\n"), lost(download_again=False)),
    Case(
        "`Content-Length` is too small (25 bytes)",
        with_length(b"Content-Length: 25\r\n"),
        invalid_response("its body is not a JSON object", triggerer=RESPONSE_LOST, download=SUCCESS),
        stored=CSV[:25],
    ),
    Case(
        "`Content-Length` twice, with different values",
        with_length(b"Content-Length: 4\r\nContent-Length: 5\r\n"),
        lost(),
    ),
    Case(
        "`Content-Length` is not a number",
        with_length(b"Content-Length: many\r\n"),
        succeeds(triggerer=RESPONSE_LOST, download=UNVERIFIABLE_FILE),
    ),
    Case("no `Content-Length`", with_length(b""), succeeds(download=UNVERIFIABLE_FILE)),
    # -- endless responses
    Case("endless headers", endless(OK, b"X-A: b\r\n" * 100, pause=0), lost()),
    Case("one endless header", endless(OK, b"X-A: ", b"b" * 1000, pause=0), lost()),
    Case("endless headers, one byte at a time", endless(OK, b"X-A: ", b"b"), lost(), times_out=True),
    Case(
        SLOW_BODY,
        endless(OK, b"Content-Length: 999999\r\n\r\n", b" "),
        lost(download_again=False),
        times_out=True,
    ),
    Case("endless HTTP 100", endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 10), lost(), times_out=True),
    Case("a body of 200 MB", large_body, invalid_response("its body exceeds 1048576 bytes")),
    Case(
        "200 MB of zeros, compressed",
        compressed_body,
        invalid_response("its body exceeds 1048576 bytes", download=UNVERIFIABLE_FILE),
    ),
    # -- 1xx and 2xx
    Case("HTTP 100, then a normal response", respond_after(b"HTTP/1.1 100 Continue\r\n\r\n"), succeeds()),
    Case("HTTP 103, then a normal response", respond_after(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"), succeeds()),
    Case(
        "HTTP 100, then nothing",
        send(b"HTTP/1.1 100 Continue\r\n\r\n", then=Connection.stay_silent),
        lost(),
        times_out=True,
    ),
    Case(
        "HTTP 103, then nothing",
        send(b"HTTP/1.1 103 Early Hints\r\n\r\n", then=Connection.stay_silent),
        lost(),
        times_out=True,
    ),
    Case(
        "HTTP 101",
        send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        ambiguous(101),
    ),
    Case(
        "HTTP 204",
        send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        invalid_response(
            "its body is not a JSON object",
            status=204,
            download=Outcome(UNAVAILABLE, "HOST returned HTTP 204 (", sent_again=True),
        ),
    ),
    Case(
        "an HTML page",
        respond(200, b"<html>", "Content-Type: text/html"),
        invalid_response("its body is not a JSON object", download=UNVERIFIABLE_FILE),
    ),
    Case(
        "an empty body",
        respond(200),
        invalid_response("its body is not a JSON object", download=unverifiable("with an empty file. ")),
    ),
    Case(
        "an XML document",
        respond(
            200, b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "Content-Type: application/xml"
        ),
        invalid_response("its body is not a JSON object", download=unverifiable("with XML. ")),
    ),
    Case(
        "a JSON list",
        respond_json([]),
        invalid_response("its body is not a JSON object", download=unverifiable("with JSON. ")),
    ),
    Case(
        "JSON that is nested thousands of levels deep",
        respond(200, b"[" * 100_000),
        invalid_response("its body is not a JSON object"),
    ),
    Case(
        "a JSON object without the expected fields",
        respond_json({}),
        invalid_response("it is about another export", download=unverifiable("with JSON. ")),
    ),
    Case(
        "a JSON object with an invalid UUID and an invalid token",
        respond_json({"uuid": "b9888421", "status": "completed", "auth_token": "two words"}),
        invalid_response("it is about another export"),
    ),
    # -- the proxy of the connection, before a server that responds normally
    Case("a proxy that works", respond_after(b""), succeeds(), certificate={}, proxy=Connection.tunnel),
    Case(
        "no proxy listens at its address",
        respond_after(b""),
        not_connected(),
        sent=False,
        certificate={},
        address=unused_url,
        proxy=Connection.tunnel,
    ),
    *(
        Case(
            f"the proxy returns HTTP {status}",
            respond_after(b""),
            not_connected(),
            sent=False,
            certificate={},
            proxy=respond(status),
        )
        for status in (407, 503)
    ),
    Case(
        "the proxy resets the connection",
        respond_after(b""),
        not_connected(),
        sent=False,
        certificate={},
        proxy=Connection.reset,
    ),
    Case(
        "the proxy sends half of a status line",
        respond_after(b""),
        not_connected(),
        sent=False,
        certificate={},
        proxy=send(b"HTTP/1.1 20"),
    ),
    Case(
        "the proxy never responds",
        respond_after(b""),
        not_connected(),
        sent=False,
        certificate={},
        proxy=Connection.stay_silent,
        times_out=True,
    ),
    # -- 3xx
    *(Case(f"HTTP {status}, {REDIRECT}", respond(status), redirected(status)) for status in (301, 302, 303, 307, 308)),
    # -- 4xx
    Case("HTTP 400 that repeats the request's headers", repeat_request, rejected(400, REJECTED, UNAVAILABLE)),
    Case("HTTP 401", respond(401), rejected(401, errors.CruxAuthenticationError, UNAVAILABLE)),
    Case(
        "HTTP 401 once, connection with a login",
        reject_first,
        dict.fromkeys(("export", "poll"), replace(SUCCESS, sent_again=True)),
        with_login=True,
    ),
    Case(
        "HTTP 401 every time, connection with a login",
        respond(401),
        dict.fromkeys(
            ("export", "poll"),
            Outcome(errors.CruxAuthenticationError, "Crux Connect returned HTTP 401 (", sent_again=True),
        ),
        with_login=True,
    ),
    Case("HTTP 403", respond(403), rejected(403, errors.CruxPermissionDeniedError, errors.CruxUrlExpiredError)),
    Case("HTTP 404", respond(404), rejected(404, errors.CruxNotFoundError, UNAVAILABLE)),
    Case("HTTP 415", respond(415), rejected(415, errors.CruxUnsupportedMediaTypeError, UNAVAILABLE)),
    retry_after(429, (7, 8), "7"),
    retry_after(503, (7, 8), "7"),
    retry_after(503, (0, 1), "Wed, 21 Oct 2015 07:28:00 GMT"),
    retry_after(503, (120, 121), "Fri, 31 Dec 9999 23:59:59 GMT"),
    retry_after(429, (120, 121), "315360000"),
    retry_after(429, (120, 121), "9" * 5000, "`Retry-After` with 5000 digits"),
    retry_after(429, (1, 2), "-5"),
    retry_after(429, (1, 2), "soon"),
    # -- 5xx
    *(Case(f"HTTP {status}", respond(status), ambiguous(status)) for status in (500, 502, 504)),
    Case("HTTP 503 without `Retry-After`", respond(503), ambiguous(503)),
    *(
        Case(
            f"HTTP 503, {shown}",
            respond(503, b"", f"Retry-After: {header}"),
            ambiguous(503),
            delay=(1, 2),
        )
        for header, shown in (("", "empty `Retry-After`"), ("soon", "`Retry-After: soon`"))
    ),
    Case("HTTP 999, which does not exist", respond(999), ambiguous(999)),
    Case("a response that is not HTTP", send(b"220 mail.example ESMTP\r\n"), lost()),
)
