"""
Edit the description of a connection over Airflow's API as the UI does, and print for each case what is stored then.

A program of its own, with a process for each case, because Airflow reads its configuration once, when it starts.
Arguments: the connection as JSON, a password of another connection, and each case's sensitive_var_conn_names.
"""

from __future__ import annotations

import json
import os
import sys

from airflow.api_fastapi.app import create_app
from fastapi.testclient import TestClient
from sqlalchemy import select

CONNECTIONS = "/api/v2/connections"
CONN_ID = "crux_default"


def main(connection: str, other_password: str, *cases: str) -> None:
    from airflow import settings
    from airflow.utils.db import initdb

    initdb()
    for names in cases:
        if (process := os.fork()) == 0:
            os.environ["AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES"] = names
            settings.initialize()
            edit(connection, other_password)
            return
        if os.waitpid(process, 0)[1] != 0:
            raise SystemExit(1)


def edit(connection: str, other_password: str) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with TestClient(create_app()) as client:
        client.headers["Authorization"] = f"Bearer {client.get('/auth/token').json()['access_token']}"

        def send(method: str, path: str = "", **body: object) -> dict[str, object]:
            response = client.request(method, f"{CONNECTIONS}{path}", **({"json": body} if body else {}))
            response.raise_for_status()
            return response.json() if response.content else {}

        send("POST", connection_id=CONN_ID, conn_type="crux", **json.loads(connection))
        send("POST", connection_id="other", conn_type="postgres", password=other_password)
        shown = send("GET", f"/{CONN_ID}")
        fields = ("connection_id", "conn_type", "host", "login", "schema", "port", "password", "extra")
        send("PATCH", f"/{CONN_ID}", **{name: shown[name] for name in fields}, description="edited")
        with create_session() as session:
            stored = session.scalars(select(Connection).where(Connection.conn_id == CONN_ID)).one()
            result = {"conn_type": "crux", "password": stored.password, "extra": stored.extra_dejson}
        for conn_id in (CONN_ID, "other"):
            send("DELETE", f"/{conn_id}")
    sys.stdout.write(f"\n{json.dumps(result)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
