import json
import time
from pathlib import Path


class Show:
    """The seats of one show, in a file. Each process has an object of its own, and all have one file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seats.json"

    def draw(self, seats: dict[str, str]) -> list[str]:
        # concurrent
        time.sleep(0.1)
        return [f"{seat}: {buyer or 'free'}" for seat, buyer in seats.items()]

    def look(self) -> list[str]:
        """The page that a visitor sees: a line for each seat."""
        text = self.file.read_text()
        return self.draw(json.loads(text))

    def sell(self, seat: str, buyer: str) -> None:
        """Writes down who has the seat. One process alone sells; the others look."""
        seats = json.loads(self.file.read_text())
        seats[seat] = buyer
        with self.file.open("w") as file:
            json.dump(seats, file)
