"""HTTP with requests. It decides nothing: what to do next is decided in :mod:`airflow_provider_crux.api`."""
