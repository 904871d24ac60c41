"""An Airflow provider for Crux Connect: the orders of each data interval, exported once."""

__version__ = "0.1.0"
