"""Faults of the network between the nodes, the engine and the buyers."""
