"""An Airflow provider for Crux Connect: export the orders of each data interval to files or a table."""

__version__ = "0.1.0"
