"""What an answer of the API means, read strictly: anything else than the documented form is an error."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from airflow_provider_crux.api.calls import MAX_ANSWER_BYTES, Answer, canonical_uuid
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import CruxMalformedAnswerError


class ExportState(Enum):
    """What the status word of an export means for whoever waits for it."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"
    UNKNOWN = "unknown"


# The specification does not list the words; these are seen in the public documentation and its drafts.
_STATES: Final = {
    **dict.fromkeys(("complete", "completed"), ExportState.DONE),
    **dict.fromkeys(
        ("pending", "processing", "in_progress", "queued", "new", "started", "created"), ExportState.WAITING
    ),
    **dict.fromkeys(("failed", "error", "errored", "cancelled", "canceled", "expired"), ExportState.FAILED),
}


@dataclass(frozen=True)
class Export:
    """
    How an export stands.

    :param uuid: the export.
    :param status: Crux Connect's own word for its state.
    :param url: presigned URL of the file, ``None`` until it is done. Whoever holds it can read every order: it is
        left out of the repr, and it lapses, so ask again rather than keep it.
    """

    uuid: str
    status: str
    url: str | None = field(default=None, repr=False)

    @property
    def state(self) -> ExportState:
        """What :attr:`status` means, upper and lower case alike; ``UNKNOWN`` for a word that is new to us."""
        return _STATES.get(self.status.lower(), ExportState.UNKNOWN)


def excerpt_of(answer: Answer, secrets: Collection[str] = ()) -> str:
    """Return what an answer says, fit for an error message: kind of content, and its beginning."""
    if not answer.body:
        return "an empty body"
    kind = excerpt(answer.headers.get("content-type", "no content type"), secrets=secrets)
    text = answer.body.decode("utf-8", errors="replace")
    return f"{kind}: {excerpt(text, secrets=secrets)!r}"


def _malformed(what: str, answer: Answer, secrets: Collection[str]) -> CruxMalformedAnswerError:
    return CruxMalformedAnswerError(
        f"Crux Connect answered {answer.status}, but {what}; what came is {excerpt_of(answer, secrets)}. "
        "Check that the connection's host is Crux Connect's"
    )


def _json_object(answer: Answer, secrets: Collection[str]) -> Mapping[str, Any]:
    if len(answer.body) > MAX_ANSWER_BYTES:
        raise _malformed(f"with more than {MAX_ANSWER_BYTES} bytes", answer, secrets)
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):  # not JSON, not in Unicode, or nested thousands deep
        raise _malformed("not in JSON", answer, secrets) from None
    if not isinstance(content, dict):
        raise _malformed("not with a JSON object", answer, secrets)
    return content


def export_uuid(answer: Answer, *, secrets: Collection[str] = ()) -> str:
    """
    Read the answer to the request for an export.

    :returns: the uuid of the export, in its canonical form.
    :raises CruxMalformedAnswerError: for anything but a JSON object with a well-formed ``uuid``.
    """
    try:
        content = _json_object(answer, secrets)
        uuid = canonical_uuid(content.get("uuid"))
        if uuid is None:
            raise _malformed("without a well-formed uuid", answer, secrets)
    except CruxMalformedAnswerError as error:
        raise CruxMalformedAnswerError(
            f"{error}. The export may have been started: look for its e-mail before asking for another"
        ) from None
    return uuid


def export(answer: Answer, *, asked: str, secrets: Collection[str] = ()) -> Export:
    """
    Read the answer to the question how an export stands.

    :param asked: the uuid that was asked for; the answer must be of the same export.
    :raises CruxMalformedAnswerError: where ``uuid`` or ``status`` is missing or malformed, or ``url`` is neither
        null nor text.
    """
    content = _json_object(answer, secrets)
    uuid, status, url = content.get("uuid"), content.get("status"), content.get("url")
    if canonical_uuid(uuid) != canonical_uuid(asked):
        raise _malformed("not about the export that was asked for", answer, secrets)
    if not isinstance(status, str) or not status:
        raise _malformed("without a status", answer, secrets)
    if not (url is None or isinstance(url, str)):
        raise _malformed("with a url that is not text", answer, secrets)
    return Export(uuid=asked, status=status, url=url or None)


def file_url(export: Export) -> str:
    """
    Return the presigned URL of an export that is done.

    :raises CruxMalformedAnswerError: where Crux Connect gave none.
    """
    if export.url is None:
        raise CruxMalformedAnswerError(
            f"Crux Connect calls export {export.uuid} {excerpt(export.status)!r}, but gave no url of its file. "
            "Ask Crux Connect for the reason, or ask for a new export"
        )
    return export.url


def is_token(text: object) -> bool:
    """Tell whether a text can be an API token: visible ASCII, as a header can carry it, and no space."""
    return isinstance(text, str) and bool(text) and text.isascii() and text.isprintable() and " " not in text


def auth_token(answer: Answer, *, secrets: Collection[str] = ()) -> str:
    """
    Read the answer to a login.

    :returns: the token.
    :raises CruxMalformedAnswerError: where there is none. The message shows nothing of the answer's text, in which
        a token may stand under another name.
    """
    token = _json_object(answer, secrets).get("auth_token")
    if not is_token(token):
        raise CruxMalformedAnswerError(
            f"Crux Connect answered {answer.status} to the login, but without a well-formed auth_token. "
            "Check that the connection's host is Crux Connect's"
        )
    return str(token)
