"""A service that is not ours: its file, how it is started, asked and understood."""
