"""The command line: ``python -m airflow_provider_crux.sandbox``."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence

from airflow_provider_crux.sandbox.csv_file import COLUMN_LISTS
from airflow_provider_crux.sandbox.server import SandboxServer
from airflow_provider_crux.sandbox.state import SandboxSettings
from airflow_provider_crux.sandbox.versions import VERSIONS

_YEAR = 31_536_000  # in seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve on loopback until SIGTERM or SIGINT; ``arguments`` is the command line without the program's name."""
    options = vars(_parser().parse_args(arguments))
    port = options.pop("port")
    settings = SandboxSettings(**options)
    try:
        server = SandboxServer(port, settings, on_ready=lambda: _announce(server.sandbox.url))
    except OSError as error:
        sys.exit(f"Cannot listen on port {port}: {error.strerror}")
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        # After it stops, uvicorn raises the signal again. Without a handler the exit code would not be 0.
        signal.signal(signal_number, lambda *_: server.stop())
    server.serve_until_stopped()


def _announce(url: str) -> None:
    sys.stdout.write(f"Crux Connect sandbox on {url}\n")
    sys.stdout.flush()  # the parent process may wait for this line at the other end of a pipe


def _parser() -> argparse.ArgumentParser:
    defaults = SandboxSettings()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_crux.sandbox",
        description="A stand-in for the Crux Connect API on 127.0.0.1. It sends no e-mail and its orders are made up.",
        epilog=f"The user {defaults.viewer_user} (same password) can log in but cannot export orders (HTTP 403).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    seconds, whole_seconds = _number(float, _YEAR), _number(int, _YEAR)
    parser.add_argument("--port", type=_number(int, 65_535), default=0, help="port to listen on; 0 picks a free port")
    for option, convert, help_text in (
        ("token", str, "API token that never expires"),
        ("user", str, "user name for the login"),
        ("password", str, "password for the login"),
        ("token_lifetime", seconds, "seconds until a token from a login expires"),
        ("export_seconds", seconds, "seconds until an export is done"),
        ("url_lifetime", whole_seconds, "seconds until a presigned URL expires"),
        ("response_seconds", seconds, "seconds between processing a request and responding"),
    ):
        default = getattr(defaults, option)
        parser.add_argument(f"--{option.replace('_', '-')}", type=convert, default=default, help=help_text)
    total_results = "what total_results of the list of orders counts: the orders that the filters select, or all orders"
    for option, choices, help_text in (
        ("total_results", ("filtered", "organization"), total_results),
        ("api_version", VERSIONS, "version of the API; the paths of the others return HTTP 404"),
        ("columns", COLUMN_LISTS, "columns of the file, by the year in which the vendor published them"),
    ):
        default = getattr(defaults, option)
        parser.add_argument(f"--{option.replace('_', '-')}", choices=tuple(choices), default=default, help=help_text)
    return parser


def _number(convert: type[int] | type[float], maximum: int) -> Callable[[str], float]:
    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            number = convert(text)
            if 0 <= number <= maximum:  # rejects nan and inf too
                return number
        raise argparse.ArgumentTypeError(
            f"must be {'an integer' if convert is int else 'a number'} from 0 to {maximum}"
        )

    return parse


if __name__ == "__main__":
    main()
