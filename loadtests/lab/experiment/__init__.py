"""One experiment as data: its settings, how it is run, what was expected, what came out."""
