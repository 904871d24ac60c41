"""The same tests as with SQLite, with PostgreSQL."""

from tests.transfers.test_crux_to_sql import *  # noqa: F403
from tests.transfers.test_lineage_of_tables import *  # noqa: F403
from tests.transfers.test_load_faults import *  # noqa: F403
from tests.transfers.test_loaded_rows import *  # noqa: F403
from tests.transfers.test_table_columns import *  # noqa: F403
from tests.transfers.test_table_details import *  # noqa: F403
