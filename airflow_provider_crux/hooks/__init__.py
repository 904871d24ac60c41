"""Hooks: the connection to Crux Connect, with one HTTP library each as the transport."""
