"""Which URLs may be opened: that of the API, made from the fields of a connection, and that of an export's file."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from airflow_provider_crux.api import errors

if TYPE_CHECKING:
    from airflow_provider_crux.api.responses import Export

PRODUCTION: Final = "https://api.cruxconnect.com"


def is_loopback(host: str) -> bool:
    """
    Tell whether a host is certainly this machine, so that nobody else can read unencrypted traffic to it.

    The address decides, not its spelling: ``127.1`` and ``::ffff:127.0.0.1`` are loopback addresses. The unspecified
    addresses ``0.0.0.0`` and ``::`` count too, because a connection to them does not leave the machine either. Of names
    only ``localhost`` counts: for ``localhost.`` and ``a.localhost`` some resolvers ask a server.

    The host comes without a port, and an IPv6 address without brackets.
    """
    address = _address(host.lower())
    return host.lower() == "localhost" if address is None else address.is_loopback or address.is_unspecified


def may_be_loopback(host: str) -> bool:
    """Tell whether a host may lead to this machine, as far as its text can tell: it is resolved nowhere here."""
    return is_loopback(host.removesuffix(".")) or any(name in host.lower() for name in ("localhost", "loopback"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that resolvers read from a host, or ``None`` if it is a name."""
    try:
        if ":" in host:
            address = ipaddress.IPv6Address(host)
            return address.ipv4_mapped or address
        # as resolvers do: also of one to three numbers, octal or hexadecimal ones
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


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
    Return the base URL of the API: production if the host is empty, https if neither host nor ``schema`` says http.

    :param port: empty or 0 for the scheme's own (Airflow's UI sends 0 for an empty field).
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
    # an address in its usual spelling, because aiohttp accepts no other
    address = _address(parts.hostname or "")
    name = parts.hostname if address is None else f"[{address}]" if address.version == 6 else str(address)
    number = parts.port or port
    return f"{parts.scheme}://{name}{f':{number}' if number else ''}{parts.path.rstrip('/')}"


def file_url(export: Export, *, base_url: str) -> str:
    """
    Return the presigned URL of an export that is done, unchanged.

    It must be https. Only if the API is this machine, as with the sandbox, the file may be on this machine too, and
    over http: a remote API must not make a worker open what only the worker can reach.

    :raises CruxUnavailableError: if there is none; there may be one later.
    :raises CruxInvalidResponseError: if it must not be opened. The message shows at most its scheme and host.
    """
    if export.url is None:
        raise errors.file_missing(export.uuid, export.status)
    url = export.url
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise errors.invalid_file_url("it cannot be parsed") from None
    host = parts.hostname or ""
    # of a host with a backslash or an escape, urllib3 reads another one: 127.0.0.1 of 127.0.0.1\.files.example
    if not url.isprintable() or " " in url or not host.isascii() or not host or set(host) & set("\\%"):
        raise errors.invalid_file_url("it cannot be parsed")
    if "@" in parts.netloc:
        raise errors.invalid_file_url("it contains credentials")
    if may_be_loopback(host) and not is_loopback(urlsplit(base_url).hostname or ""):
        raise errors.invalid_file_url(f"it leads to this machine ({host}), but the API is elsewhere")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise errors.invalid_file_url(f"it opens {host!r} over {parts.scheme!r}, which is not encrypted")
    return url
