"""Runs a sandbox: in a thread inside a ``with`` block, or in the foreground for the command line."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import FrameType

import uvicorn

from airflow_provider_crux.sandbox.app import create_app
from airflow_provider_crux.sandbox.state import Clock, Sandbox, SandboxSettings, system_clock

__all__ = ["running_sandbox"]

# loopback only, because everyone who can reach the sandbox can read its files
HOST = "127.0.0.1"


class SandboxServer(uvicorn.Server):
    """A server that binds its loopback port on creation, so that its URL is known before it runs."""

    def __init__(
        self,
        port: int = 0,
        settings: SandboxSettings | None = None,
        clock: Clock = system_clock,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._listener = socket.create_server((HOST, port))
        # asyncio sets it only for sockets that it opens itself. Without it, a body waits 40 ms until the client has
        # acknowledged the headers.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sandbox = Sandbox(f"http://{HOST}:{self._listener.getsockname()[1]}", settings, clock)
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                create_app(self.sandbox),
                # always the same parser, regardless of what is installed
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                # uvicorn's access log would contain signatures
                access_log=False,
                log_config=None,
                log_level="error",
                timeout_graceful_shutdown=1,
            )
        )

    def serve_until_stopped(self) -> None:
        """Serve until :meth:`stop` is called or, in the main thread, a signal arrives."""
        self.run(sockets=[self._listener])

    def stop(self) -> None:
        """Stop serving. Any thread may call it, even before the server runs."""
        self.sandbox.stop()
        self.should_exit = True
        self._wake()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # pragma: no cover - in a process of its own
        """Stop at a signal."""
        self.sandbox.stop()
        super().handle_exit(sig, frame)
        self._wake()

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._woken.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then call ``on_ready``."""
        await super().startup(sockets=sockets)
        self._on_ready()

    # A test waits for the end of its server, for which uvicorn's own two functions take 0.15 seconds.

    async def main_loop(self) -> None:
        """Serve until stopped."""
        self._loop = asyncio.get_running_loop()
        tenths = 0
        while not await self.on_tick(tenths):
            tenths += 10
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), timeout=1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving: immediately, unless a request is being processed."""
        if self.server_state.tasks:
            await super().shutdown(sockets=sockets)
            return
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # the connections close


@contextmanager
def running_sandbox(
    settings: SandboxSettings | None = None, *, clock: Clock = system_clock, port: int = 0
) -> Iterator[Sandbox]:
    """
    Run a sandbox in a thread until the end of the ``with`` block. Needs the extra ``sandbox``.

    :param settings: users and lifetimes; default: those of ``SandboxSettings()``.
    :param clock: returns the current time, for example a :class:`~airflow_provider_crux.sandbox.state.ManualClock`;
        default: the machine's time.
    :param port: the loopback port; default 0, a free port.
    :return: the state of the sandbox: its URL, the requests it received, and ways to make it fail.
    :raises OSError: if the port is taken.
    """
    ready = Event()
    server = SandboxServer(port, settings, clock, on_ready=ready.set)

    def serve() -> None:
        try:
            server.serve_until_stopped()
        finally:
            ready.set()  # the test must not wait for a server that failed to start

    thread = Thread(target=serve, name="crux-sandbox", daemon=True)
    thread.start()
    try:
        ready.wait()
        if not server.started:  # pragma: no cover - only a fault of uvicorn leads here
            raise RuntimeError("The sandbox did not start. See the error of its thread.")
        yield server.sandbox
    finally:
        server.stop()
        thread.join()
