"""A real S3-compatible server on loopback, because a fake would not show what an aborted upload leaves behind."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "exports"


class ObjectStore(NamedTuple):
    """
    A running S3.

    :param client: boto3's client, which sees the store without the code under test.
    :param connection: an Airflow connection to it, as JSON; its id is ``aws_loopback``.
    """

    client: Any
    connection: str

    def names(self) -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def pending_uploads(self) -> list[str]:
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def content(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


@contextmanager
def running_moto() -> Iterator[str]:
    """Run moto, and return its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def running_s3() -> Iterator[ObjectStore]:
    with running_moto() as url:
        endpoint = {"endpoint_url": url, "region_name": "us-east-1"}
        keys = {"aws_access_key_id": "loopback-key", "aws_secret_access_key": "loopback-secret"}
        connection = {"conn_type": "aws", "login": "loopback-key", "password": "loopback-secret", "extra": endpoint}
        yield ObjectStore(boto3.client("s3", **endpoint, **keys), json.dumps(connection))


@pytest.fixture
def s3(running_s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Return the store with an empty bucket, and set an Airflow connection to it."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_LOOPBACK", running_s3.connection)
    client = running_s3.client
    client.create_bucket(Bucket=BUCKET)
    yield running_s3
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    for name in running_s3.names():
        client.delete_object(Bucket=BUCKET, Key=name)
    client.delete_bucket(Bucket=BUCKET)
