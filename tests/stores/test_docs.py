"""What the pages about stores say, run against the servers: only the address and the credentials are replaced."""

from __future__ import annotations

import copy
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp.connector
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import self_signed_certificate
from tests.stores.servers import S3, Azure, Disk, GoogleCloudStorage, Store, running_azurite
from tests.test_docs import FENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
HEADINGS = {"azure": "Azure Blob Storage", "gcs": "Google Cloud Storage", "s3": "S3", "disk": "A disk"}
CONNECTION = re.compile(r"^export (AIRFLOW_CONN_\w+)='(.*?)'$", re.MULTILINE | re.DOTALL)
DAY = "dt=2026-01-02"


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks in a language."""
    return [block[3] for block in FENCE.finditer(text) if block[2] == language]


def section(store: Store) -> str:
    """Return what stores.md says about a store."""
    _, _, text = (DOCS / "stores.md").read_text().partition(f"\n## {HEADINGS[store.name]}\n")
    return text.partition("\n## ")[0]


def connections(store: Store) -> list[tuple[str, str]]:
    """Return the variables and the values of the connections in a store's section."""
    return [pair for block in blocks(section(store), "") for pair in CONNECTION.findall(block)]


def path_of_page(store: Store) -> str:
    (statement,) = blocks(section(store), "python")
    names: dict[str, str] = {}
    exec(statement, names)
    return names["path"]


def path_of_lake(store: Store) -> str:
    page = (DOCS / "lake.md").read_text()
    (path,) = re.findall(rf"^\| \[{HEADINGS[store.name]}\]\(\S+\) \| `(.+)` \|$", page, re.MULTILINE)
    return path


@pytest.fixture
def pages_store(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return a store with the container, or the folder, of the pages; an account of Azure, whose URL is HTTPS."""
    if not isinstance(store, Azure):
        with container_of_pages(store) as own:
            yield own
        return
    _, certificate = self_signed_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))  # of the tests' own client
    aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(certificate)  # of adlfs; made at its import
    options = ("--cert", str(certificate), "--key", str(certificate.with_name("key.pem")))
    with running_azurite(*options) as azure, container_of_pages(azure) as own:
        yield own


@contextmanager
def container_of_pages(store: Store) -> Iterator[Store]:
    own = copy.copy(store)
    own.container = "orders"  # type: ignore[misc] - the other tests use another one
    own.create_container(own.container)
    yield own
    own.delete_container(own.container)


@pytest.fixture
def run_page(sandbox, connect, make_context):
    """Return a function that runs the DAG of a page for a day, with another path."""
    connect(host=sandbox.url, password=sandbox.settings.token, extra={"hash_key": "a key of this test"})

    def run(page: str, path: str, store: Store) -> None:
        if isinstance(store, Disk):
            path = path.replace("file:///data", f"file://{store.endpoint}")
        names: dict[str, Any] = {"__name__": "example"}
        source = next(block for block in blocks((DOCS / page).read_text(), "python") if "with DAG(" in block)
        source, replaced = re.subn(r'path="[^"]+"', f'path="{path}"', source)
        assert replaced == 1
        exec(source, names)
        export, task = (names["export"].dag.get_task(name) for name in ("export", "store"))
        export.interval_start, export.interval_end = "2026-01-02", "2026-01-03"
        task.outlets = []
        context = make_context(dag=export.dag, params={})
        task.export_uuid = export.execute(context)
        task.execute(make_context(upstream=[context["ti"].pushed["export_interval"]]))

    return run


@pytest.fixture
def key_file(tmp_path: Path) -> Iterator[Path]:
    """Return the key file of a service account of Google; a server on loopback issues its tokens."""

    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"access_token": "a token of this test", "expires_in": 3600, "token_type": "Bearer"}')

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "key.json"
    with ThreadingHTTPServer(("127.0.0.1", 0), Tokens) as server:
        threading.Thread(target=server.serve_forever).start()
        account = {"type": "service_account", "client_email": "lake@loopback", "private_key": key.decode()}
        path.write_text(json.dumps({**account, "token_uri": f"http://127.0.0.1:{server.server_port}/"}))
        yield path
        server.shutdown()


def fill(value: str, store: Store, key_file: Path) -> str:
    """Return the value of a connection with the credentials of the server, and with its address."""
    placeholders, address = {
        Azure: lambda azure: (
            {"connection string": azure.connection_string, "account": azure.account, "key": azure.key},
            {"account_host": f"{azure.endpoint.removeprefix('https://')}/{azure.account}"},
        ),
        GoogleCloudStorage: lambda gcs: ({"path of the key file": str(key_file)}, {"gcs.endpoint": gcs.endpoint}),
        S3: lambda s3: (
            {"key id": s3.key_id, "secret key": s3.secret_key, "URL": s3.endpoint},
            {"endpoint_url": s3.endpoint},
        ),
    }[type(store)](store)
    for placeholder, text in placeholders.items():
        value = value.replace(f"<{placeholder}>", text)
    assert "<" not in value
    connection = json.loads(value)
    return json.dumps({**connection, "extra": {**connection["extra"], **address}})


def test_each_connection_of_the_page_stores_a_file_at_its_path(
    pages_store: Store, run_page, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = connections(pages_store)
    assert len(documented) == {"azure": 2, "gcs": 1, "s3": 2, "disk": 0}[pages_store.name]
    conn_id = urlsplit(path_of_page(pages_store)).username or ""
    for number, (variable, value) in enumerate(documented or [("AIRFLOW_CONN_", "")]):
        assert variable == f"AIRFLOW_CONN_{conn_id.upper()}"
        if value:
            # another id for each, because Airflow opens a store once in a process
            monkeypatch.setenv(f"{variable}_{number}", fill(value, pages_store, key_file))
        path = path_of_page(pages_store).replace(f"{conn_id}@", f"{conn_id}_{number}@")
        run_page("storing.md", path, pages_store)
        assert pages_store.names() == [f"{DAY}/orders.csv"]
        assert b"order_uuid" in pages_store.content(f"{DAY}/orders.csv")
        pages_store.delete(f"{DAY}/orders.csv")


def test_the_path_of_the_lake_is_right_for_each_store(store: Store, run_page) -> None:
    path = path_of_lake(store)
    assert path == path_of_page(store).replace(".csv", ".parquet")
    with container_of_pages(store) as lake:
        run_page("lake.md", path.replace(f"{urlsplit(path).username}@", f"{store.conn_id}@"), lake)
        assert lake.names() == sorted([f"{DAY}/orders.parquet", f"{DAY}/_orders.parquet.manifest.json"])


def test_the_first_table_names_the_paths_of_the_sections(store: Store) -> None:
    """The connection, the container and the key are those of the example."""
    page = (DOCS / "stores.md").read_text()
    (pattern,) = re.findall(rf"^\| \[{HEADINGS[store.name]}\].*? \| `(.+?)` \|", page, re.MULTILINE)
    words = {"conn_id": r"\w+", "container": "orders", "bucket": "orders", "folder": "data/orders", "key": ".+"}
    assert re.fullmatch(re.sub(r"\w+", lambda word: words.get(word[0], word[0]), pattern), path_of_page(store))


def test_s3_accepts_the_lifecycle_rule(store: Store) -> None:
    if not isinstance(store, S3):
        assert blocks(section(store), "json") == []
        return
    (rule,) = (json.loads(block) for block in blocks(section(store), "json"))
    store.client.put_bucket_lifecycle_configuration(Bucket=store.container, LifecycleConfiguration=rule)
    assert store.client.get_bucket_lifecycle_configuration(Bucket=store.container)["Rules"] == rule["Rules"]
