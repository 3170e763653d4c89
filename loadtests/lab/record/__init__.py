"""A recording proxy: what passes through it, from any load tool, becomes a history (``lastseat record``)."""
