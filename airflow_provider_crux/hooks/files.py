"""
The file behind a presigned URL, with requests as transport, and with nothing of ours in the request but our name.

Which URL may be fetched and what a failure means is decided in :mod:`airflow_provider_crux.api.files`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow_provider_crux.api import files
from airflow_provider_crux.api.calls import Answer, Call
from airflow_provider_crux.hooks import transport

if TYPE_CHECKING:
    from requests import Response, Session

    from airflow_provider_crux.api.connection import ConnectionSettings

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 256 * 1024
"""How much of a file is in memory at a time."""

_REFUSAL_BYTES: Final = 4 * 1024


@contextmanager
def opened(url: str, settings: ConnectionSettings) -> Iterator[Iterator[bytes]]:
    """
    Open the file behind a presigned URL.

    Until the first bytes come, a failure that may pass is met by asking again, as for every other call; after that
    nothing is repeated, for the bytes that came cannot be taken back. No token, no cookie and nothing of ``~/.netrc``
    is sent: storage refuses a second authentication beside the one in the URL. Redirects are not followed.

    :param url: the presigned URL. Its secret parts are masked in Airflow's logs from here on.
    :param settings: of the connection: its timeouts, retries, certificates and proxy are used, its token is not.
    :returns: the bytes as they were served, in chunks of at most 256 KiB. Where they end without an error, they are
        the whole file.
    :raises CruxMalformedAnswerError: where the URL is neither https nor leads to this machine; nothing was sent.
    :raises CruxUrlLapsedError: where the URL opens the file no longer.
    :raises CruxUnavailableError: where storage cannot answer; while reading, where the connection was cut.
    :raises CruxError: for every other failure, see :mod:`airflow_provider_crux.exceptions`. No message shows the URL.
    """
    from tenacity import Retrying

    from airflow_provider_crux.api.repetition import repetition

    file = _File(files.checked_url(url), settings)
    with _unseen_in_logs(file.secrets_of_url), transport.new_session(settings) as session:
        again = Retrying(**repetition(files.FETCH, max_retries=settings.max_retries), before_sleep=_tell_of_wait)
        answer = again(_ask, files.FETCH, file, session, settings)
        if answer.status != 200:
            raise files.refused(answer, host=file.host, secrets=file.secrets)
        with answer.response as response:
            _check_form(response, file.host)
            yield _chunks(response, file)


class _File:
    """
    A presigned URL, as it will be sent, with its secrets masked before anything can log them.

    requests may spell a URL in another way than it came; urllib3 logs it at DEBUG as it is sent.
    """

    def __init__(self, url: str, settings: ConnectionSettings) -> None:
        import requests
        from airflow.providers.common.compat.sdk import mask_secret

        try:
            self.url = str(requests.Request("GET", url).prepare().url)
        except requests.RequestException:
            raise files.unusable("no request can be made of it") from None
        self.host = urlsplit(self.url).netloc
        self.secrets_of_url = tuple({*files.secrets_of(url), *files.secrets_of(self.url)})
        # a proxy on the way may repeat its password
        self.secrets = (*self.secrets_of_url, *settings.secrets)
        for secret in self.secrets_of_url:
            mask_secret(secret)


@contextmanager
def _unseen_in_logs(secrets: tuple[str, ...]) -> Iterator[None]:
    """
    Take the URL out of what urllib3 logs.

    Masking alone is not enough: Airflow 3 with the LocalExecutor prints what a task logs a second time, unmasked.
    """

    def hide(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        record.msg, record.args = text, ()
        return True

    urllib3 = logging.getLogger("urllib3.connectionpool")
    urllib3.addFilter(hide)
    try:
        yield
    finally:
        urllib3.removeFilter(hide)


@dataclass(frozen=True)
class _Opened(Answer):
    """An answer, and behind it the file, of which nothing is read yet."""

    response: Response = field(repr=False)


def _ask(_: Call, file: _File, session: Session, settings: ConnectionSettings) -> _Opened:
    """Ask for the file once, and read the answer as far as its headers; a refusal with the beginning of its body."""
    with _failures_told(file):
        response = session.get(
            file.url,
            # identity: the bytes are counted, and stored, as they are served
            headers={"Accept-Encoding": "identity"},
            **transport.options(session, settings),
        )
        body = b""
        if response.status_code != 200:
            with response:
                body = next(response.iter_content(_REFUSAL_BYTES), b"")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return _Opened(status=response.status_code, headers=headers, body=body, response=response)


def _check_form(response: Response, host: str) -> None:
    """Refuse a body that is not served as it is, or of which a part would look like the whole."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise files.not_whole("with a Content-Encoding that was not asked for", host=host)
    # a proxy's page to log in at, or the like: storage serves orders under other names, but never under this one
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise files.not_whole("with a web page in the file's place", host=host)
    if response.raw.length_remaining is None and not response.raw.chunked:
        raise files.not_whole(
            "without the file's length, so that a connection cut short would look like its end", host=host
        )


def _chunks(response: Response, file: _File) -> Iterator[bytes]:
    # urllib3 compares what came with Content-Length, and misses the last chunk of a chunked body
    with _failures_told(file):
        yield from response.iter_content(CHUNK_BYTES)


@contextmanager
def _failures_told(file: _File) -> Iterator[None]:
    """Turn what requests and urllib3 raise, in whose texts the URL may stand, into errors of ours."""
    from requests import RequestException
    from requests.exceptions import InvalidURL
    from urllib3.exceptions import HTTPError, LocationValueError

    try:
        yield
    except (InvalidURL, LocationValueError):
        raise files.unusable(f"no request can be made to {file.host!r}") from None
    except (RequestException, HTTPError) as error:
        told = files.not_trusted if transport.is_about_certificate(transport.cause_of(error)) else files.lost
        raise told(transport.reason_of(error), host=file.host, secrets=file.secrets) from None


def _tell_of_wait(state: Any) -> None:
    seconds = state.next_action.sleep
    if state.outcome.failed:
        log.info("Trying again in %.1f s: %s", seconds, state.outcome.exception())
    else:
        status = state.outcome.result().status
        log.info("The file's host answered %s: trying to %s again in %.1f s", status, files.FETCH.doing, seconds)
