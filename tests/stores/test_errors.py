"""What a task says if a store says no: the path, the connection and the remedy, on every store and in both tasks."""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
import traceback
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import boto3
import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_crux.files import atomic_write
from airflow_provider_crux.files import store as store_module
from airflow_provider_crux.files.csv import copy_csv
from tests.operators.lake import find_gaps
from tests.stores.refusals import GOOGLE_MESSAGES, connected, container_sas, refusing_google
from tests.stores.relay import Request, Response, Send, relay
from tests.stores.servers import Azure
from tests.transfers.transfer import FILE_PATH, context_with, done_uuid, make_operator, resume, statuses, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_crux.sandbox.state import Sandbox
    from tests.stores.servers import S3, Store

__all__ = ["context_with", "done_uuid", "find_gaps"]

PERMISSIONS = "correct it, or grant it the permission to list, read, write and delete there"

on_azure = pytest.mark.parametrize("running_store", ["azure"], indirect=True, scope="session")
on_s3 = pytest.mark.parametrize("running_store", ["s3"], indirect=True, scope="session")
with_containers = pytest.mark.parametrize("running_store", ["azure", "gcs", "s3"], indirect=True, scope="session")


@pytest.fixture(params=["store", "store, resumed", "coverage"])
def run(request, held_sandbox: Sandbox, done_uuid: str, context_with, find_gaps) -> Callable[..., Exception]:
    """Return a function that runs a task with a path, and returns its error; nothing may have been downloaded."""

    def execute(path: str, **arguments: Any) -> None:
        if request.param == "coverage":
            find_gaps(path)
        elif request.param == "store":
            make_operator(done_uuid, path, **arguments).execute(context_with())
        else:
            operator = make_operator(done_uuid, path, deferrable=True, **arguments)
            resume(operator, context_with(), export_uuid=done_uuid, state="done")

    def run_task(path: str, **arguments: Any) -> Exception:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests check it
            execute(path, **arguments)
        assert statuses(held_sandbox, FILE_PATH) == []
        return caught.value

    return run_task


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the libraries try again at once: gcsfs and Azure's would take half a minute and more."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _, result=None: sleep(0, result))


@pytest.mark.parametrize("overwrite", [False, True])
@with_containers
def test_a_container_that_does_not_exist_fails_before_the_download(store: Store, run, *, overwrite: bool) -> None:
    error = run(store.url("orders/a.csv", "no-such-container"), overwrite=overwrite)
    word = "container" if isinstance(store, Azure) else "bucket"
    assert isinstance(error, AirflowFailException)
    assert str(error) == (
        f"path: '{store.url('orders/a.csv', 'no-such-container')}': the {word} 'no-such-container' does not exist; "
        "create it, or correct the path"
    )
    assert "<?xml" not in "".join(traceback.format_exception(error))


# What the store does not accept: retried, because keys are rotated, and permissions take minutes to take effect.


def check_refusal(error: Exception, url: str, *reasons: str) -> None:
    assert type(error) is PermissionError
    message = str(error)
    conn_id = url.partition("://")[2].partition("@")[0]
    assert message.startswith(f"path: '{url}': the store does not accept connection '{conn_id}' (")
    assert message.endswith(f"); {PERMISSIONS}")
    for reason in reasons:
        assert reason in message
    for foreign in ("<", "\n", "127.0.0.1", "RequestId"):
        assert foreign not in message


@on_azure
def test_azure_with_a_wrong_key(store: Azure, run, monkeypatch, logged) -> None:
    other_key = Azure(store.endpoint, base64.b64encode(secrets.token_bytes(64)).decode())
    url = connected(other_key, monkeypatch).url("orders/a.csv")
    error = run(url)
    check_refusal(error, url, "Server failed to authenticate the request", "HTTP 403 Authorization")
    check_secrets(error, logged(), other_key.key, other_key.connection_string)


@pytest.mark.parametrize("permissions", ["w", "rl"])
@on_azure
def test_azure_with_a_key_that_lacks_a_permission(  # noqa: PLR0917 - fixtures
    store: Azure, permissions: str, held_sandbox: Sandbox, done_uuid: str, context_with, monkeypatch, logged
) -> None:
    extra = container_sas(store, permissions)
    url = connected(store, monkeypatch, extra=extra).url("orders/a.csv")
    with pytest.raises(PermissionError) as caught:
        make_operator(done_uuid, url).execute(context_with())
    check_refusal(caught.value, url, "not authorized to perform this operation", "PermissionMismatch")
    signature = extra["connection_string"].partition("sig=")[2].rstrip(";")
    check_secrets(caught.value, logged(), extra["connection_string"], signature, unquote(signature))
    assert statuses(held_sandbox, FILE_PATH) == ([] if permissions == "w" else [200])
    assert store.names() == []


@pytest.mark.parametrize("overwrite", [False, True])
@on_azure
def test_azure_with_a_key_for_one_container(
    store: Azure, done_uuid: str, context_with, monkeypatch, *, overwrite: bool
) -> None:
    """It cannot read the properties of the container, and needs not."""
    url = connected(store, monkeypatch, extra=container_sas(store, "rwdl")).url("orders/a.csv")
    make_operator(done_uuid, url, overwrite=overwrite, manifest=True).execute(context_with())
    assert store.names() == ["orders/_a.csv.manifest.json", "orders/a.csv"]


@pytest.fixture
def strict_s3(store: S3) -> Iterator[S3]:
    """Let S3 check keys and permissions, as a real one does."""
    reset = f"{store.endpoint}/moto-api/reset-auth"
    requests.post(reset, data=b"0", timeout=10).raise_for_status()
    yield store
    requests.post(reset, data=b"inf", timeout=10).raise_for_status()


@on_s3
def test_s3_with_a_wrong_key(strict_s3: S3, run, logged) -> None:
    url = strict_s3.url("orders/a.csv")
    error = run(url)
    check_refusal(error, url, "HTTP 403")
    check_secrets(error, logged(), strict_s3.secret_key)


@pytest.fixture
def key_of_ada(store: S3) -> Iterator[dict[str, str]]:
    """Return the key of a user without any permission."""
    keys = {"aws_access_key_id": store.key_id, "aws_secret_access_key": store.secret_key}
    iam = boto3.client("iam", endpoint_url=store.endpoint, region_name="us-east-1", **keys)
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    yield key
    iam.delete_access_key(UserName="ada", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="ada")


@on_s3
def test_s3_without_a_permission(key_of_ada, strict_s3: S3, run, monkeypatch, logged) -> None:
    logged()  # how the key was made
    secret = key_of_ada["SecretAccessKey"]
    url = connected(strict_s3, monkeypatch, login=key_of_ada["AccessKeyId"], password=secret).url("orders/a.csv")
    error = run(url)
    check_refusal(error, url, "HTTP 403")
    check_secrets(error, logged(), secret)


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize(("status", "tries"), [(401, 6), (403, 1)])
def test_google_with_a_wrong_key_or_without_a_permission(run, monkeypatch, status: int, tries: int) -> None:
    with refusing_google(status) as google:
        url = connected(google.store, monkeypatch).url("orders/a.csv")
        error = run(url)
        check_refusal(error, url, GOOGLE_MESSAGES[status][:150], f"HTTP {status}")
        paths = [request.path for request in google.requests]
        assert paths.count(paths[0]) == tries


@pytest.mark.usefixtures("without_waiting")
def test_a_store_that_fails_is_no_gap_and_is_retried(run, monkeypatch) -> None:
    with refusing_google(503) as google:
        url = connected(google.store, monkeypatch).url("orders/a.csv")
        error = run(url)
        assert type(error) is OSError
        assert str(error) == f"path: '{url}': the store failed (Backend Error, 503; HTTP 503)"


HTML = b"<html>no backend</html>"
PROXY = {
    "azure-404": Response(404, (("Content-Type", "text/html"),), HTML),
    "gcs-200": Response(200, (("Content-Type", "text/html"),), HTML),
    "gcs-503": Response(503, (("Content-Type", "text/plain"),), b"the upstream sent an invalid response"),
}


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize(("running_store", "response"), [key.split("-") for key in PROXY], indirect=["running_store"])
def test_a_response_of_a_proxy_is_no_gap_and_is_retried(store: Store, run, monkeypatch, response: str) -> None:
    store.put("orders/b.csv", b"12345678")
    with relay(store.endpoint, lambda *_: PROXY[f"{store.name}-{response}"]) as proxy:
        behind = copy(store)
        behind.endpoint = proxy.url
        error = run(connected(behind, monkeypatch).url("orders/a.csv"))
    assert isinstance(error, OSError)


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize("running_store", ["gcs"], indirect=True, scope="session")
def test_nothing_names_the_url_of_an_upload_to_google(  # noqa: PLR0917 - fixtures
    store: Store, done_uuid: str, context_with, monkeypatch, caplog, status: int
) -> None:
    """Whoever has this URL can continue the upload, and here it cannot be aborted."""
    ids = set()

    def refuse(request: Request, send: Send) -> Response:
        if "upload_id" not in request.query:
            return send(request)
        ids.add(request.query["upload_id"])
        return Response(status, (("Content-Type", "text/plain"),), b"invalid")

    monkeypatch.setattr(atomic_write, "_PART_BYTES", 256 * 1024)
    monkeypatch.setattr(store_module, "copy_csv", more_than_one_part)
    with relay(store.endpoint, refuse) as proxy:
        behind = copy(store)
        behind.endpoint = proxy.url
        with pytest.raises(OSError, match=r"path: 'gs://.*\((invalid|http://\*\*\*)(; HTTP 403)?\)") as caught:
            make_operator(done_uuid, connected(behind, monkeypatch).url("orders/a.csv")).execute(context_with())
    (upload_id,) = ids
    messages = [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]  # of gcsfs itself
    assert any("Could not abort the upload" in message for message in messages)
    assert upload_id not in "".join([*traceback.format_exception(caught.value), *messages])


def more_than_one_part(stream: Any, sink: Any, **arguments: Any) -> Any:
    sink.write(b"x" * 1024 * 1024)
    return copy_csv(stream, sink, **arguments)


@pytest.mark.usefixtures("without_waiting")
@with_containers
def test_a_store_that_cannot_be_reached_is_no_gap_and_is_retried(store: Store, run, monkeypatch) -> None:
    with refusing_google(503) as google:
        nobody = copy(store)
        nobody.endpoint = google.store.endpoint
    error = run(connected(nobody, monkeypatch).url("orders/a.csv"))
    assert not isinstance(error, AirflowFailException)
    assert "onnect" in str(error)


# What cannot be opened: not retried, because a person must change something.


def check_failure(error: Exception, *parts: str) -> None:
    assert type(error) is AirflowFailException
    for part in parts:
        assert part in str(error)


AZURE_REMEDY = (
    "connection 'incomplete' may be incomplete: give it the extra connection_string, or the extra account_name besides "
    "login and password, because the login is not used here"
)


@pytest.mark.parametrize(
    "fields",
    [
        {"login": "loopback", "password": "a2V5IG9mIHRoZSBhY2NvdW50", "host": "127.0.0.1:9"},
        {},
        {"extra": {"connection_string": "AccountKey=a2V5IG9mIHRoZSBhY2NvdW50"}},
    ],
    ids=["login and key", "nothing", "connection string"],
)
def test_azure_with_incomplete_credentials(run, connect, fields: dict[str, Any], logged) -> None:
    connect("incomplete", conn_type="wasb", **fields)
    error = run("abfs://incomplete@exports/orders/a.csv")
    check_failure(error, "path: 'abfs://incomplete@exports/orders/a.csv' cannot be opened (", AZURE_REMEDY)
    check_secrets(error, logged(), "a2V5IG9mIHRoZSBhY2NvdW50")


def test_azure_without_the_id_of_a_connection(run, monkeypatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    check_failure(
        run("abfs://exports/orders/a.csv"),
        "; the credentials of the environment may be incomplete: name a connection in the path "
        "(abfs://conn_id@exports/key), or correct these credentials",
    )


def test_azure_with_a_key_that_is_none(run, connect, logged) -> None:
    account = "AccountName=loopback;AccountKey=notbase64;BlobEndpoint=http://127.0.0.1:9/loopback;"
    connect("incomplete", conn_type="wasb", extra={"connection_string": f"DefaultEndpointsProtocol=http;{account}"})
    error = run("abfs://incomplete@exports/orders/a.csv")
    check_refusal(error, "abfs://incomplete@exports/orders/a.csv", "Invalid base64-encoded string")
    check_secrets(error, logged(), "notbase64")


def test_google_without_credentials(run, connect, monkeypatch) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    connect("incomplete", conn_type="google_cloud_platform")
    url = "gs://incomplete@exports/orders/a.csv"
    check_refusal(run(url), url, "Your default credentials were not found")


@pytest.mark.parametrize("scheme", ["abfs", "gs"])
def test_a_connection_that_does_not_exist(run, scheme: str) -> None:
    check_failure(
        run(f"{scheme}://no_such@exports/orders/a.csv"),
        f"path: '{scheme}://no_such@exports/orders/a.csv': The conn_id `no_such` isn't defined; create this connection",
    )


LIBRARIES = {
    "adlfs": ("abfs", "wasb", "apache-airflow-providers-microsoft-azure"),
    "gcsfs": ("gs", "google_cloud_platform", "apache-airflow-providers-google"),
    "s3fs": ("s3", "aws", "'apache-airflow-providers-amazon[s3fs]'"),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_is_not_installed(run, connect, monkeypatch, library: str) -> None:
    scheme, conn_type, package = LIBRARIES[library]
    conn_id = f"without_{library}"  # Airflow keeps what it opened, by this id
    connect(conn_id, conn_type=conn_type, login="loopback", password="a password", extra={"is_anonymous": True})
    monkeypatch.setitem(sys.modules, library, None)
    check_failure(run(f"{scheme}://{conn_id}@exports/orders/a.csv"), f"; install its package: pip install {package}")


def check_secrets(error: BaseException, log: str, *secrets: str) -> None:
    """Check that nothing shows a secret: neither the error, nor what is behind it, nor the log."""
    shown = texts_of(error) + log
    for secret in secrets:
        assert len(secret) > 8  # or else it may be in any text
        assert secret not in shown
