"""
Measures how our transfer stores a file of 2 GiB from a presigned URL: its speed, compared with ``curl -o``, and memory.

One process serves a generated CSV file over HTTP on loopback, with quotes in every second field; another is an
S3-compatible server. A new process measures each value: ``python -m benchmarks.storing store URL PATH``.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from benchmarks.results import Goal, Row
from benchmarks.subprocesses import run_python, running_server

COMMAND = ("-m", "benchmarks.storing")
MIB = 1024 * 1024
FILE_MIB = 2048
ROUNDS = 3
HEADER = b"\xef\xbb\xbforder_uuid,name,address,notes,quantity\r\n"
ROW = (
    b'b9888421-594c-4d2f-9f0d-3b138a16c845,Ada Okafor,"1 Elm Street, Apt. 4","Call ahead.\n\nThen say ""hello""",1\r\n'
)


def serve() -> None:
    """Serve the file on a free port, print the port, and run until the process is killed."""
    block = ROW * (MIB // len(ROW))
    blocks = FILE_MIB * MIB // len(block)

    class FileHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(HEADER) + blocks * len(block)))
            self.end_headers()
            self.wfile.write(HEADER)
            for _ in range(blocks):
                self.wfile.write(block)

        def log_message(self, *_: object) -> None:
            """Log nothing, because it would appear among the results."""

    server = HTTPServer(("127.0.0.1", 0), FileHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


def serve_s3() -> None:
    """Run an S3-compatible server on a free port, print the port, and run until the process is killed."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs a line for each part otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()


def peak_memory() -> float:
    """Return the peak memory of this process in MiB. ``ru_maxrss`` would include that of the parent process."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def store(url: str, path: str) -> None:
    """Download and store the file, and print speed and memory. A small file first loads what any size needs."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_crux.api.exports import SubmittedExport
    from airflow_provider_crux.api.responses import Export
    from airflow_provider_crux.api.settings import ConnectionSettings
    from airflow_provider_crux.files.store import FileOptions, StoredFile
    from airflow_provider_crux.files.store import store as store_file
    from airflow_provider_crux.transport.download import open_file

    def save(chunks: Iterable[bytes]) -> StoredFile:
        return store_file(
            chunks, ObjectStoragePath(path), options=FileOptions(), submitted=SubmittedExport(export.uuid, None, None)
        )

    export = Export(uuid="00000000-0000-4000-8000-000000000000", status="complete", url=url)
    save([HEADER, ROW])
    memory_before, start = peak_memory(), time.monotonic()
    # the API on the same machine, or else the file's URL is rejected
    settings = ConnectionSettings(base_url=url.rpartition("/")[0], name="the benchmark", username=None, secret="")
    with open_file(export, settings) as chunks:
        save(chunks)
    seconds = time.monotonic() - start
    print(json.dumps({"MiB/s": FILE_MIB / seconds, "MiB": peak_memory() - memory_before}))


def curl(url: str, path: str) -> float:
    """Return the speed of curl in MiB/s, including ``sync``, because our transfer also synchronizes the file."""
    start = time.monotonic()
    subprocess.run(["curl", "--silent", "--fail", "--noproxy", "*", "-o", path, url], check=True)
    subprocess.run(["sync", path], check=True)
    return os.path.getsize(path) / MIB / (time.monotonic() - start)  # noqa: PTH202 - the path is a string, as curl needs it


def rows() -> list[Row]:
    """Measure and return the rows."""
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(*COMMAND, "serve") as port,
        running_server(*COMMAND, "serve-s3") as s3_port,
    ):
        url, file = f"http://127.0.0.1:{port}/orders.csv", f"{folder}/orders.csv"
        for _ in range(ROUNDS):
            ours.append(run_python(*COMMAND, "store", url, f"file://{file}"))
            Path(file).unlink()
            theirs.append(curl(url, file))
            Path(file).unlink()
        s3_result = run_python(*COMMAND, "store", url, "s3://loopback@exports/orders.csv", env=s3_connection(s3_port))
    return [
        Row(
            "store 2 GiB on a disk",
            "MiB/s",
            [result["MiB/s"] for result in ours],
            "`curl -o`",
            theirs,
            Goal(0.5, minimum=True),
        ),
        Row(
            "store 2 GiB on a disk: memory above the idle process",
            "MiB",
            [result["MiB"] for result in ours],
            goal=Goal(64),
        ),
        Row(
            "store 2 GiB on an S3-compatible server: memory above the idle process",
            "MiB",
            [s3_result["MiB"]],
            goal=Goal(64),
        ),
    ]


def s3_connection(port: int) -> dict[str, str]:
    """Create a bucket and return the environment variable of the connection to it."""
    import boto3

    keys = {"login": "loopback-key", "password": "loopback-secret"}
    extra = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    boto3.client("s3", **extra, aws_access_key_id=keys["login"], aws_secret_access_key=keys["password"]).create_bucket(
        Bucket="exports"
    )
    # moto needs a long time to assemble the parts of an upload.
    extra_with_timeout = {**extra, "config_kwargs": {"read_timeout": 600}}
    return {"AIRFLOW_CONN_LOOPBACK": json.dumps({"conn_type": "aws", **keys, "extra": extra_with_timeout})}


if __name__ == "__main__":
    {"serve": serve, "serve-s3": serve_s3, "store": store}[sys.argv[1]](*sys.argv[2:])
