"""The switch of the guard, in all processes at once: in shared memory, or in an engine."""
