"""Transfers from Crux Connect to other systems."""
