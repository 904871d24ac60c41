"""The fixtures of the tests that run DAGs."""

from __future__ import annotations

from tests.dag_runs import _terminate_handler, dags_folder, run

__all__ = ["_terminate_handler", "dags_folder", "run"]
