"""Processes that the lab starts, watches and ends: the office, engines, nodes, networks."""
