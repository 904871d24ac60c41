"""
Which token a request carries, and when to log in.

The logic is a generator that yields what to send and receives the response, so that one piece of it serves every
transport.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Final

from airflow_provider_crux.api.errors import error_for_status
from airflow_provider_crux.api.requests import ApiRequest, ApiResponse, login_request
from airflow_provider_crux.api.responses import parse_auth_token
from airflow_provider_crux.api.settings import ConnectionSettings

TOKEN_LIFETIME: Final = 2 * 60 * 60
"""Seconds until the token of a login expires (public documentation)."""

_RENEWED_BEFORE: Final = 5 * 60


@dataclass
class TokenAuth:
    """The credentials of one connection and the token of its last login."""

    settings: ConnectionSettings
    on_login: Callable[[str], None] = field(repr=False)
    """Receives the token of each login before it is used, to mask it in logs."""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _token: str | None = field(default=None, init=False, repr=False)
    _obtained_at: float = field(default=0.0, init=False, repr=False)

    def secrets(self) -> tuple[str, ...]:
        """Return what no text may show."""
        return self.settings.secrets if self._token is None else (*self.settings.secrets, self._token)

    def token_flow(self) -> Generator[ApiRequest, ApiResponse, str]:
        """Return a valid token. Log in first if the connection has a login and no token that lasts."""
        if self.settings.username is None:
            return self.settings.secret
        age = self.clock() - self._obtained_at
        if self._token is None or age > TOKEN_LIFETIME - _RENEWED_BEFORE:
            self._token = None
            request = login_request(self.settings.username, self.settings.secret, self.settings.version)
            response = yield request
            self._raise_for_status(request, response)
            token = parse_auth_token(response)
            if token != self._token:  # many requests may share the response to one login
                self.on_login(token)
            self._token, self._obtained_at = token, self.clock()
        return self._token

    def auth_flow(self, request: ApiRequest) -> Generator[ApiRequest, ApiResponse, ApiResponse]:
        """
        Yield what to send, receive each response, and return the response to ``request``.

        After a 401 it logs in again, once: if the new token is rejected too, the reason is not that it expired.

        :raises CruxError: for a response whose status is not 2xx.
        """
        token = yield from self.token_flow()
        response = yield replace(request, token=token)
        if response.status == 401 and self.settings.username is not None:
            if self._token == token:  # otherwise another request was rejected too and has already logged in
                self._token = None
            token = yield from self.token_flow()
            response = yield replace(request, token=token)
        self._raise_for_status(request, response)
        return response

    def _raise_for_status(self, request: ApiRequest, response: ApiResponse) -> None:
        if not 200 <= response.status < 300:
            raise error_for_status(request.action, response, peer=self.settings.peer, secrets=self.secrets())
