"""What a task knows of its run: waiting, failing, its interval, its record, its paths."""
