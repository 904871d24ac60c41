"""
Whether a connection works: what is sent to find out, and what a person is told.

Airflow shows the text beside its Test button, and gives the connection a made-up id for the test: no text names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import replace

from airflow_provider_crux.api import answers, calls, failures
from airflow_provider_crux.api.calls import Answer, Call
from airflow_provider_crux.api.connection import ConnectionSettings
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import CruxError, CruxMalformedAnswerError, CruxUnavailableError

Verdict = tuple[bool, str]
"""Whether the connection works, and what to show."""


def check(settings: ConnectionSettings) -> Generator[Call, Answer, Verdict]:
    """
    Yield the one call that tries a connection, be told what came back, and return what that means.

    With a user name: log in. With a token: look up an export that cannot exist, to which 404 is the answer where the
    token is good and 401 where it is not. Nobody is e-mailed for either. A service that answers every path with 404 in
    JSON is taken for Crux Connect: one look cannot tell them apart.

    :param settings: the connection.
    """
    doing = f"test the connection to {settings.base_url}"
    if settings.username is not None:
        answer = yield replace(calls.login(settings.username, settings.secret), doing=doing)
        return _unusual(answer, settings) or _of_login(answer, settings)
    answer = yield replace(calls.get_export(calls.NIL_UUID), doing=doing, token=settings.secret)
    return _unusual(answer, settings) or _of_look(answer, settings)


def verdict_of(error: CruxError, *, conn_id: str) -> Verdict:
    """
    Return what it means that the call could not be sent, or that no answer came.

    :param conn_id: the connection, as the error may name it.
    """
    text = re.sub(rf"connection {re.escape(repr(conn_id))}", "this connection", str(error), flags=re.IGNORECASE)
    text = text[:1].upper() + text[1:]
    if isinstance(error, CruxUnavailableError):
        text += ". Check too the scheme (https or http) and the port of the host"
    return False, text


def _unusual(answer: Answer, settings: ConnectionSettings) -> Verdict | None:
    """Judge what any call may be answered with; ``None`` where the answer depends on the call."""
    if answer.status >= 500 or answer.status == 408 or answer.status in failures.REFUSED:
        return False, f"{settings.base_url} is not at work just now (it answers {answer.status}): try again later"
    if answer.body and not _is_json_object(answer):
        return _not_crux_connect(answer, settings)
    return None


def _of_login(answer: Answer, settings: ConnectionSettings) -> Verdict:
    if answer.status in (400, 401, 403):
        return False, f"{settings.base_url} does not accept the user name or its password: correct them"
    if not 200 <= answer.status < 300:
        return _not_crux_connect(answer, settings)
    try:
        answers.auth_token(answer, secrets=settings.secrets)
    except CruxMalformedAnswerError:
        return _not_crux_connect(answer, settings)
    return True, f"Logged in to {settings.base_url}"


def _of_look(answer: Answer, settings: ConnectionSettings) -> Verdict:
    host = settings.base_url
    if answer.status == 401:
        return False, (
            f"{host} does not accept the API token: put a valid one into the password, "
            "or add the user name that the password belongs to"
        )
    if answer.status == 403:
        return False, f"{host} knows the API token, but refuses its user: ask Crux Connect for permission"
    if answer.status == 404 and answer.body:
        return True, f"{host} accepts the API token"
    return _not_crux_connect(answer, settings)


def _is_json_object(answer: Answer) -> bool:
    try:
        return isinstance(json.loads(answer.body), dict)
    except (ValueError, RecursionError):  # not JSON, not in Unicode, or nested thousands deep
        return False


def _not_crux_connect(answer: Answer, settings: ConnectionSettings) -> Verdict:
    # of the body nothing is shown: in it may stand a token under a name that we do not know
    kind = excerpt(answer.headers.get("content-type", "no content type"), secrets=settings.secrets)
    return False, (
        f"{settings.base_url} does not answer as Crux Connect does ({answer.status}, {kind}): "
        "correct the host (empty for production), or the proxy"
    )
