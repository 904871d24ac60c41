"""What only PostgreSQL has: decimal numbers, COPY, schemas, keywords, both drivers, and tasks that load at once."""

from __future__ import annotations

import contextlib
import random
import string
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg2
import psycopg2.extras
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseHook
from airflow.providers.postgres.hooks.postgres import USE_PSYCOPG3

from airflow_provider_crux.exceptions import CruxInvalidRequestError
from airflow_provider_crux.files.column_plan import plan_columns
from airflow_provider_crux.files.rows import TypedRows
from airflow_provider_crux.sandbox.csv_file import COLUMNS
from airflow_provider_crux.tables.base import LoadedTable
from airflow_provider_crux.tables.names import fit_columns
from airflow_provider_crux.tables.postgres import PostgresTable
from tests.transfers.table import MONEY, TABLE, lines, rows_file
from tests.transfers.test_load_faults import whole_traceback
from tests.transfers.transfer import resume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.transfers.table import Database, Loading


def test_columns_have_the_types_of_their_values(loading: Loading, database: Database) -> None:
    loading.run(rows_file({"quantity": "", "estimated_tax": "9999999999999999.99", "name": ""}))
    types = {
        row["column_name"]: (row["data_type"], row["numeric_precision"], row["numeric_scale"])
        for row in database.query(f"SELECT * FROM information_schema.columns WHERE table_name = '{TABLE}'")
    }
    expected = dict.fromkeys(COLUMNS, ("text", None, None))
    expected |= dict.fromkeys(MONEY.intersection(COLUMNS), ("numeric", 18, 2)) | {"quantity": ("bigint", 64, 0)}
    expected |= {"crux_export_uuid": ("text", None, None)}
    instant = ("timestamp with time zone", None, None)
    expected |= dict.fromkeys(("crux_interval_start", "crux_interval_end", "crux_requested_at"), instant)
    assert types == expected
    (row,) = database.rows()
    assert (str(row["estimated_tax"]), row["quantity"], row["name"]) == ("9999999999999999.99", None, "")
    (key,) = database.query(f"SELECT indexdef FROM pg_indexes WHERE tablename = '{TABLE}'")
    assert f"INDEX {TABLE}_order_uuid_idx ON " in key["indexdef"]
    assert key["indexdef"].endswith("USING btree (order_uuid)")


def test_a_new_table_has_its_index_although_the_one_of_a_renamed_table_has_its_name(
    loading: Loading, database: Database
) -> None:
    loading.run(lines("a"))
    database.execute(f"ALTER TABLE {TABLE} RENAME TO last_year")
    loading.run(lines("a"))
    indexed = [row["tablename"] for row in database.query("SELECT * FROM pg_indexes WHERE schemaname = 'public'")]
    assert sorted(indexed) == ["last_year", TABLE]


def test_texts_arrive_in_their_own_characters_whatever_the_encoding_of_the_connection(
    loading: Loading, database: Database
) -> None:
    database.set_connection(client_encoding="LATIN1")
    for minutes in (0, 1):  # into a new table, and into one that exists
        loading.run(lines("Zürich 東京", city="Größe"), minutes=minutes)
    assert database.by_key("city") == {"Zürich 東京": ("Größe",)}


def test_a_function_of_the_database_that_raises_an_error_of_any_class_shows_no_value(
    loading: Loading, database: Database
) -> None:
    loading.run(lines("a"))
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'refused %', NEW.name USING ERRCODE = '42501'; END $$"
    )
    database.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION refuse()")
    with pytest.raises(AirflowException, match=r"The database says: SQLSTATE 42501$"):
        loading.run(lines("b", name="Ada"), minutes=1)


def test_a_table_may_be_in_a_schema_which_must_exist(loading: Loading, database: Database) -> None:
    with pytest.raises(AirflowException, match='SQLSTATE 3F000, schema "crux" does not exist'):
        loading.run(lines("a"), table="crux.lines")
    database.execute("DROP SCHEMA IF EXISTS crux CASCADE")
    database.execute("CREATE SCHEMA crux")
    assert loading.run(lines("a"), table="crux.lines") == (1, 0, 0)
    assert loading.run(lines("a"), table="CRUX.Lines", minutes=1) == (0, 1, 0)
    assert list(database.by_key(table="crux.lines")) == ["a"]
    database.execute("DROP SCHEMA crux CASCADE")


def test_every_keyword_of_the_database_is_the_name_of_a_column_and_of_a_table(
    loading: Loading, database: Database
) -> None:
    keywords = [row["word"] for row in database.query("SELECT word FROM pg_get_keywords()")]
    # name is published
    columns = [word for word in keywords if word not in COLUMNS]
    assert len(columns) > 400
    body = rows_file({word: f"value of {word}" for word in columns}, columns=[*COLUMNS, *columns])
    assert loading.run(body) == (1, 0, 0)
    assert loading.run(body, minutes=1) == (0, 1, 0)
    (row,) = database.rows()
    assert {word: row[word] for word in columns} == {word: f"value of {word}" for word in columns}
    reserved = database.query("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
    for word in reserved:
        assert loading.run(lines("a"), table=word["word"]) == (1, 0, 0)
        assert loading.run(lines("a"), table=word["word"], minutes=1) == (0, 1, 0)


@pytest.mark.parametrize("column", ["ctid", "xmin", "tableoid"])
def test_a_column_that_every_table_has_is_left_out_with_a_warning(loading: Loading, caplog, column: str) -> None:
    loading.run(rows_file({}, columns=[*COLUMNS, column]))
    assert f"'{column}' is unknown: it is not stored, because the database reserves its name" in caplog.text
    assert loading.pushed["export_table"]["columns"] == list(COLUMNS)


@pytest.mark.parametrize("is_new", [True, False], ids=["no table", "table"])
def test_a_character_that_no_text_can_have_is_named_by_its_row(
    loading: Loading, database: Database, logged, batches_of, is_new: bool
) -> None:
    batches_of(10)
    if not is_new:
        loading.run(lines("a"))
    before = database.tables()
    rows = [{"line_item_uuid": str(index), "name": "canary"} for index in range(30)]
    body = rows_file(*rows, {"line_item_uuid": "last", "name": "canary\0canary"})
    with pytest.raises(AirflowFailException, match="column 'name' in row 31 contains the character NUL") as raised:
        loading.run(body, minutes=1)
    assert "canary" not in whole_traceback(raised.value) + logged()
    assert database.tables() == before
    assert len(database.rows() if before else []) == len(before)
    database.assert_nothing_is_left()


def test_a_value_that_the_tables_own_type_cannot_hold_is_an_error_without_it(
    loading: Loading, database: Database, logged
) -> None:
    loading.run(lines("a", name="old"))
    before = database.rows()
    database.execute(f"ALTER TABLE {TABLE} ALTER name TYPE varchar(5), ALTER quantity TYPE smallint")
    for values, state in (({"name": "canary"}, "22001"), ({"quantity": "31337000"}, "22003")):
        # a retry fails in the same way
        with pytest.raises(AirflowFailException, match=f"SQLSTATE {state}$") as raised:
            loading.run(lines("a", "b", **values), minutes=1)
        output = whole_traceback(raised.value) + logged()
        assert "canary" not in output
        assert "31337000" not in output
    assert database.rows() == before
    database.execute(f"ALTER TABLE {TABLE} ALTER quantity TYPE boolean USING true")
    with pytest.raises(AirflowException, match='SQLSTATE 42804, column "quantity" is of type boolean'):
        loading.run(lines("a"), minutes=1)


def test_a_constraint_a_column_and_a_limit_are_named(loading: Loading, database: Database) -> None:
    loading.run(lines("a", estimated_shipping_cost="1"))
    database.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT only_ada CHECK (name <> 'Eve')")
    with pytest.raises(AirflowFailException, match=r"SQLSTATE 23514, constraint only_ada$"):
        loading.run(lines("b", name="Eve"), minutes=1)
    database.execute(f"ALTER TABLE {TABLE} ALTER estimated_shipping_cost SET NOT NULL")
    with pytest.raises(AirflowFailException, match=r"SQLSTATE 23502, column estimated_shipping_cost$"):
        loading.run(lines("b"), minutes=1)
    long = "".join(random.Random(0).choices(string.ascii_letters, k=10_000))
    with pytest.raises(AirflowFailException, match="SQLSTATE 54000, index row requires"):
        loading.run(lines(long, estimated_shipping_cost="1"), minutes=1)


def test_a_table_that_is_locked_too_long_stays_as_it_was(loading: Loading, database: Database, connect) -> None:
    loading.run(lines("a"))
    before = database.rows()
    database.set_connection(options="-c lock_timeout=200ms")
    with contextlib.closing(database.connect()) as other:
        other.cursor().execute(f"LOCK TABLE {TABLE} IN SHARE MODE")
        with pytest.raises(AirflowException, match="SQLSTATE 55P03, canceling statement due to lock timeout") as raised:
            loading.run(lines("a", "b"), minutes=1)
    assert not isinstance(raised.value, AirflowFailException)
    assert database.rows() == before
    database.assert_nothing_is_left()
    assert loading.run(lines("a", "b"), minutes=1) == (1, 1, 0)


def test_a_lost_connection_is_a_clear_error(loading: Loading, database: Database) -> None:
    loading.run(lines("a"))
    before = database.rows()
    database.execute(
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
    )
    database.execute(f"CREATE TRIGGER hang_up BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION hang_up()")
    with pytest.raises(
        AirflowException, match=r"SQLSTATE 57P01, terminating|OperationalError: server closed"
    ) as raised:
        loading.run(lines("b"), minutes=1)
    assert "the table is as it was" in str(raised.value)
    assert database.rows() == before
    database.assert_nothing_is_left()


# which table it is


@pytest.fixture
def two_schemas(database: Database) -> Iterator[None]:
    """Create two schemas beside public; one is named like the role."""
    drop = "DROP SCHEMA IF EXISTS airflow, team CASCADE"
    database.execute(f"{drop}; CREATE SCHEMA airflow; CREATE SCHEMA team")
    yield
    database.execute(drop)


@pytest.mark.usefixtures("two_schemas")
def test_a_table_without_a_schema_is_the_one_that_the_search_path_finds(loading: Loading, database: Database) -> None:
    # "$user", public is the default
    database.execute("ALTER SCHEMA airflow RENAME TO later")
    loading.run(lines("a", name="public"))
    database.execute("ALTER SCHEMA later RENAME TO airflow")
    assert loading.run(lines("a", "b"), minutes=1) == (1, 1, 0)
    assert len(database.rows("public.order_lines")) == 2
    # the first one of two
    loading.run(lines("a", name="team"), table="team.order_lines", minutes=2)
    database.set_connection(options="-c search_path=nowhere,team,public")
    assert loading.run(lines("a", "c"), minutes=3) == (1, 1, 0)
    assert [len(database.rows(f"{schema}.order_lines")) for schema in ("team", "public")] == [2, 2]
    # a new one
    assert loading.run(lines("a"), table="new") == (1, 0, 0)
    assert len(database.rows("team.new")) == 1


def test_a_search_path_that_leads_nowhere_is_an_error(loading: Loading, database: Database) -> None:
    database.set_connection(options="-c search_path=nowhere")
    with pytest.raises(AirflowFailException, match="table: no schema of the search path exists; add the schema"):
        loading.run(lines("a"))


def test_a_table_whose_name_differs_in_case_is_named_in_a_warning(loading: Loading, database: Database, caplog) -> None:
    database.execute('CREATE TABLE "Order_Lines" (order_uuid text)')
    for minutes in (0, 1):
        caplog.clear()
        loading.run(lines("a"), minutes=minutes, table="Order_Lines")
        assert 'Schema public also has the table "Order_Lines". The rows are loaded into order_lines' in caplog.text
    assert database.tables() == {"Order_Lines", TABLE}
    assert database.query('SELECT * FROM "Order_Lines"') == []
    caplog.clear()
    loading.run(lines("a"), table="lines")
    assert "also has the table" not in caplog.text


def test_a_column_whose_name_differs_in_case_is_another_one(loading: Loading, database: Database) -> None:
    database.execute(f'CREATE TABLE {TABLE} ("CITY" text DEFAULT 7, "Quantity" integer)')
    loading.run(lines("a"))
    (row,) = database.rows()
    assert (row["CITY"], row["city"], row["Quantity"], row["quantity"]) == ("7", "city 1", None, 2)


def view(definitions: str, database: Database) -> None:
    database.execute(f"CREATE TABLE behind ({definitions}); CREATE VIEW {TABLE} AS SELECT * FROM behind")


def partitioned_table(definitions: str, database: Database) -> None:
    database.execute(
        f"CREATE TABLE {TABLE} ({definitions}) PARTITION BY LIST (order_uuid);"
        f"CREATE TABLE a PARTITION OF {TABLE} FOR VALUES IN ('a'); CREATE TABLE others PARTITION OF {TABLE} DEFAULT"
    )


def foreign_table(definitions: str, database: Database) -> None:
    with contextlib.closing(database.connect()) as connection:
        port = connection.info.port
    database.execute(
        f"CREATE EXTENSION postgres_fdw; CREATE TABLE behind ({definitions});"
        "CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw "
        f"OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres');"
        "CREATE USER MAPPING FOR airflow SERVER here OPTIONS (user 'airflow');"
        f"CREATE FOREIGN TABLE {TABLE} ({definitions}) SERVER here OPTIONS (table_name 'behind')"
    )


@pytest.mark.parametrize("create", [view, partitioned_table, foreign_table])
def test_what_can_be_read_and_written_like_a_table_is_one(
    loading: Loading, database: Database, create: Callable[[str, Database], None]
) -> None:
    loading.run(lines("a"), table="model")
    query = "SELECT string_agg(column_name || ' ' || data_type, ', ') AS all FROM information_schema.columns"
    (definitions,) = database.query(f"{query} WHERE table_name = 'model'")
    create(definitions["all"], database)
    assert loading.run(lines("a", "b", "c")) == (3, 0, 0)
    assert loading.run(lines("b", "d", name="new"), minutes=1) == (1, 1, 0)
    assert loading.run(lines("b", "c"), minutes=0.5) == (0, 1, 1)
    names = database.by_key("name")
    assert names == {"a": ("name 1",), "b": ("new",), "c": ("name 1",), "d": ("new",)}
    database.execute("DROP EXTENSION IF EXISTS postgres_fdw CASCADE")


# rows of any shape, and both drivers


@pytest.mark.parametrize("cursor", ["dictcursor", "namedtuplecursor", "realdictcursor"])
def test_the_connection_may_return_another_type_of_rows(loading: Loading, database: Database, cursor: str) -> None:
    database.set_connection(cursor=cursor)
    if cursor == "realdictcursor" and USE_PSYCOPG3:
        with pytest.raises(ValueError, match="realdictcursor is not supported"):
            loading.run(lines("a"))
        return
    assert loading.run(lines("a", "b")) == (2, 0, 0)
    assert loading.run(lines("b", "c"), minutes=1) == (1, 1, 0)


def psycopg2_connection(address: str) -> Any:
    return psycopg2.connect(address)


def psycopg2_dictionaries(address: str) -> Any:
    return psycopg2.connect(address, cursor_factory=psycopg2.extras.RealDictCursor)


def psycopg3_connection(address: str) -> Any:
    psycopg = pytest.importorskip("psycopg")
    return psycopg.connect(address)


def psycopg3_dictionaries(address: str) -> Any:
    psycopg = pytest.importorskip("psycopg")
    return psycopg.connect(address, row_factory=psycopg.rows.dict_row)


def psycopg3_autocommit(address: str) -> Any:
    psycopg = pytest.importorskip("psycopg")
    return psycopg.connect(address, autocommit=True)


class AnyDriver:
    """
    The table, loaded through a connection of any driver.

    :param open_connection: opens one; the hook itself uses one driver only.
    """

    def __init__(self, open_connection: Callable[[str], Any], address: str) -> None:
        self.hook = BaseHook.get_connection("postgres_lake").get_hook()
        self.connection = open_connection(address)
        self.hook.get_conn = lambda: self.connection

    def load(self, chunks: Iterable[bytes], *, columns: Sequence[str] = COLUMNS, minutes: int = 0) -> LoadedTable:
        moment = datetime(2026, 1, 5, tzinfo=UTC)
        rows = TypedRows(chunks, fit_columns(plan_columns(columns)))
        origin = (f"uuid {minutes}", moment, moment, moment + timedelta(minutes=minutes))
        return PostgresTable(
            self.hook, TABLE, columns=rows.columns, origin=origin, key=("order_uuid",), create=True
        ).load(rows)


@pytest.fixture(
    params=[
        psycopg2_connection,
        psycopg2_dictionaries,
        psycopg3_connection,
        psycopg3_dictionaries,
        psycopg3_autocommit,
    ],
    ids=lambda open_connection: open_connection.__name__,
)
def driver(request: pytest.FixtureRequest, address: str, database: Database, batches_of) -> AnyDriver:
    batches_of(10)
    return AnyDriver(request.param, address)


@pytest.fixture(params=[psycopg2_connection, psycopg3_connection])
def drivers(request: pytest.FixtureRequest, database: Database) -> Callable[[str], AnyDriver]:
    """Return a function that opens a connection to an address."""
    return lambda address: AnyDriver(request.param, address)


def test_both_drivers_load_alike(driver: AnyDriver, database: Database) -> None:
    texts = ["", "NULL", "\\.", "a\n\\.\nb", 'a"b', "\\N", "Zoë"]
    body = rows_file(*({"line_item_uuid": str(index), "name": text} for index, text in enumerate(texts)))
    assert driver.load([body]) == LoadedTable(
        f"public.{TABLE}", rows=len(texts), keys=len(texts), inserted=len(texts), replaced=0
    )
    assert [name for (name,) in database.by_key("name").values()] == texts
    assert driver.connection.closed


def test_both_drivers_can_load_odd_names(drivers: Callable[[str], AnyDriver], address: str, database: Database) -> None:
    odd = ["%s", "%(name)s", "100 %", "%%", "$1", "?", ":name", "{0}", "x'); DROP TABLE order_lines; --", "a\\"]
    columns = [*COLUMNS, *odd]
    body = rows_file({name: name for name in odd}, columns=columns)
    assert drivers(address).load([body], columns=columns).inserted == 1
    assert drivers(address).load([lines("1")], minutes=1).replaced == 1
    assert drivers(address).load([body], columns=columns, minutes=2).replaced == 1
    (row,) = database.rows()
    assert [row[name] for name in odd] == odd


class _CutError(Exception):
    """The end of a download that was cut."""


def test_both_drivers_raise_what_ended_the_rows(driver: AnyDriver, database: Database) -> None:
    def chunks() -> Iterator[bytes]:
        yield rows_file(*({"line_item_uuid": str(index)} for index in range(50)))
        raise _CutError

    with pytest.raises(_CutError):
        driver.load(chunks())
    assert driver.connection.closed
    assert database.tables() == set()


def test_both_drivers_report_a_rejected_row_without_its_values(driver: AnyDriver, database: Database) -> None:
    body = rows_file({"name": "canary\0canary", "city": "canary"})
    with pytest.raises(CruxInvalidRequestError, match="SQLSTATE 22021, line 1") as raised:
        driver.load([body])
    assert "canary" not in whole_traceback(raised.value)
    assert driver.connection.closed
    assert database.tables() == set()


def test_both_drivers_undo_everything(driver: AnyDriver, database: Database) -> None:
    database.execute(f"CREATE TABLE {TABLE} (line_item_uuid text, name text)")
    database.raise_when("c")
    with pytest.raises(AirflowException, match=r"SQLSTATE P0001$"):
        driver.load([lines("a", "b", "c")])
    assert database.rows() == []
    columns = database.query(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{TABLE}'")
    assert len(columns) == 2
    assert driver.connection.closed


# tasks that load at once


@pytest.mark.parametrize("tables", [(TABLE, TABLE), (TABLE, "Public.Order_Lines")], ids=["same name", "with schema"])
@pytest.mark.parametrize("exists", [False, True], ids=["no table", "table"])
def test_two_loads_of_overlapping_exports_at_once_lead_to_the_right_table(
    loading: Loading, database: Database, monkeypatch, tables: tuple[str, str], exists: bool
) -> None:
    if exists:
        loading.run(lines("0", "399", "z", name="old"), minutes=-1)
    # in opposite orders, so that locks of single rows would lead to a deadlock
    keys = [str(index) for index in range(400)]
    bodies = {0: lines(*keys[:300], name="first"), 1: lines(*reversed(keys[100:]), name="second")}
    staged = [Event(), Event()]
    real = PostgresTable._open

    def lock_after_both_are_staged(self: PostgresTable, cursor: Any) -> bool:
        mine = tables.index(self.name) if tables[0] != tables[1] else staged[0].is_set()
        staged[mine].set()
        assert all(event.wait(60) for event in staged)
        return real(self, cursor)

    monkeypatch.setattr(PostgresTable, "_open", lock_after_both_are_staged)
    operators = []
    for index, table in enumerate(tables):
        uuid = loading.export()
        context = loading.new_context(loading.interval(uuid, loading.later(index)))
        loading.sandbox.respond_next(f"/sandbox-files/{uuid}", 200, {}, bodies[index])
        operators.append((loading.operator(uuid, table=table), context))
    with ThreadPoolExecutor() as threads:
        # execute() itself only runs in the main thread of Airflow 2
        for done in [
            threads.submit(resume, operator, context, export_uuid=operator.export_uuid, state="done")
            for operator, context in operators
        ]:
            done.result()
    names = {key: name for key, (name,) in database.by_key("name").items()}
    expected = dict.fromkeys(keys[:300], "first") | dict.fromkeys(keys[100:], "second")
    assert names == expected | ({"z": "old"} if exists else {})
    inserted = [context["ti"].pushed["export_table"]["inserted"] for _, context in operators]
    assert sum(inserted) == 400 - (2 if exists else 0)
    database.assert_nothing_is_left()


@pytest.mark.parametrize("isolation", [r"read\ committed", "serializable"])
@pytest.mark.parametrize("exists", [False, True], ids=["no table", "table"])
def test_ten_loads_at_once_all_succeed_with_any_isolation(
    drivers: Callable[[str], AnyDriver],
    address: str,
    database: Database,
    monkeypatch,
    *,
    isolation: str,
    exists: bool,
) -> None:
    if exists:
        drivers(address).load([lines("5", "z", name="old")], minutes=-1)
    options = quote(f"-c default_transaction_isolation={isolation}")
    barrier, waited = Barrier(10), set[PostgresTable]()
    real = PostgresTable._open

    def lock_with_all_others(self: PostgresTable, cursor: Any) -> bool:
        if self not in waited:
            waited.add(self)
            barrier.wait(60)
        return real(self, cursor)

    monkeypatch.setattr(PostgresTable, "_open", lock_with_all_others)

    def load(number: int) -> LoadedTable:
        driver = drivers(f"{address}?options={options}")
        return driver.load([lines("x", *map(str, range(number, number + 5)), name=str(number))], minutes=number)

    with ThreadPoolExecutor(10) as threads:
        results = list(threads.map(load, range(10)))
    names = {key: name for key, (name,) in database.by_key("name").items()}
    assert names == {"x": "9"} | {str(n): str(min(n, 9)) for n in range(14)} | ({"z": "old"} if exists else {})
    assert sum(result.inserted for result in results) == 15 - exists
