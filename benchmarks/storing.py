"""
A file of 2 GiB, from a presigned URL to a path: our transfer against ``curl -o``, and the memory that it takes.

One process serves a generated CSV file over loopback http, in which every second field is quoted; one is an
S3-compatible server. Each value is that of a fresh process: ``python -m benchmarks.storing store URL PATH``.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from benchmarks import fresh
from benchmarks.figures import Goal, Row

ME = ("-m", "benchmarks.storing")
MIB = 1024 * 1024
LENGTH = 2048
TIMES = 3
HEADER = b"\xef\xbb\xbforder_uuid,name,address,notes,quantity\r\n"
ROW = (
    b'b9888421-594c-4d2f-9f0d-3b138a16c845,Ada Okafor,"1 Elm Street, Apt. 4","Call ahead.\n\nThen say ""hello""",1\r\n'
)


def serve() -> None:
    """Serve the file on a free port, which is printed, until the process is ended."""
    block = ROW * (MIB // len(ROW))
    blocks = LENGTH * MIB // len(block)

    class File(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(HEADER) + blocks * len(block)))
            self.end_headers()
            self.wfile.write(HEADER)
            for _ in range(blocks):
                self.wfile.write(block)

        def log_message(self, *_: object) -> None:
            """Say nothing: the standard library's line would be among the figures."""

    server = HTTPServer(("127.0.0.1", 0), File)
    print(server.server_port, flush=True)
    server.serve_forever()


def serve_s3() -> None:
    """Run an S3-compatible server on a free port, which is printed, until the process is ended."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each part else
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()


def store(url: str, path: str) -> None:
    """Fetch and store, and print what it took. A first small file bears what does not depend on the size."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.settings import ConnectionSettings
    from airflow_provider_crux.hooks.files import opened
    from airflow_provider_crux.transfers import storage

    def peak() -> float:
        # not ru_maxrss, which begins with what this process's parent had
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

    target = ObjectStoragePath(path)
    storage.store([HEADER, ROW], target)
    before, began = peak(), time.monotonic()
    with opened(url, ConnectionSettings(base_url="", username=None, secret="")) as chunks:
        stored = storage.store(chunks, target)
    seconds = time.monotonic() - began
    print(json.dumps({"MiB/s": stored.bytes / MIB / seconds, "MiB": peak() - before}))


def curl(url: str, path: str) -> float:
    """Return how many MiB/s curl stores. It tells the disk nothing; ours waits until the file is on it."""
    began = time.monotonic()
    subprocess.run(["curl", "--silent", "--fail", "--noproxy", "*", "-o", path, url], check=True)
    subprocess.run(["sync", path], check=True)
    return os.path.getsize(path) / MIB / (time.monotonic() - began)  # noqa: PTH202 - as curl names it


def rows() -> list[Row]:
    """Measure."""
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        fresh.serving(*ME, "serve") as port,
        fresh.serving(*ME, "serve-s3") as s3,
    ):
        url, file = f"http://127.0.0.1:{port}/orders.csv", f"{folder}/orders.csv"
        for _ in range(TIMES):
            ours.append(fresh.value_of(*ME, "store", url, f"file://{file}"))
            Path(file).unlink()
            theirs.append(curl(url, file))
            Path(file).unlink()
        in_s3 = fresh.value_of(*ME, "store", url, "s3://loopback@exports/orders.csv", env=s3_connection(s3))
    return [
        Row(
            "2 GiB to a disk",
            "MiB/s",
            [each["MiB/s"] for each in ours],
            "`curl -o`",
            theirs,
            Goal(0.8, at_least=True),
        ),
        Row("memory for it beyond the idle process", "MiB", [each["MiB"] for each in ours], goal=Goal(64)),
        Row("memory for 2 GiB to an S3-compatible server", "MiB", [in_s3["MiB"]], goal=Goal(64)),
    ]


def s3_connection(port: int) -> dict[str, str]:
    """Make a bucket, and return the connection to it."""
    import boto3

    keys = {"login": "loopback-key", "password": "loopback-secret"}
    extra = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    boto3.client("s3", **extra, aws_access_key_id=keys["login"], aws_secret_access_key=keys["password"]).create_bucket(
        Bucket="exports"
    )
    patient = {**extra, "config_kwargs": {"read_timeout": 600}}  # moto puts the parts together for long
    return {"AIRFLOW_CONN_LOOPBACK": json.dumps({"conn_type": "aws", **keys, "extra": patient})}


if __name__ == "__main__":
    {"serve": serve, "serve-s3": serve_s3, "store": store}[sys.argv[1]](*sys.argv[2:])
