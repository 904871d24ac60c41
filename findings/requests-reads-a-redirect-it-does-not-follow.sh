#!/usr/bin/env bash
# requests 2.34.2: with allow_redirects=False and stream=True, the whole body of a redirect is read before send() returns.
#
# Behavior: `stream=True` promises that the body is read on access. For a response with a redirect status and a Location,
# Session.send prepares `Response.next` even if redirects are not followed, and for that reads `Response.content`.
# The same response with status 200 is not read.
# Source: requests/sessions.py, `send` ("If redirects aren't being followed ...") and `resolve_redirects` ("Consume socket
# so it can be released").
# Who meets it: clients that limit how much of a response they read, such as of an API that answers with a redirect to a
# large file. Remedy: a Session whose get_redirect_target returns None.
# Output seen on 2026-11-27:
#   status 200: 0 bytes of the body were read before send() returned
#   status 302: 1000000 bytes of the body were read before send() returned
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" \
  requests==2.34.2 urllib3==2.8.0 certifi==2026.10.18 idna==3.20 charset-normalizer==3.5.2 2>/dev/null
PYTHONPATH=$folder python3 - >"$folder/output" <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

SIZE = 1_000_000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.strip("/")))
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        self.wfile.write(b"x" * SIZE)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with requests.Session() as session:
    session.trust_env = False
    for status in (200, 302):
        url = f"http://127.0.0.1:{server.server_address[1]}/{status}"
        response = session.get(url, allow_redirects=False, stream=True, timeout=30)
        read = response.raw.tell()
        print(f"status {status}: {read} bytes of the body were read before send() returned")
        response.close()
server.shutdown()
PYTHON
cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
status 200: 0 bytes of the body were read before send() returned
status 302: 1000000 bytes of the body were read before send() returned
EXPECTED
