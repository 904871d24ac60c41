#!/usr/bin/env bash
# urllib3 2.8.0 (through requests): if a proxy has read a request and then closes the connection, the error says that the
# proxy could not be connected to.
#
# Behavior: HTTPConnectionPool.urlopen wraps every OSError, HTTPException and the like of a request over a proxy as
# ProxyError("Unable to connect to proxy"), whether or not a connection existed. requests raises its own ProxyError, a
# ConnectionError. Who takes that name for "nothing was sent" sends a POST twice.
# Source: urllib3/connectionpool.py, `urlopen`, and `_wrap_proxy_error` in urllib3/connection.py.
# Who meets it: every client behind a forward proxy whose request must be sent once.
# Output seen on 2026-11-27:
#   the proxy read: POST http://api.invalid/orders/export/ HTTP/1.1
#   requests raised: ProxyError
#   its text says "Unable to connect to proxy": True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" \
  requests==2.34.2 urllib3==2.8.0 certifi==2026.10.18 idna==3.20 charset-normalizer==3.5.2 2>/dev/null
PYTHONPATH=$folder python3 - >"$folder/output" <<'PYTHON'
import socket
import threading

import requests

seen = []


def proxy(listener):
    connection, _ = listener.accept()
    with connection:
        received = b""
        while b"\r\n\r\n{}" not in received:
            received += connection.recv(65536)
        seen.append(received.split(b"\r\n")[0].decode())


with socket.create_server(("127.0.0.1", 0)) as listener:
    thread = threading.Thread(target=proxy, args=(listener,))
    thread.start()
    proxies = {"http": f"http://127.0.0.1:{listener.getsockname()[1]}"}
    try:
        requests.post("http://api.invalid/orders/export/", data="{}", proxies=proxies, timeout=30)
    except requests.ConnectionError as error:
        thread.join()
        print(f"the proxy read: {seen[0]}")
        print(f"requests raised: {type(error).__name__}")
        print(f'its text says "Unable to connect to proxy": {"Unable to connect to proxy" in str(error)}')
PYTHON
cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
the proxy read: POST http://api.invalid/orders/export/ HTTP/1.1
requests raised: ProxyError
its text says "Unable to connect to proxy": True
EXPECTED
