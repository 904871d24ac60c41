"""
A cluster policy that shortens the waits for exports.

`airflow_with_sandbox` copies this file to where Airflow looks for it.
"""

POLL_SECONDS = 2
WAITING_OPERATORS = {"CruxOrdersExportOperator", "CruxExportToObjectStorageOperator", "CruxExportToSqlOperator"}


def task_policy(task):
    """Poll every two seconds. By default, the first poll comes within 30 s, at a random time."""
    if task.task_type not in WAITING_OPERATORS:
        return
    if hasattr(task, "partial_kwargs"):  # a mapped task
        task.partial_kwargs["poll_interval"] = POLL_SECONDS
    else:
        task.poll_interval = POLL_SECONDS
