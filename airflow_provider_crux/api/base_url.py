"""The base URL of the API: made from the fields of a connection, and only one to which the token may be sent."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

PRODUCTION: Final = "https://api.cruxconnect.com"


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, so that nobody else can read unencrypted traffic to it."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_host(host: str, schema: str | None) -> SplitResult:
    """Split a host field: a name, or a URL, which many people paste there."""
    if "@" in host:
        # the value is not shown, because it contains a password
        raise ValueError("host: it must not contain credentials; put them into login and password")
    url = host if "://" in host else f"{schema or 'https'}://{host}"
    remedy = "use a host such as api.cruxconnect.com, or leave it empty for production"
    try:
        parts = urlsplit(url)
        _ = parts.port
        # urllib3 encodes the name later and raises what requests does not expect: labels have 1 to 63 characters
        _ = (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"host: {host!r} cannot be parsed ({error}); {remedy}") from None
    if not parts.hostname or parts.query or parts.fragment or any(c.isspace() for c in url):
        raise ValueError(f"host: {host!r} is not a host; {remedy}")
    return parts


def base_url(*, host: str | None, schema: str | None = None, port: int | None = None, allow_http: bool = False) -> str:
    """
    Return the base URL of the API.

    :param host: a name, an address or a URL; empty for production.
    :param schema: ``https`` (the default) or ``http``, for a host without a scheme.
    :param port: empty or 0 for the scheme's own (Airflow's UI sends 0 for an empty field).
    :param allow_http: send the token unencrypted to a host other than this machine.
    :raises ValueError: if these do not make a URL to which the token may be sent.
    """
    parts = _split_host((host or PRODUCTION).strip(), schema)
    if parts.scheme not in ("https", "http"):
        raise ValueError(f"scheme: {parts.scheme!r} is unknown; use https")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ValueError(
            f"host: http://{parts.hostname} would receive the token unencrypted; use https, "
            'or set the extra "allow_http": true'
        )
    if port and not 0 < port < 65536:
        raise ValueError(f"port: {port} is not a port; use 443, or leave it empty")
    if port and parts.port and port != parts.port:
        raise ValueError(f"port: {port} is not the port {parts.port} in the host; use one of them")
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    number = parts.port or port
    return f"{parts.scheme}://{name}{f':{number}' if number else ''}{parts.path.rstrip('/')}"
