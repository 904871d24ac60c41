"""What our two uses of requests have in common: the calls of the API, and the files behind presigned URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import PreparedRequest, Session

    from airflow_provider_crux.api.connection import ConnectionSettings


def user_agent() -> str:
    """Return how we introduce ourselves: provider and Airflow, each with its version."""
    from airflow import __version__ as airflow_version

    from airflow_provider_crux import __version__

    return f"airflow-provider-crux/{__version__} apache-airflow/{airflow_version}"


def new_session(settings: ConnectionSettings) -> Session:
    """
    Return a session that names us, keeps no cookies and knows the way through the network.

    :param settings: of the connection: its certificates and proxy are used, its credentials are not.
    """
    from http.cookiejar import DefaultCookiePolicy

    from requests import Session

    from airflow_provider_crux.hooks.adapter import Adapter

    session = Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter(settings.answer_timeout))
    session.headers["User-Agent"] = user_agent()
    session.verify = settings.ca_bundle or True
    if settings.proxy is not None:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    session.auth = as_it_is
    # a session that a login opened must not speak for us beside the token
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def options(session: Session, settings: ConnectionSettings) -> dict[str, Any]:
    """Return how each request is sent: once, within the connection's timeouts, and read by whoever sent it."""
    return {
        "timeout": (settings.connect_timeout, settings.read_timeout),
        "allow_redirects": False,
        "stream": True,
        # named again here: requests lets the environment go before what a session says
        "verify": settings.ca_bundle,
        "proxies": dict(session.proxies),
    }


def as_it_is(request: PreparedRequest) -> PreparedRequest:
    """Leave a request alone; without an ``auth``, requests would put a password from ~/.netrc in the token's place."""
    return request


def cause_of(error: Exception) -> object:
    """Return what urllib3 said below an error of requests."""
    inner = error.args[0] if error.args else error
    return getattr(inner, "reason", inner)


def reason_of(error: Exception) -> str:
    """Return what went wrong, without the URL that requests puts into its own text."""
    return f"{type(error).__name__}: {cause_of(error)}"


def is_about_certificate(cause: object) -> bool:
    """Tell whether the server's certificate was not accepted."""
    from ssl import SSLCertVerificationError

    return any(isinstance(arg, SSLCertVerificationError) for arg in getattr(cause, "args", ()))


def never_connected(cause: object) -> bool:
    """Tell whether surely nothing was sent."""
    from urllib3.exceptions import ConnectTimeoutError

    # also the base class of what urllib3 says of a refused connection, and of a host that is not found
    return isinstance(cause, ConnectTimeoutError)
