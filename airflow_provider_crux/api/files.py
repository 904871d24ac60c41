"""
The file of an export: which URL may be fetched, what each failure to fetch it means, and how many records it holds.

Crux Connect gives a presigned URL. Whoever holds it can read every order, so no message shows more than its host.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_crux.api import failures
from airflow_provider_crux.api.answers import excerpt_of
from airflow_provider_crux.api.calls import Answer, Call
from airflow_provider_crux.api.connection import is_loopback
from airflow_provider_crux.api.redaction import excerpt
from airflow_provider_crux.exceptions import (
    CruxError,
    CruxInvalidConnectionError,
    CruxMalformedAnswerError,
    CruxNotFoundError,
    CruxRequestRefusedError,
    CruxUnavailableError,
    CruxUrlLapsedError,
)

FETCH: Final = Call(method="GET", path="", doing="fetch the file of the export", repeatable=True)
"""What the rules of repetition have to know of the fetch. Its path stays with the transport: it is half a secret."""

_SHORTEST_SECRET: Final = 16


def checked_url(url: str) -> str:
    """
    Return a presigned URL that may be fetched, unchanged.

    :param url: what Crux Connect gave. It must be https; http only where the host is this machine, as in a sandbox.
    :raises CruxMalformedAnswerError: for every other URL; the message shows its scheme and host at most.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise unusable("it cannot be read") from None
    if not url.isprintable() or " " in url or not parts.hostname:
        raise unusable("it cannot be read")
    if "@" in parts.netloc:
        raise unusable("credentials stand in it")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise unusable(f"it leads to host {parts.hostname!r} by {parts.scheme!r}, in which others could read along")
    return url


def unusable(reason: str) -> CruxMalformedAnswerError:
    """Return the error for a URL that is not fetched; the reason must not show its path or query."""
    return CruxMalformedAnswerError(
        f"Could not {FETCH.doing}: the url that Crux Connect gave is not used, for {reason}. Nothing was sent to it. "
        "An https URL was expected: check that the connection's host is Crux Connect's"
    )


def secrets_of(url: str) -> tuple[str, ...]:
    """
    Return what of a presigned URL must be seen nowhere: its query, each value in that, and its path.

    :returns: values as they are and as they are spelled in the URL. Nothing shorter than 16 characters is among
        them: the seconds until it lapses are no secret, and masking them would make other texts unreadable.
    """
    parts = urlsplit(url)
    spelled = (pair.partition("=")[2] for pair in parts.query.split("&"))
    meant = (value for _, value in parse_qsl(parts.query))
    found = dict.fromkeys((parts.query, *spelled, *meant, parts.path.strip("/")))
    return tuple(text for text in found if len(text) >= _SHORTEST_SECRET)


def refused(answer: Answer, *, host: str, secrets: Collection[str] = ()) -> CruxError:
    """
    Return the error for an answer other than 200.

    :param answer: what came instead of the file.
    :param host: who answered.
    :param secrets: what must not be seen in the excerpt of the answer: storage repeats parts of the URL.
    """
    said = f"Could not {FETCH.doing}: {host} answered {answer.status} ({excerpt_of(answer, secrets)})"
    # 400: the URL was signed with credentials that were themselves lent for a while, and they lapsed before it
    if answer.status == 403 or (answer.status == 400 and b"ExpiredToken" in answer.body):
        return CruxUrlLapsedError(f"{said}. The presigned URL has lapsed: ask Crux Connect for a fresh one")
    if answer.status == 404:
        return CruxNotFoundError(f"{said}. The file is gone: ask for a new export")
    if failures.worth_repeating(FETCH, answer):
        return CruxUnavailableError(f"{said}. Try again later")
    if 300 <= answer.status < 400:
        return CruxRequestRefusedError(
            f"{said}. Redirects are not followed, for the orders must come from where Crux Connect says. "
            "Check the network's proxy, and ask Crux Connect where its files are"
        )
    return CruxRequestRefusedError(f"{said}, where 200 and the whole file was expected. Check the network's proxy")


def not_whole(what: str, *, host: str) -> CruxRequestRefusedError:
    """Return the error for an answer of 200 whose file could not be known to be the whole of it, and as it is."""
    return CruxRequestRefusedError(
        f"Could not {FETCH.doing}: {host} answered 200, but {what}. Nothing was stored. Check the network's proxy"
    )


def lost(reason: str, *, host: str, secrets: Collection[str] = ()) -> CruxUnavailableError:
    """Return the error for a file that did not come, or only in part: no connection, a timeout, a body cut short."""
    return CruxUnavailableError(
        f"Could not {FETCH.doing}: it did not come whole from {host} ({excerpt(reason, secrets=secrets)}). "
        "Nothing was stored: try again. If it goes on, check the network and its proxy"
    )


def not_trusted(reason: str, *, host: str, secrets: Collection[str] = ()) -> CruxInvalidConnectionError:
    """Return the error for a certificate that was not accepted: nothing was sent, and nothing will change."""
    return CruxInvalidConnectionError(
        f"Could not {FETCH.doing}: the certificate of {host} is not trusted ({excerpt(reason, secrets=secrets)}). "
        "Nothing was sent. Name your own certificates in the connection's extra ca_bundle"
    )


_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# A quoted field, up to its closing quote or the end of what there is; a doubled quote closes nothing. Only a quote at
# the beginning of a field opens one. Possessive, so that no text makes it look at a byte twice, or remember it.
_QUOTED_FIELD: Final = re.compile(rb'"(?<![^,\r\n]")[^"]*+(?:""[^"]*+)*+(?:"|\Z)')
_CLOSED_AT_END: Final = re.compile(rb'[,\r\n]?"')


class RecordCount:
    """
    Counts the records of a CSV file while it passes by, in chunks that may end anywhere.

    It takes what :mod:`csv` takes: quoted line breaks and commas, doubled quotes, a quote within an unquoted field,
    any line end, a last line without one. A byte-order mark and blank lines are no records. Nothing is an error, and
    no more than a few times the chunk is held in memory, however long a field is.

    Not with :mod:`csv` itself, which would have to be given whole lines, holds whole fields, and refuses long ones.
    """

    def __init__(self) -> None:
        self._records = 0
        self._begun = False
        # A few bytes that leave whoever reads on where the last chunk left off: nothing or a line end before a record,
        # a comma before a field, a full stop in one, a quote in a quoted one, two quotes where that may have ended.
        self._left_off = b""

    def feed(self, chunk: bytes) -> None:
        """
        Count on.

        :param chunk: the next bytes of the file.
        """
        text = self._left_off + chunk
        if not self._begun:
            if _BYTE_ORDER_MARK.startswith(text) and text != _BYTE_ORDER_MARK:
                self._left_off = text
                return
            self._begun = True
            text = text.removeprefix(_BYTE_ORDER_MARK)
        # each quoted field becomes one quote; the full stop is swallowed with a field that is still open
        bare = _QUOTED_FIELD.sub(b'"', text + b".")
        still_quoted = bare.endswith(b'"')
        bare = bare if still_quoted else bare[:-1]
        self._records += _lines_ended(bare)
        if still_quoted:
            self._left_off = b'"'
        elif _CLOSED_AT_END.fullmatch(bare[-2:]):
            self._left_off = b'""'
        else:
            self._left_off = bare[-1:] if bare[-1:] in (b"", b",", b"\r", b"\n") else b"."

    @property
    def rows(self) -> int:
        """Records until now without the first, which is the header; the last one counts without its line end."""
        unended = self._left_off not in (b"", b"\r", b"\n")
        return max(self._records + unended - 1, 0)


def _lines_ended(text: bytes) -> int:
    """Count the lines that are not blank and have an end."""
    lines = text.splitlines()
    unended = bool(lines) and not text.endswith((b"\r", b"\n"))
    return len(lines) - lines.count(b"") - unended
