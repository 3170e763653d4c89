"""Measurements that the documentation cites, each run by ``python -m``."""
