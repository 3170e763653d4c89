"""The game: a person is the scheduler and tries to break the real service, in a recorded page or live."""
