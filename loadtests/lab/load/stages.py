"""Stages: how many buyers there are, over time. Locust looks once a second which stage it is."""

from __future__ import annotations

from locust import LoadTestShape

from loadtests.lab.experiment.knobs import stages_of


class Stages(LoadTestShape):
    """The stages of a text like ``10:30s,50:1m``, one after another; then the test ends."""

    abstract = True
    """Locust would take any other shape that it finds in a folder of locust files."""
    use_common_options = True

    def __init__(self, text: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stages = stages_of(text)
        self._a_second = float(max(users for users, _ in self._stages))

    def tick(self) -> tuple[int, float] | None:
        """How many buyers there are now, and how many are added or stopped a second; None at the end."""
        left_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        for users, lasts_s in self._stages:
            if left_s < lasts_s:
                return users, self._a_second
            left_s -= lasts_s
        return None
