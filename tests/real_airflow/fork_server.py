"""
A process that imports Airflow once, and forks for each of its components and commands.

Importing Airflow takes several seconds, and each component of an Airflow would do it again. Nothing else is shared: a
fork initializes Airflow from its own environment, and then does what `python -m airflow` does.

Standard input has a line of JSON for each fork, with the arguments, the changes of the environment, and the file for
the output. A fork answers with its process ID, and leads a session of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys

IMPORTED = {
    "2": [
        "airflow.cli.commands.scheduler_command",
        "airflow.cli.commands.triggerer_command",
        "airflow.cli.commands.task_command",
        "airflow.executors.local_executor",
    ],
    "3": [
        "airflow.api_fastapi.app",
        "airflow.cli.commands.api_server_command",
        "airflow.cli.commands.dag_processor_command",
        "airflow.cli.commands.scheduler_command",
        "airflow.cli.commands.triggerer_command",
        "airflow.executors.local_executor",
    ],
}
"""What the components import, by the major version of Airflow."""


def main() -> None:
    """Import Airflow, and fork for each line of standard input."""
    gc.disable()  # it would search a growing number of objects, all of which stay
    # Airflow does not initialize itself when it is imported.
    os.environ["_AIRFLOW__AS_LIBRARY"] = "1"
    import airflow.__main__

    for module in IMPORTED[airflow.__version__[0]]:
        importlib.import_module(module)
    # The first command makes the keys that all of them share.
    airflow.configuration.write_default_airflow_configuration_if_needed()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets a fork that has ended
    for line in sys.stdin:
        if not os.fork():
            run(**json.loads(line))
            return


def run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Become the process of an Airflow command."""
    from airflow import __main__, settings

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    for file, mode, descriptors in (
        (os.devnull, os.O_RDONLY, [0]),
        (log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, [1, 2]),
    ):
        source = os.open(file, mode)
        for descriptor in descriptors:
            os.dup2(source, descriptor)
        os.close(source)
    os.environ |= environment
    del os.environ["_AIRFLOW__AS_LIBRARY"]
    settings.initialize()
    if arguments[0] == "api-server":
        importlib.import_module("airflow.api_fastapi.main")
    gc.freeze()
    gc.enable()
    sys.argv = ["airflow", *arguments]
    __main__.main()


if __name__ == "__main__":
    main()
