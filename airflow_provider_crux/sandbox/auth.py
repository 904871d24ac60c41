"""
Authentication: tokens for the API, and presigned URLs for the files.

The parameters of a presigned URL have S3's names, so that a client's redaction meets the real names. The signature is a
plain HMAC instead of S3's algorithm, because only this module verifies it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_crux.sandbox.state import Clock, SandboxSettings

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_SIGNATURE = "X-Amz-Signature"


@dataclass(frozen=True)
class User:
    """The owner of a valid token; ``may_export`` says whether it has the permission ``export_order``."""

    name: str
    may_export: bool


class TokenStore:
    """The valid tokens: those of the settings, and those that logins issued."""

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        viewer = User(settings.viewer_user, may_export=False)
        owner = User(settings.user, may_export=True)
        # the owner comes last and wins if the settings give both the same name or token
        self._logins = {(viewer.name, settings.viewer_password): viewer, (owner.name, settings.password): owner}
        self._permanent = {settings.viewer_token: viewer, settings.token: owner}
        self._issued: dict[str, tuple[User, datetime]] = {}
        self._lifetime = timedelta(seconds=settings.token_lifetime)
        self._clock = clock

    def log_in(self, user: str, password: str) -> str | None:
        """Issue a new token, or return None if the user name or password is wrong."""
        account = self._logins.get((user, password))
        if account is None:
            return None
        token = secrets.token_hex(20)
        self._issued[token] = (account, self._clock() + self._lifetime)
        return token

    def authenticate(self, authorization: str | None) -> User | None:
        """Return the owner of the token in the header ``Authorization``, or None if it is unknown or expired."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Token":
            return None
        if token in self._permanent:
            return self._permanent[token]
        user, expires_at = self._issued.get(token, (None, None))
        return user if expires_at and self._clock() < expires_at else None

    def expire(self) -> None:
        """Expire all tokens that logins issued so far. The tokens of the settings stay valid."""
        self._issued.clear()


class S3Error(Exception):
    """An error of the file storage; ``code`` is S3's name for it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Presigner:
    """Signs the URLs of files, which expire after ``lifetime`` seconds, and verifies the signatures."""

    def __init__(self, lifetime: int, clock: Clock) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._keys = [secrets.token_bytes(32)]  # newest first

    def sign(self, path: str) -> str:
        """Return an absolute path with the query string that gives access to it."""
        now = self._clock()
        query = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"SANDBOX/{now:%Y%m%d}/us-east-1/s3/aws4_request"),
            ("X-Amz-Date", now.strftime(_DATE_FORMAT)),
            ("X-Amz-Expires", str(self._lifetime)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        return f"{path}?{urlencode([*query, (_SIGNATURE, _signature(self._keys[0], path, query))])}"

    def verify(self, path: str, query: Sequence[tuple[str, str]]) -> None:
        """Raise :class:`S3Error` unless the query string gives access to the file."""
        signatures = [value for name, value in query if name == _SIGNATURE]
        if len(signatures) != 1:
            raise S3Error(403, "AccessDenied", "The URL must have exactly one signature.")
        signed = [(name, value) for name, value in query if name != _SIGNATURE]
        matches = [signatures[0] == _signature(key, path, signed) for key in self._keys]
        if not any(matches):
            raise S3Error(403, "SignatureDoesNotMatch", "The signature does not match the URL.")
        # the signature matches, so the other parameters are as sign() wrote them
        parameters = dict(signed)
        signed_at = datetime.strptime(parameters["X-Amz-Date"], _DATE_FORMAT).replace(tzinfo=UTC)
        expires_at = signed_at + timedelta(seconds=int(parameters["X-Amz-Expires"]))
        if not matches[0] or self._clock() >= expires_at:
            raise S3Error(403, "AccessDenied", "The URL has expired.")

    def expire(self) -> None:
        """Expire all URLs so far."""
        self._keys.insert(0, secrets.token_bytes(32))


def _signature(key: bytes, path: str, query: Sequence[tuple[str, str]]) -> str:
    return hmac.new(key, f"{path}\n{urlencode(sorted(query))}".encode(), hashlib.sha256).hexdigest()
