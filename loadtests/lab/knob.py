"""One setting of an experiment, as the annotation of a struct's field; and the kinds of values that it may have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

import click
import msgspec


class Real(click.FloatRange):
    """A number in a range. NaN is in no range, but Click would accept it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class OneOf(click.ParamType[str]):
    name = "name"

    def __init__(self, names: Callable[[], list[str]], or_like: Callable[[str], bool] = lambda _: False) -> None:
        self._names = names
        self._or_like = or_like

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self._names() and not self._or_like(str(value)):
            self.fail(f"{value!r} is not one of {', '.join(self._names())}.", param, ctx)
        return str(value)


class Text(click.ParamType[str]):
    """A text that a function can read; its ``ValueError`` says what is allowed."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self._read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Delay(click.ParamType[str]):
    """Milliseconds: ``20``, or a range like ``10-50``."""

    name = "ms"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        low, dash, high = str(value).partition("-")
        try:
            fits = 0 <= float(low) <= float(high if dash else low) <= 60_000
        except ValueError:
            fits = False
        if not fits:
            self.fail(f"{value!r} is not milliseconds like 20 or 10-50, from 0 to 60000.", param, ctx)
        return str(value)


OF_FIELD = object()
"""The default of a setting whose default is its field's."""


@dataclass(frozen=True)
class Knob:
    """One setting of an experiment: the values, the help, and what its field does not say already."""

    kind: click.ParamType[Any]
    says: str
    name: str = ""
    """By default the field's, without its unit."""
    default: Any = OF_FIELD
    only: tuple[str, ...] = ()
    """The locust files that have it; empty: all."""
    by_hand: Any = None
    """The default of the locust files, where that is another."""
    of_locust: bool = False
    """Whether the locust files have an option for it. Some are options of locust itself."""
    part: str = ""
    """The part of an experiment that has it."""
    field: str = ""
    """Its name in the record, where that is another."""

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    def read(self, text: Any) -> Any:
        """The value that a text stands for. Raises ``ValueError``; its message says what is allowed."""
        try:
            return self.kind.convert(text, None, None)
        except click.BadParameter as error:
            raise ValueError(error.message) from None


def knobs_of(part: str, struct: type[msgspec.Struct]) -> Iterator[Knob]:
    """The settings that a struct's fields are annotated with, in their order."""
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        for knob in getattr(hints[field.name], "__metadata__", ()):
            name = knob.name or field.name.removesuffix("_s")
            default = field.default if knob.default is OF_FIELD else knob.default
            yield dataclasses.replace(knob, part=part, field=field.name, name=name, default=default)
