"""The explorer: every order in which a few purchases can pass the service's gates, tried on the real code."""
