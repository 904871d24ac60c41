"""
The form in which Airflow's UI asks for a connection: defined once, given in the two shapes that its versions read.

Airflow 3.2 and later read :data:`CONN_FIELDS` and :data:`UI_FIELD_BEHAVIOUR` from ``provider_info``; earlier ones call
the hook, which answers with :func:`widgets` and :func:`field_behaviour`. What the fields mean is decided in
:mod:`airflow_provider_crux.api.connection`; Airflow reads this module at start-up, so it imports nothing.
"""

from __future__ import annotations

from typing import Any, Final

# A standard field has no description of its own: what a person must know stands in its label. `schema` is hidden, for
# the host says it; `port` and `extra` are not, for without them the Test button of 3.3 and of 2.11 does not work.
UI_FIELD_BEHAVIOUR: Final[dict[str, Any]] = {
    "hidden-fields": ["schema"],
    "relabeling": {
        "host": "Host (empty: production; the vendor's sandbox: https://api-sandbox.cruxconnect.com)",
        "login": "User name (leave empty to use an API token)",
        "password": "API token, or the password of the user name",
        "port": "Port (enter 443 to use the Test button)",
    },
    "placeholders": {
        "host": "https://api.cruxconnect.com",
        "port": "443",
        # shown by Airflow 2 only
        "connect_timeout": "10",
        "read_timeout": "60",
        "max_retries": "3",
        "ca_bundle": "/etc/ssl/certs/company.pem",
        "proxy": "http://proxy.example:3128",
    },
}
"""How the fields that every connection has are shown, as ``provider.yaml.schema.json`` writes it."""

# No number has a default here: the form would store it, and the hook's own could never change for this connection.
# The one boolean is false unless set, for Airflow 2 shows a box whose default is true as checked whatever is stored.
CONN_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "connect_timeout": {
        "label": "Connect timeout (seconds)",
        "description": "Seconds until a connection must stand. Empty: 10.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 86400},
    },
    "read_timeout": {
        "label": "Read timeout (seconds)",
        "description": "Seconds without a byte after which an answer counts as lost. Empty: 60.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 86400},
    },
    "max_retries": {
        "label": "Retries",
        "description": "How often a call is sent again at most, where that is safe; an export that may have been "
        "started is never asked for twice. Empty: 3.",
        "schema": {"type": ["integer", "null"], "minimum": 0, "maximum": 999},
    },
    "ca_bundle": {
        "label": "CA bundle (path)",
        "description": "File of the certificates to trust, on every machine of Airflow. Empty: the usual ones.",
        "schema": {"type": ["string", "null"]},
    },
    # Not `format: password`, though one may stand in it: Airflow masks the stored value by the field's name, and a slip
    # in a URL wants to be seen. On Airflow 2 such a field comes back empty whenever another one is edited.
    "proxy": {
        "label": "Proxy (URL)",
        "description": "Empty: what the environment says. Airflow masks it where it shows connections; Airflow 2 "
        "shows it in the form for editing.",
        "schema": {"type": ["string", "null"]},
    },
    "allow_http": {
        "label": "Allow http",
        "description": "Let the token travel in clear text to a host that is not this machine. For tests only.",
        "schema": {"type": "boolean", "default": False},
    },
}
"""The fields that are stored in the connection's extra, as ``provider.yaml.schema.json`` writes them."""


def field_behaviour() -> dict[str, Any]:
    """Return :data:`UI_FIELD_BEHAVIOUR` as Airflow's ``customized_form_field_behaviours.schema.json`` writes it."""
    return {key.replace("-", "_"): value for key, value in UI_FIELD_BEHAVIOUR.items()}


def widgets() -> dict[str, Any]:
    """
    Return :data:`CONN_FIELDS` as fields of wtforms.

    :raises ImportError: where wtforms or flask_appbuilder is missing, as in a plain Airflow 3, which does not ask.
    """
    return {name: _widget(**field) for name, field in CONN_FIELDS.items()}


def _widget(label: str, description: str, schema: dict[str, Any]) -> Any:
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # type: ignore[import-not-found]
    from wtforms import BooleanField, IntegerField, StringField  # type: ignore[import-untyped]
    from wtforms.validators import NumberRange, Optional  # type: ignore[import-untyped]

    if schema["type"] == "boolean":
        return BooleanField(label, description=description, default=schema["default"])
    if "integer" not in schema["type"]:
        return StringField(label, description=description, widget=BS3TextFieldWidget())
    return IntegerField(
        label,
        description=description,
        validators=[Optional(), NumberRange(schema["minimum"], schema["maximum"])],
        widget=BS3TextFieldWidget(),
    )
