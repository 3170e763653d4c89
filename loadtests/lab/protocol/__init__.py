"""How a service is asked and its answers are read: one interface for all services."""
