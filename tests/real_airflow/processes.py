"""Starts, watches and ends the processes of an Airflow on loopback, each by its ID."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

STARTUP_SECONDS = 120
"""Timeout from the first process to a healthy Airflow. It takes about 10 s on two cores."""
STOP_SECONDS = 5
"""Timeout of a graceful end. The triggerer of Airflow 3.3 sometimes takes ten seconds, although nothing waits in it."""
POLL_SECONDS = 0.1
TAIL_LINES = 40


class AirflowTestError(Exception):
    """
    Airflow did not reach the state that the test waited for.

    :param message: what is missing, in one line, because pytest repeats it for every test of the module.
    :param logs: the last lines of the logs. They go to standard error, which pytest shows once.
    """

    def __init__(self, message: str, logs: str = "") -> None:
        super().__init__(message)
        if logs:
            sys.stderr.write(f"{message}\n{logs}\n")


class Component:
    """
    One process of Airflow, or of a service it needs. It leads a session, so all its descendants can be ended.

    :param graceful: whether `stop` lets it end by itself.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        user: str | None = None,
        *,
        graceful: bool = True,
    ) -> None:
        self.name = name
        self.log = log
        self.graceful = graceful
        self._command = list(command)
        self._environment = dict(environment)
        self._user = user
        self.start()

    def start(self) -> None:
        """Start the process, or restart it after it was killed. It appends to its log."""
        self.killed = False
        self.process = self._launch()

    def _launch(self) -> psutil.Process:
        with self.log.open("ab") as output:
            return psutil.Popen(
                self._command,
                env=self._environment,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Send SIGKILL to the process and its descendants, as the kernel does when memory runs out."""
        self.killed = True
        while processes := self.processes():  # repeat, because a process may start another while the list is made
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(POLL_SECONDS)
        self.process.wait()

    def suspend(self) -> None:
        """Suspend the process and its descendants, so that a test can inspect their state before it kills them."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    @property
    def exited_unexpectedly(self) -> bool:
        """Whether the process ended although nobody killed it on purpose."""
        return not self.killed and self.ended

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return not _is_alive(self.process)

    def processes(self) -> list[psutil.Process]:
        """Return every live process of the session.

        Airflow moves some of its children into other process groups, but none leaves the session.
        """
        return [
            process
            for process in psutil.process_iter()
            if _session_id(process.pid) == self.process.pid and _is_alive(process)
        ]


class ForkServer:
    """
    A process that imports Airflow once, and whose forks are components: see ``fork_server.py``.

    :param environment: that of all forks.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("fork_server.py"))],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,
            )

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> psutil.Process:
        """Start an Airflow command in a fork, whose environment is changed."""
        assert self._process.stdin
        assert self._process.stdout
        request = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        pid = self._process.stdout.readline()
        if not pid:
            raise AirflowTestError("the fork server has ended", tail(self._log))
        return psutil.Process(int(pid))

    def close(self) -> None:
        """End the server."""
        self._process.communicate()


class ForkedComponent(Component):
    """
    A component of Airflow that is a fork of a server, with the name of its command.

    :param environment: what differs from the environment of the server.
    """

    def __init__(
        self,
        server: ForkServer,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        graceful: bool = True,
    ) -> None:
        self._server = server
        super().__init__(arguments[0], arguments, environment, log, graceful=graceful)

    def _launch(self) -> psutil.Process:
        return self._server.fork(self._command, self._environment, self.log)


def _session_id(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # the process has ended, or belongs to another user
        return None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_while(
    components: Sequence[Component],
    pending: Callable[[], str],
    timeout: float,
    poll_seconds: float = POLL_SECONDS,
    details: Callable[[], str] = str,
) -> None:
    """Wait until `pending` returns an empty string instead of what is missing.

    Raises AirflowTestError after `timeout` seconds, or as soon as a component has exited. `details` is called after the
    timeout only, and its text is added to the message.
    """
    deadline = time.monotonic() + timeout
    while reason := pending():
        exited = [component.name for component in components if component.exited_unexpectedly]
        if exited or time.monotonic() > deadline:
            cause = f"exited unexpectedly: {', '.join(exited)}" if exited else f"timeout of {timeout:g} s"
            message = f"{reason} ({cause})" if exited else f"{reason} ({cause}) {details()}".rstrip()
            tails = "\n".join(f"--- {component.name}\n{tail(component.log)}" for component in components)
            raise AirflowTestError(message, tails)
        time.sleep(poll_seconds)


def stop(components: Sequence[Component]) -> None:
    """Send SIGTERM to the graceful components, and after STOP_SECONDS SIGKILL to all processes that are left."""
    ending = [component for component in components if component.graceful and not component.ended]
    for component in ending:
        os.killpg(component.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for component in ending:
        with contextlib.suppress(psutil.TimeoutExpired):
            component.process.wait(max(0.0, deadline - time.monotonic()))
    for component in components:
        component.kill()


@contextlib.contextmanager
def stopping_on_exit(components: Sequence[Component]) -> Iterator[None]:
    """Stop the components when the block ends, including those added to the list inside the block.

    Inside the block SIGTERM acts like Ctrl-C, so that a canceled test session leaves no process behind.
    """
    terminate_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        # A second signal must not interrupt the cleanup.
        interrupt_handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(components)
        signal.signal(signal.SIGINT, interrupt_handler)
        signal.signal(signal.SIGTERM, terminate_handler)


def airflow_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs Airflow with this interpreter."""
    return [sys.executable, "-m", "airflow", *arguments]


def run_airflow(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run an Airflow command and return its output."""
    return run_command(airflow_command(arguments), environment)


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command and return its output."""
    completed = subprocess.run(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STARTUP_SECONDS,
        check=False,
    )
    if completed.returncode:
        last_lines = "\n".join(completed.stdout.splitlines()[-TAIL_LINES:])
        raise AirflowTestError(f"{' '.join(command)} exited with {completed.returncode}", last_lines)
    return completed.stdout


def tail(log: Path) -> str:
    """Return the last lines of a log file."""
    with log.open(errors="replace") as lines:
        return "\n".join(_readable(line.rstrip("\n")) for line in deque(lines, TAIL_LINES))


def _readable(line: str) -> str:
    """Shorten a line of an Airflow 3 task log, in which a traceback is one JSON object of many kilobytes."""
    try:
        entry = json.loads(line)
        errors = [
            f"    {error['exc_type']}: {error['exc_value']} ({_innermost_frames(error['frames'])})"
            for error in entry.get("error_detail") or []
        ]
        return "\n".join([f"{entry['timestamp']} {entry['level']} {entry['event']}", *errors])
    except (ValueError, TypeError, KeyError, AttributeError):  # plain text, or JSON of another structure
        return line


def _innermost_frames(frames: Sequence[Mapping[str, Any]]) -> str:
    return " < ".join(f"{frame['filename']}:{frame['lineno']}" for frame in reversed(frames[-3:]))
