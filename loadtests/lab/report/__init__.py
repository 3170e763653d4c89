"""Says a verdict in words, and draws what happened."""
