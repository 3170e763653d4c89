"""Store ``sqlite``: one database file."""
