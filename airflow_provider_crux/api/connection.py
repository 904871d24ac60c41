"""What the fields of an Airflow connection mean to us: read, coerced and checked in one place for every transport."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_crux.api.answers import is_token
from airflow_provider_crux.api.repetition import MAX_RETRIES
from airflow_provider_crux.exceptions import CruxInvalidConnectionError

PRODUCTION: Final = "https://api.cruxconnect.com"

_PREFIX: Final = "extra__crux__"

_TRUE: Final = frozenset({"true", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "n", "off", "0"})

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """
    A connection that can be used.

    :param base_url: scheme, host and port, without a final slash.
    :param username: ``None`` where ``secret`` is an API token.
    :param secret: the API token, or the user's password.
    :param connect_timeout: seconds until a connection must stand; default 10.
    :param read_timeout: seconds without a byte after which an answer counts as lost; default 60.
    :param max_retries: how often a call may be sent again where that is safe; default 3.
    :param ca_bundle: path of the certificates to trust; ``None`` for the usual ones.
    :param proxy: URL of the proxy; ``None`` for what the environment says.
    :param unknown_extras: names of extras that mean nothing to us.
    """

    base_url: str
    username: str | None
    secret: str = field(repr=False)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    max_retries: int = MAX_RETRIES
    ca_bundle: str | None = None
    # credentials may stand in it
    proxy: str | None = field(default=None, repr=False)
    unknown_extras: tuple[str, ...] = ()

    @property
    def answer_timeout(self) -> float:
        """Seconds after which an answer that still drips counts as lost, however steadily: twice the read timeout."""
        return 2 * self.read_timeout

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the connection must not be seen in any text."""
        return (self.secret, *self.secrets_of_proxy)

    @property
    def secrets_of_proxy(self) -> tuple[str, ...]:
        """What of that belongs to the proxy; empty where there is none."""
        return _secrets_of_proxy(self.proxy)


def _secrets_of_proxy(proxy: str | None) -> tuple[str, ...]:
    """Return what would give a proxy's credentials away: its URL, and they as they are meant and as they are sent."""
    if proxy is None:
        return ()
    parts = urlsplit(proxy)
    spelled = parts.password or parts.username
    if not spelled:
        return (proxy,)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    sent = base64.b64encode(f"{user}:{password}".encode("latin-1", errors="replace")).decode()
    return proxy, spelled, unquote(spelled), sent


def _boolean(value: object) -> bool:
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{value!r} is neither true nor false; give true or false")


def _seconds(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 24 * 60 * 60:
        raise ValueError(f"{value!r} is not a number of seconds; give one above 0 and up to 86400, for example 30")
    return seconds


def _count(value: object) -> int:
    word = str(value).strip()
    if not (word.isascii() and word.isdecimal() and len(word) < 4):
        raise ValueError(f"{value!r} is not a whole number from 0 to 999; give one, for example 3")
    return int(word)


def _path(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a path; give the path of a file of certificates")  # noqa: TRY004 - told with others
    return value


def _proxy(value: object) -> str:
    try:
        parts = urlsplit(str(value))
        sound = parts.scheme in ("http", "https", "socks5", "socks5h") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        # the value is not shown: a password may stand in it
        raise ValueError("the value is not the URL of a proxy; give one such as http://proxy.example:3128")
    return str(value)


_EXTRAS: Final[dict[str, Callable[[object], Any]]] = {
    "connect_timeout": _seconds,
    "read_timeout": _seconds,
    "max_retries": _count,
    "ca_bundle": _path,
    "proxy": _proxy,
    "allow_http": _boolean,
}


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: what is sent there in clear text, nobody else can read."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_host(host: str, schema: str | None) -> SplitResult:
    """Take apart a host field: a name, or a URL as many paste it there."""
    if "@" in host:
        # the value is not shown: a password stands in it
        raise ValueError("host: credentials stand in the host; put them into login and password")
    url = host if "://" in host else f"{schema or 'https'}://{host}"
    remedy = "give a host such as api.cruxconnect.com, or leave it empty for production"
    try:
        parts = urlsplit(url)
        _ = parts.port
        # as urllib3 does it later, and raises what requests does not know: labels of 1 to 63 characters
        _ = (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"host: {host!r} cannot be read ({error}); {remedy}") from None
    if not parts.hostname or parts.query or parts.fragment or any(c.isspace() for c in url):
        raise ValueError(f"host: {host!r} is not a host; {remedy}")
    return parts


def base_url(*, host: str | None, schema: str | None = None, port: int | None = None, allow_http: bool = False) -> str:
    """
    Return where the API is.

    :param host: a name, an address or a URL; empty for production.
    :param schema: ``https`` (the default) or ``http``, for a host without one.
    :param port: empty or 0 for the scheme's own (Airflow's UI sends 0 for an empty field).
    :param allow_http: let the token travel in clear text to a host that is not this machine.
    :raises ValueError: where these do not make a URL that the token may be sent to.
    """
    if not host:
        host = PRODUCTION
    parts = _split_host(host.strip(), schema)
    if parts.scheme not in ("https", "http"):
        raise ValueError(f"scheme: {parts.scheme!r} is not known; give https")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ValueError(
            f"host: http://{parts.hostname} would carry the token in clear text; use https, "
            'or set the extra "allow_http": true'
        )
    if port and not 0 < port < 65536:
        raise ValueError(f"port: {port} is not a port; give 443, or leave it empty")
    if port and parts.port and port != parts.port:
        raise ValueError(f"port: {port} is not the port {parts.port} of the host; give one of them")
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    number = parts.port or port
    return f"{parts.scheme}://{name}{f':{number}' if number else ''}{parts.path.rstrip('/')}"


def _secret(login: str | None, password: str | None) -> str:
    if not password:
        raise ValueError("password: it is empty; give the API token, or a login and its password")
    if login:
        return password
    token = password.strip()
    if not is_token(token):
        raise ValueError(
            "password: it is not an API token (letters and digits without a space); paste the token alone, "
            "or give the login that the password belongs to"
        )
    return token


def _object(extra: object) -> Mapping[str, Any]:
    if not isinstance(extra or {}, Mapping):
        # the value is not shown: a password may stand in it
        raise ValueError('the value is not a JSON object; give one such as {"max_retries": 5}')  # noqa: TRY004 - told with others
    return extra or {}  # type: ignore[return-value]


def _given(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extras that are set, by their own names; what stands under a form's name yields to the plain one."""
    found = {name: value for name, value in extra.items() if value not in (None, "")}
    plain = {name: value for name, value in found.items() if not name.startswith(_PREFIX)}
    return {name.removeprefix(_PREFIX): value for name, value in found.items()} | plain


def settings(
    *,
    conn_id: str,
    host: str | None = None,
    schema: str | None = None,
    port: int | None = None,
    login: str | None = None,
    password: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ConnectionSettings:
    """
    Read the fields of an Airflow connection.

    ``password`` alone is an API token; ``login`` and ``password`` are a user name and its password. An extra that is
    ``None`` or empty counts as not set: Airflow's UI stores every field of its form. The name that an extra has in
    the form of Airflow 2 (``extra__crux__proxy``) is understood: its Test button sends each under both names.

    :raises CruxInvalidConnectionError: names the connection and tells every field that cannot be used.
    """
    told: list[str] = []

    def read(reader: Callable[[], T], fallback: T, name: str = "") -> T:
        try:
            return reader()
        except ValueError as error:
            told.append(f"{name}{error}")
            return fallback

    given = _given(read(lambda: _object(extra), {}, "extra: "))
    extras = {
        name: read(lambda coerce=coerce, name=name: coerce(given[name]), None, f"extra {name}: ")  # type: ignore[misc]
        for name, coerce in _EXTRAS.items()
        if name in given
    }
    allow_http = bool(extras.pop("allow_http", False))
    url = read(lambda: base_url(host=host, schema=schema, port=port, allow_http=allow_http), PRODUCTION)
    secret = read(lambda: _secret(login, password), "")
    if told:
        raise CruxInvalidConnectionError(f"Connection {conn_id!r} cannot be used: {'; '.join(told)}")
    unknown = tuple(sorted(set(given) - set(_EXTRAS)))
    return ConnectionSettings(base_url=url, username=login or None, secret=secret, unknown_extras=unknown, **extras)
