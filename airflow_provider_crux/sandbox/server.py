"""Runs a sandbox: in a thread for the length of a ``with``, or in the foreground for the command line."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import uvicorn

from airflow_provider_crux.sandbox.app import create_app
from airflow_provider_crux.sandbox.clock import Clock, system_clock
from airflow_provider_crux.sandbox.settings import SandboxSettings
from airflow_provider_crux.sandbox.state import Sandbox

# nowhere else: anybody may have its files who can reach it
HOST = "127.0.0.1"


class SandboxServer(uvicorn.Server):
    """A server bound to a loopback port from the moment it is made, so that its URL is known before it runs.

    :param port: 0 (default) for a free one
    :param settings: of the sandbox (default: those of :class:`SandboxSettings`)
    :param clock: of the sandbox (default: the machine's time)
    :param on_ready: called once, when it accepts connections (default: nothing)
    :raises OSError: if the port is taken
    """

    def __init__(
        self,
        port: int = 0,
        settings: SandboxSettings | None = None,
        clock: Clock = system_clock,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._listener = socket.create_server((HOST, port))
        self.sandbox = Sandbox(f"http://{HOST}:{self._listener.getsockname()[1]}", settings, clock)
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                create_app(self.sandbox),
                # always the same parser, whatever else is installed
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                # uvicorn's access log would print signatures
                access_log=False,
                log_config=None,
                log_level="error",
                timeout_graceful_shutdown=1,
            )
        )

    def serve_until_stopped(self) -> None:
        """Serve until :meth:`stop`, or in the main thread a signal, ends it."""
        self.run(sockets=[self._listener])

    def stop(self) -> None:
        """End serving. May be called from any thread, and before serving began."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then say so."""
        await super().startup(sockets=sockets)
        self._on_ready()


@contextmanager
def running_sandbox(
    settings: SandboxSettings | None = None, *, clock: Clock = system_clock, port: int = 0
) -> Iterator[Sandbox]:
    """Run a sandbox in a thread; it ends with the ``with``.

    :param settings: users and lifetimes (default: those of :class:`SandboxSettings`)
    :param clock: what time it is, for example a :class:`~airflow_provider_crux.sandbox.clock.ManualClock`
        (default: the machine's time)
    :param port: where on loopback (default 0: a free port)
    :return: its state: the URL, the journal, and the ways to make it fail
    :raises OSError: if the port is taken
    """
    ready = Event()
    server = SandboxServer(port, settings, clock, on_ready=ready.set)

    def serve() -> None:
        try:
            server.serve_until_stopped()
        finally:
            ready.set()  # a server that failed to start must not leave the test waiting

    thread = Thread(target=serve, name="crux-sandbox", daemon=True)
    thread.start()
    try:
        ready.wait()
        if not server.started:  # pragma: no cover - only a fault of uvicorn's own leads here
            raise RuntimeError("the sandbox did not start; its thread's error says why")
        yield server.sandbox
    finally:
        server.stop()
        thread.join()
