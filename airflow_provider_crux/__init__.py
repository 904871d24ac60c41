"""An Airflow provider for Crux Connect: export the orders of each data interval, once."""

__version__ = "0.1.0"
