"""Each failure of a request as an error: its class, what it says happened, and the remedy."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from airflow_provider_crux import exceptions
from airflow_provider_crux.api import errors
from airflow_provider_crux.api.errors import Peer
from airflow_provider_crux.api.redaction import secrets_in_url
from airflow_provider_crux.api.requests import (
    DOWNLOAD,
    REQUEST_EXPORT,
    Action,
    ApiResponse,
)
from airflow_provider_crux.api.settings import connection_name

GET_EXPORT = Action("get the status of the export")
SECRET = "hunter2hunter2"
CRUX = Peer(connection_name("crux_eu"))
FILE_HOST = Peer(connection_name("crux_eu"), file_host="files.example:443")

QUERY = "X-Amz-Credential=AKIAEXAMPLE%2F20260102&X-Amz-Signature=0f1e2d3c4b5a69788796a5b4c3d2e1f0"
URL = f"https://files.example/exports/orders.csv?{QUERY}"


def error_for_status(action: Action, status: int) -> exceptions.CruxError:
    echo = f"<pre>Authorization: Token {SECRET}</pre> {SECRET}".encode()
    response = ApiResponse(status=status, headers={"content-type": "text/html"}, body=echo)
    return errors.error_for_status(action, response, peer=CRUX, secrets=[SECRET])


@pytest.mark.parametrize(
    ("status", "error_class", "remedy"),
    [
        (400, exceptions.CruxRequestRejectedError, "Check the arguments of the task"),
        (401, exceptions.CruxAuthenticationError, "Correct the API token, or the login and password, of {connection}"),
        (403, exceptions.CruxPermissionDeniedError, "{connection} needs the permission export_order"),
        (
            404,
            exceptions.CruxNotFoundError,
            "Change the connection's api_version from 'api' to 'v1' or 'timp', or check",
        ),
        (415, exceptions.CruxUnsupportedMediaTypeError, "JSON body was changed on the way"),
        (405, exceptions.CruxRequestRejectedError, "Check the host of {connection}"),
        (409, exceptions.CruxRequestRejectedError, "Check the host of {connection}"),
        (422, exceptions.CruxRequestRejectedError, "Check the arguments of the task"),
        (302, exceptions.CruxInvalidResponseError, "Redirects are not followed"),
        (429, exceptions.CruxRateLimitError, "Airflow pool"),
        (500, exceptions.CruxAmbiguousError, "may send a second e-mail"),
        (502, exceptions.CruxAmbiguousError, "may send a second e-mail"),
        (503, exceptions.CruxAmbiguousError, "may send a second e-mail"),
        (504, exceptions.CruxAmbiguousError, "may send a second e-mail"),
    ],
)
def test_each_status_has_its_class_and_a_remedy_and_shows_no_secret(status, error_class, remedy) -> None:
    error = error_for_status(REQUEST_EXPORT, status)
    assert type(error) is error_class
    message = str(error)
    assert message.startswith(f"Could not request an export of orders: Crux Connect returned HTTP {status} (text/html")
    assert remedy.format(connection="connection 'crux_eu'") in message
    assert SECRET not in message
    # Airflow passes errors between processes
    assert str(pickle.loads(pickle.dumps(error))) == message


def test_an_unavailable_service_that_says_when_to_come_back_has_not_processed_the_request() -> None:
    response = ApiResponse(status=503, headers={"retry-after": "7"}, body=b"")
    error = errors.error_for_status(REQUEST_EXPORT, response, peer=CRUX)
    assert type(error) is exceptions.CruxUnavailableError
    assert str(error).endswith(". Try again later")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_request_for_a_status_is_never_ambiguous(status: int) -> None:
    assert isinstance(error_for_status(GET_EXPORT, status), exceptions.CruxTransientError)
    assert isinstance(errors.response_lost(GET_EXPORT, "reset", peer=CRUX), exceptions.CruxTransientError)


@pytest.mark.parametrize(
    ("status", "error_class", "remedy"),
    [
        (403, exceptions.CruxUrlExpiredError, "The presigned URL has expired: request a new one"),
        (
            404,
            exceptions.CruxUnavailableError,
            "Try again later; if it fails again, the file is gone: request a new export",
        ),
        (407, exceptions.CruxRequestRejectedError, "Check the user and the password of the proxy"),
        *((status, exceptions.CruxUnavailableError, "Try again later") for status in (408, 429, 500, 502, 503, 504)),
        *(
            (
                status,
                exceptions.CruxUnavailableError,
                "Try again later; if it fails again, ask Crux Connect for the reason",
            )
            for status in (204, 206, 301, 302, 307, 400, 401, 405, 410, 416)
        ),
    ],
)
def test_each_status_of_a_download_has_its_class_and_a_remedy_and_shows_no_secret(
    status: int, error_class: type[exceptions.CruxError], remedy: str
) -> None:
    body = f"<Error><Code>No</Code><Request>{QUERY}</Request></Error>".encode()
    response = ApiResponse(status=status, headers={"content-type": "application/xml"}, body=body)
    error = errors.error_for_status(DOWNLOAD, response, peer=FILE_HOST, secrets=secrets_in_url(URL))
    assert type(error) is error_class
    message = str(error)
    assert f"files.example:443 returned HTTP {status} (application/xml: '<Error><Code>No</Code>" in message
    assert message.endswith(f". {remedy}")
    assert "Amz" not in message


@pytest.mark.parametrize("make", [errors.connection_failed, errors.certificate_rejected, errors.invalid_request_url])
@pytest.mark.parametrize(("action", "peer"), [(REQUEST_EXPORT, CRUX), (DOWNLOAD, FILE_HOST)], ids=["API", "file"])
def test_a_request_that_was_not_sent_says_so_and_names_the_connection(make, action: Action, peer: Peer) -> None:
    message = str(make(action, f"reason {SECRET}", peer=peer, secrets=[SECRET]))
    assert message.startswith(f"Could not {action.text}: ")
    assert "(reason ***). Nothing was sent. Check th" in message
    names_storage = make is errors.connection_failed and peer is FILE_HOST
    assert ("files.example:443." if names_storage else "connection 'crux_eu'") in f"{message}."
    assert "proxy" not in message or make is errors.invalid_request_url


def test_a_download_that_was_cut_off_stores_nothing_and_may_be_tried_again() -> None:
    error = errors.response_lost(DOWNLOAD, f"reset {SECRET}", peer=FILE_HOST, secrets=[SECRET])
    assert isinstance(error, exceptions.CruxUnavailableError)
    assert "the download from files.example:443 was incomplete (reset ***). Nothing was stored" in str(error)


def test_a_message_about_a_file_names_a_proxy_only_if_there_is_one() -> None:
    response = ApiResponse(status=307, headers={}, body=b"")
    for proxied in (False, True):
        peer = replace(FILE_HOST, proxied=proxied)
        for error in (
            errors.error_for_status(DOWNLOAD, response, peer=peer),
            errors.response_lost(DOWNLOAD, "reset", peer=peer),
            errors.unverifiable_file("with an empty file", peer=peer),
        ):
            assert ("proxy" in str(error)) is proxied


def test_a_url_signed_with_credentials_that_expired_has_expired_too() -> None:
    body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    response = ApiResponse(status=400, headers={}, body=body)
    error = errors.error_for_status(DOWNLOAD, response, peer=FILE_HOST)
    assert isinstance(error, exceptions.CruxUrlExpiredError)


def test_every_error_is_of_one_kind_and_in_the_tree_of_the_docstring() -> None:
    classes = [error for error in vars(exceptions).values() if isinstance(error, type)]
    kinds = exceptions.CruxError.__subclasses__()
    assert len(kinds) == 5
    for error in classes:
        assert f" {error.__name__}" in (exceptions.__doc__ or "")
        if error is not exceptions.CruxError:
            assert sum(issubclass(error, kind) for kind in kinds) == 1


@pytest.mark.parametrize(("peer", "named"), [(CRUX, True), (FILE_HOST, False)], ids=["api", "file host"])
def test_a_server_without_tls_is_not_a_matter_of_the_network(peer: Peer, *, named: bool) -> None:
    reason = "SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number"
    message = str(errors.connection_failed(GET_EXPORT, reason, peer=peer))
    assert message.endswith("for the sandbox, put http:// before the host") == named
