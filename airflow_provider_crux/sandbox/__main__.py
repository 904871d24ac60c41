"""The command line: ``python -m airflow_provider_crux.sandbox``."""

import argparse
import signal
import sys
from collections.abc import Sequence

from airflow_provider_crux.sandbox.server import SandboxServer
from airflow_provider_crux.sandbox.settings import SandboxSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve on loopback until SIGTERM or SIGINT.

    :param arguments: the command line without the program's name (default: the process's own)
    """
    options = _parser().parse_args(arguments)
    settings = SandboxSettings(
        token=options.token,
        user=options.user,
        password=options.password,
        token_lifetime=options.token_lifetime,
        export_seconds=options.export_seconds,
        url_lifetime=options.url_lifetime,
        answer_seconds=options.answer_seconds,
    )
    try:
        server = SandboxServer(options.port, settings, on_ready=lambda: _announce(server.sandbox.url))
    except OSError as error:
        sys.exit(f"Cannot listen on port {options.port}: {error.strerror}")
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again after it has stopped; without a handler that would be no clean exit
        signal.signal(number, lambda *_: server.stop())
    server.serve_until_stopped()


def _announce(url: str) -> None:
    sys.stdout.write(f"Crux Connect sandbox on {url}\n")
    sys.stdout.flush()  # whoever started it waits for this line, perhaps at the other end of a pipe


def _parser() -> argparse.ArgumentParser:
    defaults = SandboxSettings()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_crux.sandbox",
        description="A stand-in for the Crux Connect API on 127.0.0.1: no e-mail, no real order.",
        epilog=f"User and password {defaults.viewer_user} may log in too, but not export orders (403).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=_port, default=0, help="where to listen; 0 for a free port")
    parser.add_argument("--token", default=defaults.token, help="an API token that never expires")
    parser.add_argument("--user", default=defaults.user, help="who may log in")
    parser.add_argument("--password", default=defaults.password, help="that user's password")
    parser.add_argument(
        "--token-lifetime",
        type=_seconds,
        default=defaults.token_lifetime,
        help="seconds a token from a login lives",
    )
    parser.add_argument(
        "--export-seconds",
        type=_seconds,
        default=defaults.export_seconds,
        help="seconds until an export is done",
    )
    parser.add_argument(
        "--url-lifetime",
        type=_whole_seconds,
        default=defaults.url_lifetime,
        help="seconds a presigned URL lives",
    )
    parser.add_argument(
        "--answer-seconds",
        type=_seconds,
        default=defaults.answer_seconds,
        help="seconds until a request that was carried out is answered",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    # a year is more than anybody waits; it also shuts out nan and inf
    if not 0 <= seconds <= 31_536_000:
        raise argparse.ArgumentTypeError("must be from 0 to 31536000 seconds")
    return seconds


def _whole_seconds(text: str) -> int:
    return int(_seconds(str(int(text))))


if __name__ == "__main__":
    main()
