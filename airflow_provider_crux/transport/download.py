"""
Download the file behind a presigned URL. The request carries nothing of ours but the user agent.

Which URL may be opened is decided in :mod:`airflow_provider_crux.api.urls`.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests
from airflow.providers.common.compat.sdk import mask_secret
from requests.utils import get_environ_proxies, select_proxy

from airflow_provider_crux.api import errors
from airflow_provider_crux.api.errors import Peer
from airflow_provider_crux.api.redaction import secrets_in_url
from airflow_provider_crux.api.requests import DOWNLOAD, ApiResponse
from airflow_provider_crux.api.retries import Retries
from airflow_provider_crux.api.urls import file_url
from airflow_provider_crux.files.header import OtherContent, read_header, with_whole_header
from airflow_provider_crux.transport.http import (
    new_session,
    send_once,
    send_with_retries,
    translated_errors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_crux.api.responses import Export
    from airflow_provider_crux.api.settings import ConnectionSettings

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 256 * 1024
"""How much of a file is in memory at a time."""

_ERROR_BYTES: Final = 4 * 1024


@contextmanager
def open_file(export: Export, settings: ConnectionSettings) -> Iterator[Iterator[bytes]]:
    """
    Open the file of an export that is done.

    Until the first bytes arrive, transient failures are retried as for every other request; after that nothing is
    repeated, because the caller already has the bytes. No token, no cookie and nothing from ``~/.netrc`` is sent:
    storage rejects a second authentication beside the one in the URL. Redirects are not followed. The secret parts of
    the URL are masked in Airflow's logs from here on; no error shows the URL.

    :return: the bytes as served, in chunks of at most 256 KiB. If they end without an error, they are the whole file.
    :raises CruxInvalidResponseError: if the export has a URL that must not be opened; nothing was sent to it.
    :raises CruxUrlExpiredError: if the URL has expired.
    :raises CruxUnavailableError: if the export has no URL, or storage does not return the file; while reading, if the
        connection was cut.
    """
    file = _PresignedFile(file_url(export, base_url=settings.base_url), settings)
    with redact_urllib3_logs(file.url_secrets), new_session(settings) as session:

        def exchange() -> _OpenResponse:
            with file.translated_errors():
                # identity: the bytes are counted and stored as they are served
                request = requests.Request("GET", file.url, headers={"Accept-Encoding": "identity"})
                response = send_once(session, settings, request)
                body = b""
                if response.status_code != 200:
                    with response:
                        body = next(response.iter_content(_ERROR_BYTES), b"")
                return _OpenResponse(response.status_code, response.headers, body, response)

        opened = send_with_retries(exchange, Retries(DOWNLOAD, file.peer, settings.max_retries), log)
        if opened.status != 200:
            raise errors.error_for_status(DOWNLOAD, opened, peer=file.peer, secrets=file.secrets)
        with opened.response as response:
            _check_completeness_is_known(response, file.peer)
            yield _chunks(response, file)


@dataclass(frozen=True)
class _OpenResponse(ApiResponse):
    """A response whose body, the file, is not read yet; of an error, the beginning is."""

    response: requests.Response = field(repr=False)


class _PresignedFile:
    """
    A presigned URL as it is sent, its secrets masked before anything can log them.

    requests may spell the URL in another way than Crux Connect; urllib3 logs it at DEBUG as it is sent.
    """

    def __init__(self, url: str, settings: ConnectionSettings) -> None:
        try:
            self.url = str(requests.Request("GET", url).prepare().url)
        except requests.RequestException:
            raise errors.invalid_file_url("no request can be made from it") from None
        proxied = settings.proxy is not None or select_proxy(self.url, get_environ_proxies(self.url)) is not None
        self.peer = Peer(settings.name, file_host=urlsplit(self.url).netloc, proxied=proxied)
        self.url_secrets = tuple({*secrets_in_url(url), *secrets_in_url(self.url)})
        # a proxy on the way may echo its password
        self.secrets = (*self.url_secrets, *settings.secrets)
        for secret in self.url_secrets:
            mask_secret(secret)

    def translated_errors(self) -> AbstractContextManager[None]:
        return translated_errors(DOWNLOAD, peer=self.peer, secrets=self.secrets)


@contextmanager
def redact_urllib3_logs(secrets: tuple[str, ...]) -> Iterator[None]:
    """
    Remove secrets from what urllib3 logs.

    Masking alone is not enough: Airflow 3 with the LocalExecutor prints a task's log a second time, unmasked.
    """

    def redact(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        record.msg, record.args = text, ()
        return True

    urllib3_log = logging.getLogger("urllib3.connectionpool")
    urllib3_log.addFilter(redact)
    try:
        yield
    finally:
        urllib3_log.removeFilter(redact)


def _check_completeness_is_known(response: requests.Response, peer: Peer) -> None:
    """Reject a body that was changed on the way, or of which a part would look like the whole."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise errors.unverifiable_file("with a Content-Encoding that was not requested", peer=peer)
    # for example the login page of a proxy: storage serves files under other types, but never under this one
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise errors.unverifiable_file("with a web page instead of the file", peer=peer)
    if response.raw.length_remaining is None and not response.raw.chunked:
        raise errors.unverifiable_file(
            "without the file's length, so that a cut connection would look like the end", peer=peer
        )


def _chunks(response: requests.Response, file: _PresignedFile) -> Iterator[bytes]:
    """Yield the chunks of a file; reject what is no CSV file before the caller gets any of it."""
    # urllib3 compares the bytes with Content-Length, and notices if a chunked body lacks its last chunk
    with file.translated_errors():
        chunks = with_whole_header(response.iter_content(CHUNK_BYTES))
        beginning = next(chunks)
        content = read_header(beginning)
        if isinstance(content, OtherContent):
            peer = replace(file.peer, proxied=file.peer.proxied and content.from_proxy)
            raise errors.unverifiable_file(f"with {content.description}", peer=peer)
        yield beginning
        yield from chunks
