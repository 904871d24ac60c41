"""The processes of an Airflow on loopback: started, watched through their logs, and ended, each by its id."""

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
"""From the first process to a healthy Airflow; 15 to 25 s were seen on two cores."""
STOP_SECONDS = 15
POLL_SECONDS = 0.1
TAIL_LINES = 40


class AirflowTestError(Exception):
    """Airflow did not do what the test waited for; the message ends with the tail of the logs."""


class Part:
    """One process of Airflow's or of what it needs, leader of a session: all it starts can be found and ended."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, user: str | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._user = user
        self.start()

    def start(self) -> None:
        """Start the process, or start it again after it was killed; it writes to the end of its log."""
        self.killed = False
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End the process and all it started by SIGKILL, as a machine does that runs out of memory."""
        self.killed = True
        while members := self.members():  # until none is left, also of those started while the list was made
            for process in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(POLL_SECONDS)
        self.process.wait()

    def freeze(self) -> None:
        """Stop the process and all it started where they are, so that a test can look before it kills them."""
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    @property
    def ended_too_early(self) -> bool:
        """Whether it ended without being killed on purpose."""
        return not self.killed and self.process.poll() is not None

    def members(self) -> list[psutil.Process]:
        """Return every live process of the session.

        Airflow puts some of its children into process groups of their own, but none leaves the session.
        """
        return [
            process
            for process in psutil.process_iter()
            if _session_of(process.pid) == self.process.pid and _lives(process)
        ]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # gone, or not ours to ask
        return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait(
    parts: Sequence[Part], obstacle: Callable[[], str], timeout: float, poll_seconds: float = POLL_SECONDS
) -> None:
    """Poll until `obstacle` is the empty string; fail at the deadline, or when one of the parts has ended."""
    deadline = time.monotonic() + timeout
    while reason := obstacle():
        ended = [part.name for part in parts if part.ended_too_early]
        if ended or time.monotonic() > deadline:
            cause = f"ended too early: {', '.join(ended)}" if ended else f"not within {timeout:g} s"
            tails = "\n".join(f"--- {part.name}\n{tail(part.log)}" for part in parts)
            raise AirflowTestError(f"{reason} ({cause})\n{tails}")
        time.sleep(poll_seconds)


def stop(parts: Sequence[Part]) -> None:
    """End the parts and all they started: a polite signal to each group, and after STOP_SECONDS no longer polite."""
    for part in parts:
        if part.process.poll() is None:
            os.killpg(part.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for part in parts:
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0.0, deadline - time.monotonic()))
    for part in parts:
        part.kill()


@contextlib.contextmanager
def ending(parts: Sequence[Part]) -> Iterator[None]:
    """End these parts, and those that are added meanwhile, when the block is left.

    Until then SIGTERM is taken for Ctrl-C, so that a test session that is cancelled leaves no process behind.
    """
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        # a second signal must not interrupt what ends the processes
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(parts)
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, handler)


def airflow_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of one airflow command, in this interpreter's environment."""
    return [sys.executable, "-m", "airflow", *arguments]


def run_airflow(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run one command of the airflow command line and return what it printed."""
    done = subprocess.run(
        airflow_command(arguments),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STARTUP_SECONDS,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise AirflowTestError(f"airflow {' '.join(arguments)} ended with {done.returncode}\n{last}")
    return done.stdout


def tail(log: Path) -> str:
    """Return the last lines of a log file."""
    with log.open(errors="replace") as lines:
        return "\n".join(_readable(line.rstrip("\n")) for line in deque(lines, TAIL_LINES))


def _readable(line: str) -> str:
    """Shorten a line of an Airflow 3 task log, where a traceback is one JSON object of many kilobytes."""
    try:
        entry = json.loads(line)
        errors = [
            f"    {error['exc_type']}: {error['exc_value']} ({_innermost(error['frames'])})"
            for error in entry.get("error_detail") or []
        ]
        return "\n".join([f"{entry['timestamp']} {entry['level']} {entry['event']}", *errors])
    except (ValueError, TypeError, KeyError, AttributeError):  # plain text, or another shape of JSON
        return line


def _innermost(frames: Sequence[Mapping[str, Any]]) -> str:
    return " < ".join(f"{frame['filename']}:{frame['lineno']}" for frame in reversed(frames[-3:]))
