"""Compares the tables that docs/evidence/versions.md has for the versions of Airflow."""

from __future__ import annotations

from tests.e2e import versions_page
from tests.e2e.versions_page import lookback_by_run, versions, write_table

# The runs that exist in every version.
RUNS_WITH_LOOKBACK = {
    ("e2e_today", "scheduled"),
    ("e2e_today", "manual"),
    ("e2e_daily", "scheduled"),
    ("e2e_daily", "manual"),
    ("e2e_six_hours", "scheduled"),
    ("e2e_berlin", "scheduled"),
    ("e2e_asset_or_time", "scheduled"),
    ("e2e_consumer", "asset-triggered"),
}


def test_lookback_exports_the_same_interval_on_every_version() -> None:
    tables = {airflow: lookback_by_run(airflow) for airflow in versions()}
    common_runs = set.intersection(*(set(table) for table in tables.values()))

    assert len(tables) == 6
    assert {(dag_id, run_type) for dag_id, run_type, _ in common_runs} == RUNS_WITH_LOOKBACK
    for run in common_runs:
        assert len({table[run] for table in tables.values()}) == 1, (run, {name: tables[name][run] for name in tables})


def test_table_of_a_pre_release_takes_the_place_of_the_one_before(monkeypatch, tmp_path) -> None:
    page = tmp_path / "versions.md"
    page.write_text("## Airflow 3.4.0b2\n\n| old |\n\n## Airflow 3.3.2\n\n| kept |\n")
    monkeypatch.setattr(versions_page, "PAGE", page)
    write_table("| new |\n", "3.4.0rc1")
    assert page.read_text() == "## Airflow 3.4.0rc1\n\n| new |\n\n## Airflow 3.3.2\n\n| kept |\n"
