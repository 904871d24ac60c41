"""Triggers, one file for each resource of Crux Connect."""
