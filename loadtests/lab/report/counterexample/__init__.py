"""The counterexample of a verdict: the operations that prove a violation, picked, described and drawn."""
