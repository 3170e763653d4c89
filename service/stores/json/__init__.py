"""Store ``json``: one document an event."""
