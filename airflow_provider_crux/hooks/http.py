"""
requests as the transport: it sends what it is told, and returns what it receives.

requests' own ways are not safe enough for a request that must be sent once. Its timeouts apply to a single read, so a
server that sends a byte in time, again and again, could block a worker forever. It takes headers that are cut off for
complete ones, an interim response (103) for the response, and some failures before the request is sent for later ones.
The :class:`Adapter` repairs that.
"""

from __future__ import annotations

import http.client
import io
import json
import ssl
import time
from contextlib import contextmanager
from functools import cache, partial
from http.cookiejar import DefaultCookiePolicy
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.request import getproxies

import requests
from airflow import __version__ as airflow_version
from requests import exceptions
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationValueError, NewConnectionError

from airflow_provider_crux import __version__
from airflow_provider_crux.api import errors
from airflow_provider_crux.api.errors import Peer, unusable_connection
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, ApiRequest, ApiResponse
from airflow_provider_crux.api.retries import Outcome, retry_message, retry_policy, should_retry, unwrap
from airflow_provider_crux.exceptions import CruxError, CruxInvalidConnectionError, CruxTransientError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterator

    from _typeshed import WriteableBuffer

    from airflow_provider_crux.api.settings import ConnectionSettings

R = TypeVar("R", bound=ApiResponse)

USER_AGENT: Final = f"airflow-provider-crux/{__version__} apache-airflow/{airflow_version}"

_BYTES_PER_TIMEOUT: Final = 64 * 1024
"""Bytes of a body that extend its deadline by one response timeout."""


class HttpClient:
    """
    Send requests to the API of one connection.

    :param settings: the connection.
    :param log: receives a line before each retry.
    :raises CruxInvalidConnectionError: if the CA bundle is unusable on this machine.
    """

    def __init__(self, settings: ConnectionSettings, log: Any) -> None:
        _check_ca_bundle(settings)
        self.session = new_session(settings)
        self._settings = settings
        self._log = log

    def send(self, request: ApiRequest, *, secrets: Collection[str], max_retries: int) -> ApiResponse:
        """
        Send a request and read its response; send it again as the retry policy says.

        :param request: what to send.
        :param secrets: what no error may show.
        :param max_retries: how often it may be sent again.
        """
        peer = Peer(self._settings.name)

        def exchange() -> ApiResponse:
            body = None if request.body is None else json.dumps(request.body).encode()
            sent_at = time.time()
            with (
                translated_errors(request, peer=peer, secrets=secrets),
                send_once(
                    self.session,
                    self._settings,
                    requests.Request(
                        request.method, f"{self._settings.base_url}{request.path}", data=body, headers=request.headers
                    ),
                ) as response,
            ):
                return ApiResponse(
                    response.status_code, lower_case_headers(response), _read_body(response), sent_at=sent_at
                )

        return send_with_retries(exchange, request, peer=peer, max_retries=max_retries, log=self._log)


def send_with_retries(exchange: Callable[[], R], request: ApiRequest, *, peer: Peer, max_retries: int, log: Any) -> R:
    """
    Send a request, and send it again as the retry policy says.

    :param exchange: one attempt.
    :param request: what it sends.
    :param peer: the server, for the log.
    :param max_retries: how often it may be sent again.
    :param log: receives a line before each retry.
    :return: the last response.
    :raises CruxError: the last error.
    """
    started = time.monotonic()
    first: R | CruxTransientError
    try:
        first = exchange()
    except CruxTransientError as error:
        first = error
    if not should_retry(request, first):
        return unwrap(first)  # type: ignore[return-value]
    # Only now, because it costs as much as half of the exchange; it counts the first attempt like the later ones.
    from tenacity import RetryCallState, Retrying

    outcomes: list[Outcome] = [first]

    def attempt() -> ApiResponse:
        return unwrap(outcomes.pop()) if outcomes else exchange()

    def log_retry(state: RetryCallState) -> None:
        outcome: Any = state.outcome
        result = outcome.exception() if outcome.failed else outcome.result()
        delay = state.next_action.sleep if state.next_action else 0.0
        log.info(retry_message(request, result, peer=peer, delay=delay))

    policy = retry_policy(request, max_retries=max_retries, elapsed=time.monotonic() - started)
    return Retrying(**policy, before_sleep=log_retry)(attempt)  # type: ignore[return-value]


def new_session(settings: ConnectionSettings) -> requests.Session:
    """
    Return a session that sends our user agent, keeps no cookies and knows the connection's CA bundle and proxy.

    :param settings: the connection; its credentials are not used.
    """
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter(settings.response_timeout))
    session.headers["User-Agent"] = USER_AGENT
    session.verify = settings.ca_bundle or True
    if settings.proxy is not None:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    session.auth = no_auth
    # a session cookie of a login must not authenticate us beside the token
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def send_once(session: requests.Session, settings: ConnectionSettings, request: requests.Request) -> requests.Response:
    """
    Send a request once, within the connection's timeouts, and follow no redirect; the caller reads the body.

    requests' own ``Session.request`` reads all environment variables twice: a tenth of the time of an exchange.
    """
    request.auth = no_auth
    prepared = session.prepare_request(request)
    return session.send(
        prepared,
        timeout=(settings.connect_timeout, settings.read_timeout),
        allow_redirects=False,
        stream=True,
        verify=settings.ca_bundle or environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or True,
        proxies=dict(session.proxies) or (getproxies() and get_environ_proxies(str(prepared.url))),
    )


def no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request unchanged; without an ``auth``, requests would replace the token by a password from ~/.netrc."""
    return request


def lower_case_headers(response: requests.Response) -> dict[str, str]:
    """Return the headers of a response with their names in lower case."""
    return {name.lower(): value for name, value in response.headers.items()}


def ca_bundle_error(settings: ConnectionSettings, path: str) -> CruxInvalidConnectionError:
    """Return the error for a CA bundle that this machine cannot load."""
    return unusable_connection(
        settings.name,
        f"extra ca_bundle: {path!r} contains no CA certificates on this machine; use a file that exists on every "
        "machine of Airflow",
    )


def _check_ca_bundle(settings: ConnectionSettings) -> None:
    path = settings.ca_bundle
    try:
        if path is not None and not Path(path).is_dir():
            ssl.create_default_context(cafile=path)
    except OSError:  # no such file, no permission, or (an SSLError is an OSError) no certificates in it
        raise ca_bundle_error(settings, str(path)) from None


@contextmanager
def translated_errors(request: ApiRequest, *, peer: Peer, secrets: Collection[str]) -> Iterator[None]:
    """Raise ours instead of the errors of requests and urllib3, whose texts may show the URL."""
    try:
        yield
    except (exceptions.RequestException, HTTPError) as error:
        raise _translated(error, request, peer, secrets) from None


def _translated(error: Exception, request: ApiRequest, peer: Peer, secrets: Collection[str]) -> CruxError:
    inner = error.args[0] if error.args else error
    cause = getattr(inner, "reason", inner)
    invalid = (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.InvalidHeader, LocationValueError)
    if isinstance(error, invalid):
        if peer.file_host and not isinstance(error, exceptions.InvalidProxyURL):
            return errors.invalid_file_url(f"no request can be made to {peer}")
        factory: Callable[..., CruxError] = errors.invalid_request_url
    elif any(isinstance(arg, ssl.SSLCertVerificationError) for arg in getattr(cause, "args", ())):
        factory = errors.certificate_rejected
    # ConnectTimeoutError is also the base class of a refused connection and of a host that is not found
    elif isinstance(error, exceptions.ConnectTimeout | exceptions.ProxyError) or isinstance(cause, ConnectTimeoutError):
        factory = errors.connection_failed
    else:
        factory = errors.response_lost
    return factory(request, f"{type(error).__name__}: {cause}", peer=peer, secrets=secrets)


def _read_body(response: requests.Response) -> bytes:
    """Read at most one byte more than a response of the API can have."""
    body = b""
    chunk: bytes
    for chunk in response.iter_content(64 * 1024):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            return body[: MAX_RESPONSE_BYTES + 1]
    return body


class Adapter(HTTPAdapter):
    """
    requests' own adapter with safer connections and responses.

    :param response_timeout: seconds until the headers of a response must be complete; and seconds to wait for its body,
        plus as many again for each 64 KiB of it.
    """

    def __init__(self, response_timeout: float) -> None:
        super().__init__()
        self._response_timeout = response_timeout

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connection pool of one host, or of the proxy before it."""
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
    """Tells what fails while connecting, TLS included, from what fails when the request may have been sent."""

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:  # the last: a proxy's
            raise NewConnectionError(self, f"{type(error).__name__}: {error}") from error  # type: ignore[arg-type]


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
