"""
requests' adapter with safer connections and responses, for requests that must be sent once.

requests' timeouts apply to a single read, so a server that sends a byte in time, again and again, could block a worker
forever. It takes headers that are cut off for complete ones, an interim response (103) for the response, and a proxy
that breaks after the request for one that cannot be reached. The :class:`Adapter` repairs that.
"""

from __future__ import annotations

import http.client
import io
import time
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from _typeshed import WriteableBuffer

_BYTES_PER_TIMEOUT: Final = 64 * 1024
"""Bytes of a body that extend its deadline by one response timeout."""


class NothingSentError(requests.ConnectionError):
    """
    A request failed before anything of it was sent: at its URL, the proxy, the connection or its TLS handshake.

    Every other error means that it may have been processed.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


class _BeforeSendingError(Exception):
    """
    A :class:`NothingSentError` on its way through urllib3 and requests.

    They replace the errors that they know by others with wrong names: if a proxy resets the connection after it has
    read the request, urllib3 says "Unable to connect to proxy". They do not know this class, so it arrives unchanged.
    """


@contextmanager
def before_sending() -> Iterator[None]:
    """Mark what fails while nothing of the request has been sent."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException, HTTPError) as error:
        raise _BeforeSendingError(error) from error


class Adapter(HTTPAdapter):
    """
    requests' own adapter with safer connections and responses.

    :param response_timeout: seconds until the headers of a response must be complete; and seconds to wait for its body,
        plus as many again for each 64 KiB of it.
    """

    def __init__(self, response_timeout: float) -> None:
        super().__init__()
        self._response_timeout = response_timeout

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request, and return its response, whose body is not read yet."""
        try:
            return super().send(*args, **kwargs)
        except _BeforeSendingError as error:
            raise NothingSentError(error.args[0]) from error.__cause__

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connection pool of one host, or of the proxy before it."""
        with before_sending():
            pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not issubclass(pool.ConnectionCls, _Connection):
            pool.ConnectionCls = _connection_class(pool.ConnectionCls, self._response_timeout)
        return pool


@cache
def _connection_class(base: type[Any], response_timeout: float) -> type[Any]:
    """Return a subclass of urllib3's connection, which SOCKS replaces by its own."""
    attributes = {"response_class": staticmethod(partial(_Response, response_timeout=response_timeout))}
    return type(base.__name__, (_Connection, base), attributes)


class _Connection:
    """
    Tells what fails while connecting from what fails when the request may have been sent.

    ``connect`` includes the proxy's tunnel and the TLS handshake; urllib3 sends a request only after it has returned.
    """

    def connect(self) -> None:
        with before_sending():
            super().connect()  # type: ignore[misc]


class _Response(http.client.HTTPResponse):
    """A response that must arrive steadily, with complete headers."""

    def __init__(self, sock: socket.socket, *args: Any, response_timeout: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _DeadlineReader(self.fp.detach(), sock.settimeout, sock.gettimeout(), response_timeout)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the headers."""
        self._begin_once()
        while 100 < self.status < 200 and self.status != 101:  # http.client itself skips only 100
            self.headers = self.msg = None  # type: ignore[assignment]
            self._begin_once()
        if self.status == 101:
            self.will_close = True  # whatever follows on this connection is not HTTP
        lengths = ",".join(self.headers.get_all("Content-Length", ())).split(",")
        if len({length.strip() for length in lengths}) > 1:
            # urllib3 would raise it later, leave the connection open, and requests would blame the request
            raise http.client.HTTPException("Content-Length has several values")
        self._reader.in_body = True

    def _begin_once(self) -> None:
        super().begin()
        if self._reader.at_end:
            raise http.client.RemoteDisconnected("Remote end closed connection within the headers")


class _DeadlineReader(io.RawIOBase):
    """The bytes of a response: an error if they come too slowly. The time that the caller takes does not count."""

    def __init__(
        self,
        file: io.RawIOBase,
        settimeout: Callable[[float], None],
        read_timeout: float | None,
        response_timeout: float,
    ) -> None:
        self.in_body = False
        self.at_end = False
        self._file = file
        self._settimeout = settimeout
        self._read_timeout = response_timeout if read_timeout is None else read_timeout
        self._response_timeout = response_timeout
        self._paused_at = time.monotonic()
        self._deadline = self._paused_at + response_timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        now = time.monotonic()
        if self.in_body:
            self._deadline += now - self._paused_at
        try:
            if now >= self._deadline:
                raise TimeoutError
            self._settimeout(min(self._read_timeout, self._deadline - now))
            count = self._file.readinto(buffer)
        except TimeoutError:
            if time.monotonic() < self._deadline:
                raise
            # not a TimeoutError, whose text urllib3 would replace by its own
            raise http.client.HTTPException(f"response incomplete after {self._response_timeout:g} s") from None
        self._paused_at = time.monotonic()
        if self.in_body:
            self._deadline += self._response_timeout * (count or 0) / _BYTES_PER_TIMEOUT
        self.at_end = count == 0
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
