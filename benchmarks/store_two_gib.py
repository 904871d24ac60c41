"""
How long one large file takes from a presigned URL to a path, and how much memory the task that stores it needs.

Three processes: one serves a generated CSV file over loopback http, one is an S3-compatible server (with --s3), and a
fresh one fetches and stores. Run it with the Python of a virtual environment: .venv/3.3.2/bin/python benchmarks/...
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MIB = 1024 * 1024
HEADER = b"\xef\xbb\xbforder_uuid,name,address,notes,quantity\r\n"
ROW = (
    b'b9888421-594c-4d2f-9f0d-3b138a16c845,Ada Okafor,"1 Elm Street, Apt. 4","Call ahead.\n\nThen say ""hello""",1\r\n'
)


def serve(mebibytes: int) -> None:
    """Serve the file on a free port, which is printed, until the process is ended."""
    block = ROW * (MIB // len(ROW))
    blocks = mebibytes * MIB // len(block)

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

    from airflow_provider_crux.api.connection import ConnectionSettings
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
    print(
        f"{path.partition('://')[0]:5}{stored.bytes / MIB:6.0f} MiB, {stored.rows:9} rows: {seconds:6.1f} s "
        f"({stored.bytes / MIB / seconds:.0f} MiB/s), peak memory {before:.0f} MiB and {peak() - before:+.1f} MiB"
    )


@contextmanager
def running(*arguments: str) -> Iterator[int]:
    """Run this script as a server, and give its port."""
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.kill()


def main() -> None:
    """Run the processes that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="length of the file in MiB; default 2048")
    parser.add_argument("--s3", action="store_true", help="store it in an S3-compatible server too")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        {"serve": serve, "serve-s3": serve_s3, "store": store}[given.part[0]](
            *(int(value) if value.isdecimal() else value for value in given.part[1:])
        )
        return
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        port = stack.enter_context(running("--part", "serve", str(given.mib)))
        environment = {**os.environ, "AIRFLOW_HOME": folder}
        targets = [f"file://{folder}/orders.csv"]
        if given.s3:
            import boto3

            endpoint = f"http://127.0.0.1:{stack.enter_context(running('--part', 'serve-s3'))}"
            keys = {"login": "loopback-key", "password": "loopback-secret"}
            extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
            patient = {**extra, "config_kwargs": {"read_timeout": 600}}  # moto puts the parts together for long
            environment["AIRFLOW_CONN_LOOPBACK"] = json.dumps({"conn_type": "aws", **keys, "extra": patient})
            boto3.client(
                "s3", **extra, aws_access_key_id=keys["login"], aws_secret_access_key=keys["password"]
            ).create_bucket(Bucket="exports")
            targets.append("s3://loopback@exports/orders.csv")
        for target in targets:
            command = [sys.executable, __file__, "--part", "store", f"http://127.0.0.1:{port}/orders.csv", target]
            subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
