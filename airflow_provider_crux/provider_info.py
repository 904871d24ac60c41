"""What Airflow reads about this package at start-up. It imports nothing heavy."""

from __future__ import annotations

from typing import Any

from airflow_provider_crux import __version__
from airflow_provider_crux.connection_form import CONN_FIELDS, UI_FIELD_BEHAVIOUR


def get_provider_info() -> dict[str, Any]:
    """Return the description of the provider, as defined by Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-crux",
        "name": "Crux Connect",
        "description": "Export the orders of each data interval from Crux Connect to files or a table.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": "Crux Connect", "tags": ["service"]},
            {"integration-name": "Object storage", "tags": ["service"]},
            {"integration-name": "SQL", "tags": ["software"]},
        ],
        "operators": [
            {
                "integration-name": "Crux Connect",
                "python-modules": [
                    "airflow_provider_crux.operators.coverage",
                    "airflow_provider_crux.operators.orders",
                ],
            },
        ],
        "sensors": [
            {"integration-name": "Crux Connect", "python-modules": ["airflow_provider_crux.sensors.exports"]},
        ],
        "transfers": [
            {
                "source-integration-name": "Crux Connect",
                "target-integration-name": "Object storage",
                "python-module": "airflow_provider_crux.transfers.crux_to_object_storage",
            },
            {
                "source-integration-name": "Crux Connect",
                "target-integration-name": "SQL",
                "python-module": "airflow_provider_crux.transfers.crux_to_sql",
            },
        ],
        "triggers": [
            {"integration-name": "Crux Connect", "python-modules": ["airflow_provider_crux.triggers.exports"]},
        ],
        "hooks": [
            {
                "integration-name": "Crux Connect",
                "python-modules": ["airflow_provider_crux.hooks.crux", "airflow_provider_crux.hooks.crux_async"],
            },
        ],
        "connection-types": [
            {
                "connection-type": "crux",
                "hook-class-name": "airflow_provider_crux.hooks.crux.CruxHook",
                "hook-name": "Crux Connect",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            },
        ],
    }
