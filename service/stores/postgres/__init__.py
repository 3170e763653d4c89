"""Store ``postgres``: a PostgreSQL for many hosts."""
