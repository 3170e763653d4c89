"""Faults of a disk: it is slow, full, or fails."""
