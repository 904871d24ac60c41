"""Every fault, and what the user gets: the tests make each of them happen, and the table in the docs says the same."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from airflow_provider_crux import exceptions as errors
from tests.faults.calls import Way
from tests.faults.server import CSV, SIGNATURE, TOKEN, Fault, Wire, crowded, nobody

OK: Final = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True)
class Met:
    """
    What a call gets.

    :param error: its class; ``None`` where the call succeeds.
    :param says: how the message goes on after "Could not ...: ".
    :param again: whether the call was sent again.
    """

    error: type[errors.CruxError] | None
    says: str = ""
    again: bool = False


WORKS: Final = Met(None)

Expected = Mapping[str, Met]
"""By call; where a triggerer meets something else, under the name of the call in the triggerer."""


@dataclass(frozen=True)
class Case:
    """
    One fault.

    :param name: what happens, as the table says it.
    :param fault: does it.
    :param met: what each call gets; the others are not made.
    :param sent: whether the request leaves at all.
    :param at_once: whether it happens before the request is read.
    :param brief: whether timeouts end it, so that short ones are to be set.
    :param by_login: whether the connection has a login, whatever the call.
    :param scheme: of the URL.
    :param certificate: what is wrong with the certificate, as arguments for one; ``None`` for plain http.
    :param place: where nobody answers, instead of a server, or of the proxy.
    :param proxy: what the proxy does that stands before the server; ``None`` where there is none.
    :param waits: between how many seconds are waited before the call is sent again.
    :param stored: what is in the file where it is stored.
    """

    name: str
    fault: Fault
    met: Expected
    sent: bool = True
    at_once: bool = False
    brief: bool = False
    by_login: bool = False
    scheme: str = "http"
    certificate: Mapping[str, object] | None = None
    place: Callable[[], AbstractContextManager[str]] | None = None
    proxy: Fault | None = None
    waits: tuple[float, float] | None = None
    stored: bytes = field(default=CSV, repr=False)

    def __str__(self) -> str:
        return self.name

    def expected(self, way: Way) -> Met | None:
        return self.met.get(str(way), self.met.get(way.call))


# -- what servers do


def sends(*pieces: bytes, then: Callable[[Wire], None] = lambda _: None) -> Fault:
    def fault(wire: Wire) -> None:
        wire.send(b"".join(pieces))
        then(wire)

    return fault


def says(status: int, body: bytes = b"", *headers: str) -> Fault:
    return lambda wire: wire.say(status, body, *headers)


def says_json(content: object) -> Fault:
    return says(200, json.dumps(content).encode(), "Content-Type: application/json")


def first(*pieces: bytes) -> Fault:
    return lambda wire: wire.send(b"".join(pieces) + wire.good())


def announces(length: bytes) -> Fault:
    """ApiResponse well, but for the header ``Content-Length``."""
    return lambda wire: wire.send(wire.good().replace(b"Content-Length: ", length + b"X-True-Length: "))


def drips(*pieces: bytes, pause: float = 0.02) -> Fault:
    return lambda wire: wire.forever(*pieces, pause=pause)


def repeats_the_request(wire: Wire) -> None:
    wire.say(400, wire.server.came[-1].encode() + f" {SIGNATURE} {TOKEN}".encode())


def large(wire: Wire) -> None:
    wire.send(OK + b"Content-Length: 200000000\r\n\r\n")
    for _ in range(200):
        wire.send(b"x" * 1_000_000)


@cache
def packed() -> bytes:
    return gzip.compress(bytes(200_000_000), compresslevel=1)


def bomb(wire: Wire) -> None:
    wire.say(200, packed(), "Content-Encoding: gzip")


def first_401(wire: Wire) -> None:
    if wire.server.refused:
        wire.send(wire.good())
    else:
        wire.say(401)


# -- what calls get


def every(met: Met, **others: Met) -> Expected:
    """Let export, look and login meet the same, and what is named something else."""
    return {"export": met, "look": met, "login": met} | {name.replace("__", ", "): met for name, met in others.items()}


def lost(*, file_again: bool = True) -> Expected:
    again = errors.CruxUnavailableError
    met = every(
        Met(again, "the answer was lost (", again=True), file=Met(again, "it did not come whole from ", file_again)
    )
    return {**met, "export": Met(errors.CruxAmbiguousError, "the answer was lost (")}


def unconnected() -> Expected:
    met = Met(errors.CruxUnavailableError, "no connection to Crux Connect (", again=True)
    return every(met, file=replace(met, says="it did not come whole from "))


def proxy_broke() -> Expected:
    """aiohttp does not say that what broke was the proxy, before anything was sent; a look may be repeated anyway."""
    return {**unconnected(), "look, triggerer": LOST, "login, triggerer": LOST}


def untrusted() -> Expected:
    met = Met(errors.CruxInvalidConnectionError, "the server's certificate is not trusted (")
    return every(met, file=replace(met, says="the certificate of "))


def malformed(what: str, login: str = "", **others: Met) -> Expected:
    met = Met(errors.CruxInvalidResponseError, f"Crux Connect answered 200, but {what}")
    return every(met, login=replace(met, says=login or met.says), **others)


def refused(
    status: int, error: type[errors.CruxError], file: type[errors.CruxError], *, again: bool = False
) -> Expected:
    met = Met(error, f"Crux Connect answered {status} (", again=again)
    file_again = again or file is errors.CruxUrlExpiredError  # with a fresh link
    return every(met, file=Met(file, f"HOST answered {status} (", again=file_again))


def in_doubt(status: int) -> Expected:
    met = refused(status, errors.CruxUnavailableError, errors.CruxUnavailableError, again=True)
    return {**met, "export": Met(errors.CruxAmbiguousError, f"Crux Connect answered {status} (")}


def told(status: int, waits: tuple[float, float], header: str, shown: str = "") -> Case:
    error = errors.CruxRateLimitError if status == 429 else errors.CruxUnavailableError
    return Case(
        f"{status}, `Retry-After: {shown or header}`",
        says(status, b"", f"Retry-After: {header}"),
        refused(status, error, errors.CruxUnavailableError, again=True),
        waits=waits,
    )


NO_FILE: Final = Met(errors.CruxRequestRejectedError, "HOST answered 200, but ")
NO_TOKEN: Final = "Crux Connect answered 200 to the login, but without a well-formed auth_token"
LOST: Final = Met(errors.CruxUnavailableError, "the answer was lost (", again=True)
ELSEWHERE: Final = "a redirect to another host"
PERMANENT: Final = errors.CruxRequestRejectedError

CASES: Final = (
    # -- the connection
    Case("the connection is refused", Wire.hold, unconnected(), sent=False, place=nobody),
    Case("the connection is not taken", Wire.hold, unconnected(), sent=False, place=crowded, brief=True),
    Case("it is taken, and nothing is read or answered", Wire.hold, lost(), at_once=True, brief=True),
    Case("reset before the request is read", Wire.reset_unread, lost(), at_once=True),
    Case("reset after the request was read", Wire.reset, lost()),
    Case("closed without an answer", sends(b""), lost()),
    Case("the request is read, and never answered", Wire.hold, lost(), brief=True),
    # -- TLS
    Case("a good certificate", first(b""), every(WORKS, file=WORKS), certificate={}),
    Case("a certificate for another host", first(b""), untrusted(), sent=False, certificate={"address": "127.0.0.2"}),
    Case("an expired certificate", first(b""), untrusted(), sent=False, certificate={"days": -1}),
    Case("a certificate that nobody vouches for", first(b""), untrusted(), sent=False, certificate={"trusted": False}),
    Case("TLS is never answered", Wire.hold, unconnected(), sent=False, at_once=True, brief=True, scheme="https"),
    Case("reset within TLS", Wire.reset_unread, unconnected(), sent=False, at_once=True, scheme="https"),
    Case("no TLS where https is expected", says(400), unconnected(), sent=False, at_once=True, scheme="https"),
    # -- the answer breaks off
    Case("half a status line, closed", sends(b"HTTP/1.1 20"), lost()),
    Case("half a status line, then nothing", sends(b"HTTP/1.1 20", then=Wire.hold), lost(), brief=True),
    Case("half the headers, closed", sends(OK, b"Content-Type: text/csv\r\n"), lost()),
    Case("half a body, closed", sends(OK, b"Content-Length: 99\r\n\r\n{"), lost(file_again=False)),
    Case("half a body, reset", sends(OK, b"Content-Length: 99\r\n\r\n{", then=Wire.reset), lost(file_again=False)),
    Case(
        "half a body, then nothing",
        sends(OK, b"Content-Length: 99\r\n\r\n{", then=Wire.hold),
        lost(file_again=False),
        brief=True,
    ),
    Case("half a chunk, closed", sends(OK, b"Transfer-Encoding: chunked\r\n\r\n9\r\n{"), lost(file_again=False)),
    # -- the length is wrong
    Case("`Content-Length` too long", announces(b"Content-Length: 9999\r\n"), lost(file_again=False)),
    Case(
        "`Content-Length` too short: 4 bytes",
        announces(b"Content-Length: 4\r\n"),
        malformed("not in JSON", look__triggerer=LOST, login__triggerer=LOST, file=WORKS),
        stored=CSV[:4],
    ),
    Case("`Content-Length` twice, of two minds", announces(b"Content-Length: 4\r\nContent-Length: 5\r\n"), lost()),
    Case(
        "`Content-Length` is no number",
        announces(b"Content-Length: many\r\n"),
        every(WORKS, look__triggerer=LOST, login__triggerer=LOST, file=NO_FILE),
    ),
    Case("no `Content-Length`", announces(b""), every(WORKS, file=NO_FILE)),
    # -- the answer has no end
    Case("headers without end", drips(OK, b"X-A: b\r\n" * 100, pause=0), lost()),
    Case("a header without end", drips(OK, b"X-A: ", b"b" * 1000, pause=0), lost()),
    Case("a byte of the headers now and then, for ever", drips(OK, b"X-A: ", b"b"), lost(), brief=True),
    Case(
        "a byte of the body now and then, for ever",
        drips(OK, b"Content-Length: 999999\r\n\r\n", b" "),
        lost(file_again=False),
        brief=True,
    ),
    Case("100 for ever", drips(b"HTTP/1.1 100 Continue\r\n\r\n" * 10), lost(), brief=True),
    Case("a body of 200 MB", large, malformed("with more than 1048576 bytes")),
    Case("200 MB of nothing, packed", bomb, malformed("with more than 1048576 bytes", file=NO_FILE)),
    # -- 1xx and 2xx
    Case("100, then a good answer", first(b"HTTP/1.1 100 Continue\r\n\r\n"), every(WORKS, file=WORKS)),
    Case("103, then a good answer", first(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"), every(WORKS, file=WORKS)),
    Case("100, then nothing", sends(b"HTTP/1.1 100 Continue\r\n\r\n", then=Wire.hold), lost(), brief=True),
    Case("103, then nothing", sends(b"HTTP/1.1 103 Early Hints\r\n\r\n", then=Wire.hold), lost(), brief=True),
    Case("101", sends(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), in_doubt(101)),
    Case(
        "204",
        sends(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        every(
            Met(errors.CruxInvalidResponseError, "Crux Connect answered 204, but not in JSON"),
            file=Met(PERMANENT, "HOST answered 204 ("),
        ),
    ),
    Case("an HTML page", says(200, b"<html>", "Content-Type: text/html"), malformed("not in JSON", file=NO_FILE)),
    Case("JSON, but a list", says_json([]), malformed("not with a JSON object")),
    Case("JSON, nested thousands deep", says(200, b"[" * 100_000), malformed("not in JSON")),
    Case(
        "JSON without what was asked for",
        says_json({}),
        malformed(
            "without a well-formed uuid",
            NO_TOKEN,
            look=Met(
                errors.CruxInvalidResponseError,
                "Crux Connect answered 200, but not about the export that was asked for",
            ),
        ),
    ),
    Case(
        "a uuid that is none",
        says_json({"uuid": "b9888421", "status": "completed", "auth_token": "two words"}),
        malformed(
            "without a well-formed uuid",
            NO_TOKEN,
            look=Met(
                errors.CruxInvalidResponseError,
                "Crux Connect answered 200, but not about the export that was asked for",
            ),
        ),
    ),
    # -- the proxy of the connection, to a server that would answer well
    Case("a good proxy", first(b""), every(WORKS, file=WORKS), certificate={}, proxy=Wire.tunnel),
    Case("there is no proxy", first(b""), unconnected(), sent=False, certificate={}, place=nobody, proxy=Wire.tunnel),
    Case("the proxy answers 407", first(b""), unconnected(), sent=False, certificate={}, proxy=says(407)),
    Case("the proxy answers 503", first(b""), unconnected(), sent=False, certificate={}, proxy=says(503)),
    Case("the proxy resets", first(b""), proxy_broke(), sent=False, certificate={}, proxy=Wire.reset),
    Case("the proxy answers half", first(b""), proxy_broke(), sent=False, certificate={}, proxy=sends(b"HTTP/1.1 20")),
    Case("the proxy never answers", first(b""), proxy_broke(), sent=False, certificate={}, proxy=Wire.hold, brief=True),
    # -- 3xx
    *(
        Case(f"{status}: {ELSEWHERE}", says(status), refused(status, PERMANENT, PERMANENT))
        for status in (301, 302, 303, 307, 308)
    ),
    # -- 4xx
    Case("400 that repeats the request's headers", repeats_the_request, refused(400, PERMANENT, PERMANENT)),
    Case("401 for ever", says(401), refused(401, errors.CruxAuthenticationError, PERMANENT)),
    Case(
        "401 once, connection with a login",
        first_401,
        {"export": replace(WORKS, again=True), "look": replace(WORKS, again=True)},
        by_login=True,
    ),
    Case(
        "401 for ever, connection with a login",
        says(401),
        {
            "export": Met(errors.CruxAuthenticationError, "Crux Connect answered 401 (", again=True),
            "look": Met(errors.CruxAuthenticationError, "Crux Connect answered 401 (", again=True),
        },
        by_login=True,
    ),
    Case("403", says(403), refused(403, errors.CruxPermissionDeniedError, errors.CruxUrlExpiredError)),
    Case("404", says(404), refused(404, errors.CruxNotFoundError, errors.CruxNotFoundError)),
    Case("415", says(415), refused(415, errors.CruxUnsupportedMediaTypeError, PERMANENT)),
    told(429, (7, 8), "7"),
    told(503, (7, 8), "7"),
    told(503, (0, 1), "Wed, 21 Oct 2015 07:28:00 GMT"),
    told(503, (120, 121), "Fri, 31 Dec 9999 23:59:59 GMT"),
    told(429, (120, 121), "315360000"),
    told(429, (120, 121), "9" * 5000, "999…` (5000 digits)`"),
    told(429, (1, 2), "-5"),
    told(429, (1, 2), "soon"),
    # -- 5xx
    *(Case(str(status), says(status), in_doubt(status)) for status in (500, 502, 504)),
    Case("503", says(503), refused(503, errors.CruxUnavailableError, errors.CruxUnavailableError, again=True)),
    Case("a status of 999", says(999), in_doubt(999)),
    Case("not HTTP", sends(b"220 mail.example ESMTP\r\n"), lost()),
)
