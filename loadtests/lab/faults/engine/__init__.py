"""Faults of the store's engine."""
