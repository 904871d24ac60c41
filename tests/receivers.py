"""Receivers of messages on loopback: a webhook of Slack, and a mail server. They end with their test."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, Final


@dataclass
class Receiver:
    """
    A receiver that runs.

    :param connection: what differs in an Airflow connection to it.
    :param messages: the texts that it received, oldest first; of a mail, also its subject.
    :param credentials: what came with each: the path of the webhook, or user and password.
    """

    connection: dict[str, Any]
    messages: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    _received: threading.Condition = field(default_factory=threading.Condition)

    def receive(self, message: str) -> None:
        """Add a message."""
        with self._received:
            self.messages.append(message)
            self._received.notify_all()

    def wait_for(self, text: str, timeout: float) -> list[str]:
        """Wait for a message that contains a text, and return all that do; none after ``timeout`` seconds."""
        with self._received:
            self._received.wait_for(lambda: any(text in message for message in self.messages), timeout)
            return [message for message in self.messages if text in message]


class _Webhook(BaseHTTPRequestHandler):
    """What Slack does with a message."""

    server: _WebhookServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.receiver.credentials.append(self.path)
        self.server.receiver.receive(body["text"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _WebhookServer(ThreadingHTTPServer):
    receiver: Receiver


class _Mail(StreamRequestHandler):
    """What a mail server does with a message, after a login: RFC 5321 and RFC 4954."""

    server: _MailServer

    def handle(self) -> None:
        self._reply("220 loopback")
        for line in self.rfile:
            verb, _, arguments = line.decode().strip().partition(" ")
            if verb.upper() == "QUIT":
                self._reply("221 bye")
                return
            commands = {"EHLO": self._hello, "AUTH": self._login, "DATA": self._message}
            commands.get(verb.upper(), lambda _: self._reply("250 ok"))(arguments)

    def _hello(self, _: str) -> None:
        self._reply("250-loopback\r\n250 AUTH PLAIN LOGIN")

    def _login(self, arguments: str) -> None:
        mechanism, _, initial = arguments.partition(" ")
        if mechanism.upper() == "PLAIN":
            credentials = _decoded(initial).strip("\0").replace("\0", ":")
        else:
            credentials = f"{_decoded(initial) if initial else self._ask('Username:')}:{self._ask('Password:')}"
        self.server.receiver.credentials.append(credentials)
        self._reply("235 accepted")

    def _ask(self, prompt: str) -> str:
        self._reply(f"334 {base64.b64encode(prompt.encode()).decode()}")
        return _decoded(self.rfile.readline().decode())

    def _message(self, _: str) -> None:
        self._reply("354 end with a line of one dot")
        lines = iter(self.rfile.readline, b".\r\n")
        content = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
        message = message_from_bytes(content, EmailMessage, policy=policy.default)
        (html,) = [part for part in message.walk() if part.get_content_type() == "text/html"]
        self.server.receiver.receive(f"{message['Subject']}\n{html.get_content()}")
        self._reply("250 ok")

    def _reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _MailServer(ThreadingTCPServer):
    receiver: Receiver
    daemon_threads = True


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


WITHOUT_PROXY: Final = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), "")
"""An environment without proxies: Slack's client sends to them whatever NO_PROXY says, also what is for loopback."""


@contextmanager
def running_webhook() -> Iterator[Receiver]:
    """Run a server that accepts what is posted, as a webhook of Slack does, and keep its text."""
    with _WebhookServer(("127.0.0.1", 0), _Webhook) as server:
        server.receiver = Receiver({"host": f"http://127.0.0.1:{server.server_address[1]}"})
        with _serving(server):
            yield server.receiver


@contextmanager
def running_mail_server() -> Iterator[Receiver]:
    """Run a server that accepts mail after a login, and keep its subject and HTML."""
    with _MailServer(("127.0.0.1", 0), _Mail) as server:
        without_tls = {"disable_ssl": True, "disable_tls": True}
        server.receiver = Receiver({"host": "127.0.0.1", "port": server.server_address[1], "extra": without_tls})
        with _serving(server):
            yield server.receiver


@contextmanager
def _serving(server: _WebhookServer | _MailServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
