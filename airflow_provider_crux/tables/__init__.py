"""How the rows of an export reach a database."""
