"""Faults of processes: stopped, killed, starved, or out of descriptors."""
