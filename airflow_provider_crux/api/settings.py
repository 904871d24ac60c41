"""
The fields of an Airflow connection: what each means, its default and bounds, and how it is read and checked.

:data:`EXTRA_FIELDS` is the one source of what people read about the extras: the form in Airflow's UI is made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from airflow_provider_crux.api.errors import Peer, unusable_connection
from airflow_provider_crux.api.redaction import secrets_in_proxy
from airflow_provider_crux.api.requests import is_valid_token
from airflow_provider_crux.api.retries import MAX_RETRIES
from airflow_provider_crux.api.urls import PRODUCTION, base_url
from airflow_provider_crux.api.versions import API, VERSIONS, ApiVersion

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 60.0

_MAX_SECONDS: Final = 24 * 60 * 60
_MAX_COUNT: Final = 999
_MIN_HASH_KEY: Final = 16

_TRUE: Final = frozenset({"true", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "n", "off", "0"})

_FORM_PREFIX: Final = "extra__crux__"

# what Airflow's API shows in place of every secret that it knows, also within another text, and stores if it comes back
_AIRFLOW_MASK: Final = "***"

T = TypeVar("T")


def _parse_boolean(value: object) -> bool:
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{value!r} is neither true nor false; use true or false")


def _parse_seconds(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_SECONDS:
        raise ValueError(f"{value!r} is not a number of seconds; use one above 0 and up to {_MAX_SECONDS}")
    return seconds


def _parse_count(value: object) -> int:
    word = str(value).strip()
    if not (word.isascii() and word.isdecimal() and len(word) < 10 and int(word) <= _MAX_COUNT):
        raise ValueError(f"{value!r} is not a whole number from 0 to {_MAX_COUNT}; use one, for example {MAX_RETRIES}")
    return int(word)


def _parse_version(value: object) -> str:
    word = str(value).strip().lower()
    if word not in VERSIONS:
        raise ValueError(f"{value!r} is not a version of the API; use {', '.join(VERSIONS)}")
    return word


def _parse_path(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a path; use the path of a file with CA certificates")  # noqa: TRY004 - collected with the others
    return value


def _parse_proxy(value: object) -> str:
    try:
        parts = urlsplit(str(value))
        valid = parts.scheme in ("http", "https", "socks5", "socks5h") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        # the value is not shown, because it may contain a password
        raise ValueError("the value is not the URL of a proxy; use one such as http://proxy.example:3128")
    return str(value)


def _parse_hash_key(value: object) -> str:
    # the value is not shown, because it is a secret
    if not isinstance(value, str) or len(value) < _MIN_HASH_KEY:
        raise ValueError(
            f"the value is not a text of {_MIN_HASH_KEY} characters or more; use a random one, for example the output "
            "of openssl rand -hex 32"
        )
    return value


@dataclass(frozen=True, kw_only=True)
class ExtraField:
    """One extra of the connection."""

    label: str
    description: str
    default: str
    """What applies if it is not set, as people read it."""
    parse: Callable[[object], Any]
    """Reads and checks a value; raises ``ValueError`` with the value and the remedy."""
    example: str = ""
    """Shown in an empty form (Airflow 2)."""
    choices: tuple[str, ...] = ()
    """The values that the form offers; none if it accepts any text."""
    bounds: tuple[int, int] | None = None
    """Smallest and largest whole number that the form accepts; ``None`` if it is not a number."""
    secret: bool = False
    """Whether the form hides it (Airflow 3)."""

    @property
    def help(self) -> str:
        """Description and default."""
        return f"{self.description} Default: {self.default}."


EXTRA_FIELDS: Final[dict[str, ExtraField]] = {
    "api_version": ExtraField(
        label="Version of the API",
        description="The version of Crux Connect's API that your account uses: api, v1, or timp, the newest. If every "
        "request fails with HTTP 404, it is another one.",
        default=API.name,
        parse=_parse_version,
        example=API.name,
        choices=tuple(VERSIONS),
    ),
    "connect_timeout": ExtraField(
        label="Connect timeout (seconds)",
        description="Seconds to establish a connection (TCP and TLS).",
        default=f"{CONNECT_TIMEOUT:g}",
        parse=_parse_seconds,
        example=f"{CONNECT_TIMEOUT:g}",
        bounds=(1, _MAX_SECONDS),
    ),
    "read_timeout": ExtraField(
        label="Read timeout (seconds)",
        description="Seconds without a byte after which a response counts as lost.",
        default=f"{READ_TIMEOUT:g}",
        parse=_parse_seconds,
        example=f"{READ_TIMEOUT:g}",
        bounds=(1, _MAX_SECONDS),
    ),
    "max_retries": ExtraField(
        label="Retries",
        description="How often a request is sent again at most. A request that may have started an export is never "
        "sent again.",
        default=f"{MAX_RETRIES}",
        parse=_parse_count,
        example=f"{MAX_RETRIES}",
        bounds=(0, _MAX_COUNT),
    ),
    "ca_bundle": ExtraField(
        label="CA bundle (path)",
        description="File of CA certificates to trust; it must exist on every machine of Airflow.",
        default="the certificates that requests trusts",
        parse=_parse_path,
        example="/etc/ssl/certs/company.pem",
    ),
    "proxy": ExtraField(
        label="Proxy (URL)",
        description="Proxy between Airflow and Crux Connect. Airflow masks it in lists of connections; the form of "
        "Airflow 2 shows it.",
        default="the proxy of the environment, if any",
        parse=_parse_proxy,
        example="http://proxy.example:3128",
    ),
    "hash_key": ExtraField(
        label="Hash key",
        description="Secret with which personal_data='hash' hashes personal data, 16 characters or more. The same key "
        "gives the same hashes: keep a copy. The form of Airflow 2 shows it.",
        default="none",
        parse=_parse_hash_key,
        secret=True,
    ),
    "allow_http": ExtraField(
        label="Allow http",
        description="Send the token unencrypted to a host other than this machine. For tests only.",
        default="false",
        parse=_parse_boolean,
    ),
}
"""The extras by name, in the order of the form."""


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """A usable connection; :data:`EXTRA_FIELDS` says what each extra means."""

    name: str
    """How messages name the connection, see :func:`connection_name`."""
    base_url: str
    """Scheme, host and port, without a final slash."""
    username: str | None
    """``None`` if ``secret`` is an API token, not a password."""
    secret: str = field(repr=False)
    api_version: str = API.name
    connect_timeout: float = CONNECT_TIMEOUT
    read_timeout: float = READ_TIMEOUT
    max_retries: int = MAX_RETRIES
    ca_bundle: str | None = None
    # may contain credentials
    proxy: str | None = field(default=None, repr=False)
    hash_key: str | None = field(default=None, repr=False)
    unknown_extras: tuple[str, ...] = ()

    @property
    def version(self) -> ApiVersion:
        """What the version of the API calls its paths, and how it spells a request."""
        return VERSIONS[self.api_version]

    @property
    def peer(self) -> Peer:
        """The API, as messages name it."""
        return Peer(self.name, proxied=self.proxy is not None, api_version=self.api_version)

    @property
    def response_timeout(self) -> float:
        """Seconds after which an incomplete response counts as lost, however steadily its bytes come."""
        return 2 * self.read_timeout

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may show."""
        return (self.secret, *secrets_in_proxy(self.proxy), *filter(None, [self.hash_key]))


def connection_name(conn_id: str) -> str:
    """Return how messages name a connection, for example ``connection 'crux_default'``."""
    return f"connection {conn_id!r}"


def _reject_mask(name: str, value: object) -> None:
    # the rest of the value is not shown, because it may be half a secret
    if _AIRFLOW_MASK in str(value):
        raise ValueError(f"{name}: it contains {_AIRFLOW_MASK}, which is Airflow's mask, not a value: enter it again")


def _read_secret(login: str | None, password: str | None) -> str:
    if not password:
        raise ValueError("password: it is empty; enter an API token, or a login and its password")
    _reject_mask("password", password)
    if login:
        return password
    token = password.strip()
    if not is_valid_token(token):
        raise ValueError(
            "password: it is not an API token (visible ASCII without a space); paste the token alone, "
            "or enter the login that the password belongs to"
        )
    return token


def _set_extras(extra: object) -> dict[str, Any]:
    """Return the extras that are set, by their plain names, which take precedence over those of Airflow 2's form."""
    if not isinstance(extra or {}, Mapping):
        # the value is not shown, because it may contain a password
        raise ValueError('extra: the value is not a JSON object; use one such as {"max_retries": 5}')  # noqa: TRY004 - collected with the others
    present = {name: value for name, value in (extra or {}).items() if value not in (None, "")}  # type: ignore[attr-defined]
    plain = {name: value for name, value in present.items() if not name.startswith(_FORM_PREFIX)}
    return {name.removeprefix(_FORM_PREFIX): value for name, value in present.items()} | plain


def _parse_extra(name: str, value: object) -> Any:
    _reject_mask(f"extra {name}", value)
    try:
        return EXTRA_FIELDS[name].parse(value)
    except ValueError as error:
        raise ValueError(f"extra {name}: {error}") from None


def read_settings(connection: Any, extra: Mapping[str, Any], name: str) -> ConnectionSettings:
    """
    Read the fields of an Airflow connection, and its extra, which an event loop gets in another way than a worker.

    ``password`` alone is an API token; ``login`` and ``password`` are a user name and its password. An extra that is
    ``None`` or empty is not set, because Airflow's UI stores every field of its form. Both names of an extra work: the
    Test button of Airflow 2 sends ``proxy`` also as ``extra__crux__proxy``.

    :raises CruxInvalidConnectionError: names the connection and every field that is unusable.
    """
    problems: list[str] = []

    def read(reader: Callable[[], T], fallback: T) -> T:
        try:
            return reader()
        except ValueError as error:
            problems.append(str(error))
            return fallback

    no_extras: dict[str, Any] = {}
    extras = read(lambda: _set_extras(extra), no_extras)
    values = {
        key: read(lambda key=key, value=value: _parse_extra(key, value), None)  # type: ignore[misc]
        for key, value in extras.items()
        if key in EXTRA_FIELDS
    }
    allow_http = bool(values.pop("allow_http", False))
    host, schema, port = connection.host, connection.schema, connection.port
    url = read(lambda: base_url(host=host, schema=schema, port=port, allow_http=allow_http), PRODUCTION)
    secret = read(lambda: _read_secret(connection.login, connection.password), "")
    if problems:
        raise unusable_connection(name, "; ".join(problems))
    unknown = tuple(sorted(set(extras) - set(EXTRA_FIELDS)))
    return ConnectionSettings(
        name=name, base_url=url, username=connection.login or None, secret=secret, unknown_extras=unknown, **values
    )
