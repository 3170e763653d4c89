"""Store ``journal``: an append-only ledger an event."""
