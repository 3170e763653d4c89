"""The applications that a benchmark measures; they alone take the service apart."""
