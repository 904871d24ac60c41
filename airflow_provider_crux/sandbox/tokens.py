"""Who is calling: the tokens that are always accepted, and those handed out by login."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_crux.sandbox.clock import Clock
from airflow_provider_crux.sandbox.settings import SandboxSettings


@dataclass(frozen=True)
class Caller:
    """A user whose token was accepted.

    :param user: the user's name
    :param may_export: whether the user has the permission ``export_order``
    """

    user: str
    may_export: bool


class Tokens:
    """The tokens of one sandbox.

    :param settings: users, passwords, built-in tokens, and the lifetime of the others
    :param clock: says when a token has lived its time
    """

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        viewer = Caller(settings.viewer_user, may_export=False)
        owner = Caller(settings.user, may_export=True)
        # the owner last: where a user gave both the same name or token, it is the owner's
        self._logins = {
            (viewer.user, settings.viewer_password): viewer,
            (owner.user, settings.password): owner,
        }
        self._built_in = {settings.viewer_token: viewer, settings.token: owner}
        self._issued: dict[str, tuple[Caller, datetime]] = {}
        self._lifetime = timedelta(seconds=settings.token_lifetime)
        self._clock = clock

    def log_in(self, user: str, password: str) -> str | None:
        """Issue a token.

        :param user: the name given
        :param password: the password given
        :return: the new token, or None if name and password do not belong together
        """
        caller = self._logins.get((user, password))
        if caller is None:
            return None
        token = secrets.token_hex(20)
        self._issued[token] = (caller, self._clock() + self._lifetime)
        return token

    def caller(self, authorization: str | None) -> Caller | None:
        """Say whose token a header holds.

        :param authorization: the value of the header ``Authorization``, None if there was none
        :return: the caller, or None if there is no such token, or it has expired
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Token":
            return None
        if token in self._built_in:
            return self._built_in[token]
        caller, expires_at = self._issued.get(token, (None, None))
        return caller if expires_at and self._clock() < expires_at else None

    def expire(self) -> None:
        """Refuse from now on every token that a login gave until now. The built-in ones stay."""
        self._issued.clear()
