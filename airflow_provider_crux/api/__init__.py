"""What Crux Connect says and what to do about it: pure, without Airflow and without I/O."""
