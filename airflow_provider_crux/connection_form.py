"""
The form in which Airflow's UI asks for a connection, in the two shapes that its versions read.

Airflow 3.2 and later read :data:`CONN_FIELDS` and :data:`UI_FIELD_BEHAVIOUR` from ``provider_info``; earlier versions
call the hook, which returns :func:`widgets` and :func:`field_behaviour`. What each extra means, its default and its
bounds come from :data:`airflow_provider_crux.api.settings.EXTRA_FIELDS`.
"""

from __future__ import annotations

from typing import Any, Final

from airflow_provider_crux.api.settings import EXTRA_FIELDS, ExtraField
from airflow_provider_crux.api.urls import PRODUCTION

# A standard field has no description, so its label says what a person must know. `schema` is hidden, because the host
# says it; `port` and `extra` are not, because without them the Test button of 3.3 and of 2.11 does not work.
UI_FIELD_BEHAVIOUR: Final[dict[str, Any]] = {
    "hidden-fields": ["schema"],
    "relabeling": {
        "host": "Host (empty: production; the vendor's sandbox: https://api-sandbox.cruxconnect.com)",
        "login": "User name (leave empty to use an API token)",
        "password": "API token, or the password of the user name",
        "port": "Port (enter 443 to use the Test button)",
    },
    "placeholders": {
        "host": PRODUCTION,
        "port": "443",
        # only Airflow 2 shows these
        **{name: extra.example for name, extra in EXTRA_FIELDS.items() if extra.example},
    },
}
"""How the form shows the fields that every connection has, as ``provider.yaml.schema.json`` defines it."""


def _json_schema(extra: ExtraField) -> dict[str, Any]:
    # Not `format: password` for the proxy, though it may contain one: Airflow masks the stored value by the field's
    # name, a typo in a URL should be visible, and on Airflow 2 such a field comes back empty whenever another one is
    # edited.
    if extra.bounds is not None:
        return {"type": ["integer", "null"], "minimum": extra.bounds[0], "maximum": extra.bounds[1]}
    # The one boolean is false by default: Airflow 2 shows a box whose default is true as checked, whatever is stored.
    if extra.default == "false":
        return {"type": "boolean", "default": False}
    # no null among the choices, because the form of Airflow 3 can clear the field
    choices = {"enum": list(extra.choices)} if extra.choices else {}
    return {"type": ["string", "null"], **({"format": "password"} if extra.secret else {}), **choices}


# No number has a default here: the form would store it, and the provider's own could never change for this connection.
CONN_FIELDS: Final[dict[str, dict[str, Any]]] = {
    name: {"label": extra.label, "description": extra.help, "schema": _json_schema(extra)}
    for name, extra in EXTRA_FIELDS.items()
}
"""The fields that are stored in the connection's extra, as ``provider.yaml.schema.json`` defines them."""


def field_behaviour() -> dict[str, Any]:
    """Return :data:`UI_FIELD_BEHAVIOUR` as Airflow's ``customized_form_field_behaviours.schema.json`` defines it."""
    return {key.replace("-", "_"): value for key, value in UI_FIELD_BEHAVIOUR.items()}


def widgets() -> dict[str, Any]:
    """
    Return :data:`CONN_FIELDS` as fields of wtforms.

    :raises ImportError: if wtforms or flask_appbuilder is missing, as in a plain Airflow 3, which does not call this.
    """
    return {name: _widget(**field) for name, field in CONN_FIELDS.items()}


def _widget(label: str, description: str, schema: dict[str, Any]) -> Any:
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # type: ignore[import-not-found]
    from wtforms import BooleanField, IntegerField, StringField  # type: ignore[import-untyped]
    from wtforms.validators import NumberRange, Optional, any_of  # type: ignore[import-untyped]

    if schema["type"] == "boolean":
        return BooleanField(label, description=description, default=schema["default"])
    if "integer" not in schema["type"]:
        validators = [Optional(), any_of(schema["enum"])] if "enum" in schema else []
        return StringField(label, description=description, validators=validators, widget=BS3TextFieldWidget())
    return IntegerField(
        label,
        description=description,
        validators=[Optional(), NumberRange(schema["minimum"], schema["maximum"])],
        widget=BS3TextFieldWidget(),
    )
