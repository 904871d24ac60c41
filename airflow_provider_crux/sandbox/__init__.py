"""A stand-in for the Crux Connect API to develop and test DAGs against: no e-mail, no real person.

Start it with ``python -m airflow_provider_crux.sandbox``, or inside a test with
:func:`airflow_provider_crux.sandbox.server.running_sandbox`. It shares no code with the client, so that the
two can disagree: a rule that one of them got wrong shows as a refused call.
"""
