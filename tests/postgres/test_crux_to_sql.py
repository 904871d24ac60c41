"""The same tests as with SQLite, with PostgreSQL."""

from tests.transfers.test_crux_to_sql import *  # noqa: F403
