"""The type of options that are durations: ``1ms``, ``30s``, ``2m``."""

from __future__ import annotations

from typing import Any

import click

from loadtests.lab.durations import duration_ns


class _Duration(click.ParamType[int]):
    """Nanoseconds, from a text like 1ms."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else duration_ns(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()
