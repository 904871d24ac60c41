"""
requests as the transport: it sends what it is told, and returns what it receives.

requests' own ways are not safe enough for a request that must be sent once:
:class:`airflow_provider_crux.transport.adapter.Adapter` repairs that.
"""

from __future__ import annotations

import json
import ssl
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.request import getproxies

import requests
from airflow import __version__ as airflow_version
from requests import exceptions
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, prepend_scheme_if_needed, select_proxy
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_match_hostname import CertificateError

from airflow_provider_crux import __version__
from airflow_provider_crux.api import errors
from airflow_provider_crux.api.errors import Peer, unusable_connection
from airflow_provider_crux.api.requests import MAX_RESPONSE_BYTES, Action, ApiRequest, ApiResponse
from airflow_provider_crux.api.retries import Retries, unwrap
from airflow_provider_crux.exceptions import CruxError, CruxTransientError
from airflow_provider_crux.transport.adapter import Adapter, NothingSentError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from airflow_provider_crux.api.settings import ConnectionSettings

R = TypeVar("R", bound=ApiResponse)

USER_AGENT: Final = f"airflow-provider-crux/{__version__} apache-airflow/{airflow_version}"


class HttpClient:
    """Send requests to the API of one connection, and log a line before each retry."""

    def __init__(self, settings: ConnectionSettings, log: Any) -> None:
        if settings.ca_bundle is not None:
            _tls_context(settings, settings.ca_bundle)  # an error here is clearer than one of a request
        self.session = new_session(settings)
        self._settings = settings
        self._log = log

    def send(
        self, request: ApiRequest, *, secrets: Collection[str], before_sending: Callable[[], object] | None = None
    ) -> ApiResponse:
        """
        Send a request and read its response, with retries.

        ``before_sending`` is called before each attempt at a request that is not idempotent.
        """
        settings = self._settings
        url = f"{settings.base_url}{request.path}"
        body = None if request.body is None else json.dumps(request.body).encode()

        def exchange() -> ApiResponse:
            if not request.action.idempotent:
                # On a connection of its own: one of an earlier request may be closed just now, and nobody could know
                # whether the server has read this one.
                self.session.close()
                if before_sending is not None:
                    before_sending()
            sent_at = datetime.now(UTC)
            http_request = requests.Request(request.method, url, data=body, headers=request.headers)
            with (
                translated_errors(request.action, peer=settings.peer, secrets=secrets),
                send_once(self.session, settings, http_request) as response,
            ):
                return ApiResponse(response.status_code, response.headers, _read_body(response), sent_at=sent_at)

        return send_with_retries(exchange, Retries(request.action, settings.peer, settings.max_retries), self._log)


def send_with_retries(exchange: Callable[[], R], retries: Retries, log: Any) -> R:
    """Make attempts until one is final, and return its response or raise its error."""
    outcome: R | CruxTransientError
    while True:
        try:
            outcome = exchange()
        except CruxTransientError as error:
            outcome = error
        delay = retries.delay_after(outcome)
        if delay is None:
            return unwrap(outcome)
        log.info(retries.message(outcome, delay))
        time.sleep(delay)


def new_session(settings: ConnectionSettings) -> requests.Session:
    """Return a session with our user agent and the connection's CA bundle and proxy, without cookies or credentials."""
    session = _Session()
    adapter = Adapter(settings.response_timeout)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = USER_AGENT
    session.verify = settings.ca_bundle or True
    if settings.proxy is not None:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    session.auth = no_auth
    # a session cookie of a login must not authenticate us beside the token
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class _Session(requests.Session):
    """A session that follows no redirect; requests' own reads the whole body and the target of one in any case."""

    def get_redirect_target(self, _: requests.Response) -> None:
        """Return none."""


def send_once(session: requests.Session, settings: ConnectionSettings, request: requests.Request) -> requests.Response:
    """
    Send a request once, within the connection's timeouts, and follow no redirect; the caller reads the body.

    requests' own ``Session.request`` reads all environment variables twice: a tenth of the time of an exchange.

    :raises NothingSentError: if nothing was sent.
    """
    request.auth = no_auth
    try:
        prepared = session.prepare_request(request)
    except exceptions.RequestException as error:
        raise NothingSentError(error) from error
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


def _tls_context(settings: ConnectionSettings, path: str) -> ssl.SSLContext:
    """Return a TLS context that trusts the certificates in a file or a folder."""
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError:  # no such file, no permission, or (an SSLError is an OSError) no certificates in it
        raise unusable_connection(
            settings.name,
            f"extra ca_bundle: {path!r} contains no CA certificates on this machine; use a file that exists on every "
            "machine of Airflow",
        ) from None


def proxy_and_tls_context(settings: ConnectionSettings) -> tuple[str | None, ssl.SSLContext | bool]:
    """
    Return proxy and TLS context for the triggerer: those of the connection, or else those of the environment.

    The environment is read as requests reads it for a worker.

    :raises CruxInvalidConnectionError: if the triggerer cannot use the proxy, or the CA bundle is unusable.
    """
    url = settings.base_url
    with requests.Session() as session:
        environment = session.merge_environment_settings(url, {}, None, settings.ca_bundle, None)
    proxy = settings.proxy or select_proxy(url, environment["proxies"])
    if proxy is not None:
        # as requests does it for a worker
        proxy = str(prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]
        if not proxy.startswith(("http://", "https://")):
            raise unusable_connection(
                f"{settings.name} in the triggerer",
                "its proxy is not an HTTP proxy; set the extra proxy to the URL of one, or wait with deferrable=False",
            )
    if not url.startswith("https://"):
        return proxy, True
    bundle = environment["verify"]
    return proxy, _tls_context(settings, DEFAULT_CA_BUNDLE_PATH if bundle is True else str(bundle))


@contextmanager
def translated_errors(action: Action, *, peer: Peer, secrets: Collection[str]) -> Iterator[None]:
    """Raise ours instead of the errors of requests and urllib3, whose texts may show the URL."""
    try:
        yield
    except (exceptions.RequestException, HTTPError) as error:
        raise _translated(error, action, peer, secrets) from None


def _translated(error: Exception, action: Action, peer: Peer, secrets: Collection[str]) -> CruxError:
    cause: Any = error
    factory: Callable[..., CruxError] = errors.response_lost
    if isinstance(error, NothingSentError):
        cause = error.cause
        # before ValueError, because both are one
        if isinstance(cause, ssl.SSLCertVerificationError | CertificateError):
            factory = errors.certificate_rejected
        elif not isinstance(cause, ValueError):
            factory = errors.connection_failed
        elif peer.file_host and not isinstance(cause, exceptions.InvalidProxyURL):
            return errors.invalid_file_url(f"no request can be made to {peer}")
        else:
            factory = errors.invalid_request_url
    else:
        inner = error.args[0] if error.args else error
        cause = getattr(inner, "reason", inner)
        # without urllib3's "Unable to connect to proxy", which is not so
        cause = getattr(cause, "original_error", cause)
    return factory(action, f"{type(cause).__name__}: {cause}", peer=peer, secrets=secrets)


def _read_body(response: requests.Response) -> bytes:
    """Read at most one byte more than a response of the API can have."""
    body = b""
    for chunk in response.iter_content(64 * 1024):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            break
    return body[: MAX_RESPONSE_BYTES + 1]
