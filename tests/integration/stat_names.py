"""A function for [metrics] stat_name_handler. Airflow imports it before it can be imported itself."""


def reject_crux(name: str) -> str:
    """Return a name, unless it is one of this provider's."""
    if "crux." in name:
        raise ValueError(name)
    return name
