"""
Which token goes with a call, and when to log in (again).

The logic is a generator that says what to send and is told what came back, so that one piece of it serves every
transport.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Final

from airflow_provider_crux.api import answers, calls, failures
from airflow_provider_crux.api.calls import Answer, Call

TOKEN_LIFETIME: Final = 2 * 60 * 60
"""Seconds for which a token from a login is good (public documentation)."""

_RENEWED_BEFORE: Final = 5 * 60


def _nobody(token: str) -> None:
    """Tell nobody of a new token."""


@dataclass
class Authorization:
    """
    The credentials of one connection, and the token they gave.

    :param conn_id: the connection, for error messages.
    :param username: ``None`` where ``secret`` is a token already.
    :param secret: the API token, or the user's password.
    :param others: what else must not be seen in any text, as the proxy's password.
    :param on_login: is told each token that a login gave, before it is used: the place to have it masked in logs.
    :param clock: seconds that only ever grow.
    """

    conn_id: str
    username: str | None
    secret: str = field(repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)
    on_login: Callable[[str], None] = field(default=_nobody, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _token: str | None = field(default=None, init=False, repr=False)
    _obtained: float = field(default=0.0, init=False, repr=False)

    def secrets(self) -> tuple[str, ...]:
        """Return what must not be seen in any text."""
        known = (self.secret, *self.others)
        return known if self._token is None else (*known, self._token)

    def token(self) -> Generator[Call, Answer, str]:
        """Return a token that is good, logging in first where there is a login and no token that will last."""
        if self.username is None:
            return self.secret
        age = self.clock() - self._obtained
        if self._token is None or age > TOKEN_LIFETIME - _RENEWED_BEFORE:
            self._token = None
            call = calls.login(self.username, self.secret)
            answer = yield call
            self._check(call, answer)
            self._token = answers.auth_token(answer, secrets=self.secrets())
            self._obtained = self.clock()
            self.on_login(self._token)
        return self._token

    def authorize(self, call: Call) -> Generator[Call, Answer, Answer]:
        """
        Yield what to send, be told what came back, and return the answer to ``call``.

        On a 401 the login is made anew, once: a token that is refused again has not merely lapsed.

        :raises CruxError: for an answer whose status is not 2xx.
        """
        token = yield from self.token()
        answer = yield replace(call, token=token)
        if answer.status == 401 and self.username is not None:
            if self._token == token:  # else another call was refused too, and has logged in meanwhile
                self._token = None
            token = yield from self.token()
            answer = yield replace(call, token=token)
        self._check(call, answer)
        return answer

    def _check(self, call: Call, answer: Answer) -> None:
        if not 200 <= answer.status < 300:
            raise failures.refused(call, answer, conn_id=self.conn_id, secrets=self.secrets())
