"""``lastseat journal`` and ``lastseat store``."""
