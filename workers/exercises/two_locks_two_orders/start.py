import threading


class Show:
    """A show, and how many seats of it are free."""

    def __init__(self, name: str, free: int) -> None:
        self.name = name
        self.free = free
        self.lock = threading.Lock()


def change(buyer: str, old: Show, new: Show) -> None:
    # concurrent
    new.free = new.free - 1
    old.free = old.free + 1


def move(buyer: str, old: Show, new: Show) -> None:
    """The buyer gives the seat in the old show back, and takes one in the new show."""
    with old.lock:
        with new.lock:
            change(buyer, old, new)
