"""Compares the cost of the provider with what you would use instead."""
