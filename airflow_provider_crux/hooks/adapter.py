"""
How requests makes a connection and reads an answer, where its own ways are not safe enough for a call made once.

Its timeouts are those of a single read: a server that sends a byte in time, again and again, could hold a worker for
ever. It takes a cut in the headers for their end, an answer ahead of the answer (103) for the answer, and some failures
before the request has left for failures after it.
"""

from __future__ import annotations

import http.client
import io
import ssl
import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

# here at the top: this module is imported by whoever sends, not by a DAG file
import requests  # noqa: TID253
from requests.adapters import HTTPAdapter  # noqa: TID253

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

_STEADY: Final = 64 * 1024
"""Bytes of a body that allow as much time again as its beginning."""


class Adapter(HTTPAdapter):
    """
    requests' own, with connections and answers of ours.

    :param answer_timeout: seconds until the head of an answer must have come whole; and seconds that may be waited
        for its body, and once more for each 64 KiB of it.
    """

    def __init__(self, answer_timeout: float) -> None:
        super().__init__()
        self._answer_timeout = answer_timeout

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections to one host, or to the proxy before it."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        kind: Any = pool.ConnectionCls
        if not issubclass(kind, _Connection):
            pool.ConnectionCls = _connections(kind, self._answer_timeout)
        return pool

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request and read the head of its answer."""
        try:
            return super().send(*args, **kwargs)
        except requests.exceptions.InvalidHeader as error:  # requests' word for a fault of ours; this is the answer's
            raise requests.exceptions.ChunkedEncodingError(*error.args) from None


@cache
def _connections(kind: type[Any], answer_timeout: float) -> type[Any]:
    """Return a class that adds to urllib3's; that of SOCKS is another one, so it is only added to."""
    answers = {"response_class": partial(_Response, answer_timeout=answer_timeout)}
    return type(kind.__name__, (_Connection, kind), answers)


class _Connection:
    """What fails while a connection is made, TLS included, is told from what fails when the request may have left."""

    def connect(self) -> None:
        from urllib3.exceptions import NewConnectionError

        try:
            super().connect()  # type: ignore[misc]
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:  # a proxy's the last
            raise NewConnectionError(self, f"{type(error).__name__}: {error}") from error  # type: ignore[arg-type]


class _Response(http.client.HTTPResponse):
    """An answer that must come steadily, and with a whole head."""

    def __init__(self, sock: socket.socket, *args: Any, answer_timeout: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._incoming = _Incoming(self.fp.detach(), sock.settimeout, sock.gettimeout(), answer_timeout)
        self.fp = io.BufferedReader(self._incoming)

    def begin(self) -> None:
        """Read the head of the answer."""
        self._begin_once()
        while 100 < self.status < 200 and self.status != 101:  # http.client itself passes over 100 alone
            self.headers = self.msg = None  # type: ignore[assignment]
            self._begin_once()
        if self.status == 101:
            self.will_close = True  # whatever comes next on this connection is not HTTP
        self._incoming.in_body = True

    def _begin_once(self) -> None:
        super().begin()
        if self._incoming.ended:
            raise http.client.RemoteDisconnected("Remote end closed connection within the headers")


class _Incoming(io.RawIOBase):
    """The bytes of an answer: an error where they come too slowly. What the reader does with them takes no time."""

    def __init__(
        self,
        file: io.RawIOBase,
        settimeout: Callable[[float], None],
        read_timeout: float | None,
        answer_timeout: float,
    ) -> None:
        self.in_body = False
        self.ended = False
        self._file = file
        self._settimeout = settimeout
        self._read_timeout = answer_timeout if read_timeout is None else read_timeout
        self._answer_timeout = answer_timeout
        self._asleep = time.monotonic()
        self._until = self._asleep + answer_timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        now = time.monotonic()
        if self.in_body:
            self._until += now - self._asleep
        try:
            if now >= self._until:
                raise TimeoutError
            self._settimeout(min(self._read_timeout, self._until - now))
            count = self._file.readinto(buffer)
        except TimeoutError:
            if time.monotonic() < self._until:
                raise
            # not a TimeoutError: urllib3 would put its own words in the place of these
            raise http.client.HTTPException(f"it drips, and has no end after {self._answer_timeout:g} s") from None
        self._asleep = time.monotonic()
        if self.in_body:
            self._until += self._answer_timeout * (count or 0) / _STEADY
        self.ended = count == 0
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
