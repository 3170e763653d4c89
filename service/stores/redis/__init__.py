"""Store ``redis``: a Valkey or Redis for many hosts."""
