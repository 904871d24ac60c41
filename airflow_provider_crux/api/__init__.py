"""What Crux Connect says, and what to do about it: pure, no Airflow and no I/O."""
