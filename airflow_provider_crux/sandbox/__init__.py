"""
A stand-in for the Crux Connect API to develop and test DAGs against. It sends no e-mail and its data is made up.

Start it with ``python -m airflow_provider_crux.sandbox``, or in a test with the fixture ``crux_sandbox``. It shares no
code with the client, so a mistake on one side shows up as a rejected request.
"""
