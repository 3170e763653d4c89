"""A learner's program, loaded anew for each order, so that no order sees what another left."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from workers.exercises.common.exercise import Finding


class Program:
    """The program in one file. Raises ``OSError``, ``SyntaxError`` or ``ValueError`` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path.resolve())
        source = path.read_bytes()
        self._code = compile(source, self.path, "exec")
        self._lines = source.decode(errors="replace").splitlines()

    def load(self) -> ModuleType:
        """The module, executed once more. Raises whatever the program raises."""
        name = Path(self.path).stem
        module = ModuleType(name)
        module.__file__ = self.path
        sys.modules[name] = module  # dataclasses look for it there
        exec(self._code, module.__dict__)
        return module

    def line(self, number: int) -> str:
        """The text of a line, without its indentation."""
        return self._lines[number - 1].strip() if 0 < number <= len(self._lines) else ""

    def raised(self, error: BaseException, actor: str = "") -> Finding:
        """The finding that an actor, or the loading of the program, ended with this error.

        Raises it again if it is of none of the program's lines, nor of a use of what the program does not have.
        """
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        line = self._line_of(error.__traceback__)
        if not line and isinstance(error, (AttributeError, TypeError)):
            return Finding("does_not_fit", {"error": said})
        if not line:
            raise error
        name = "raised" if actor else "not_loaded"
        return Finding(name, {"actor": actor, "line": line, "source": self.line(line), "error": said})

    def _line_of(self, traceback: TracebackType | None) -> int:
        found = 0
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == self.path:
                found = traceback.tb_lineno
            traceback = traceback.tb_next
        return found


def replace_function(module: ModuleType, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Puts a wrapper around a function of the module, or around a method as ``Class.method``.

    Raises ``AttributeError`` if the module has none.
    """
    *owners, last = name.split(".")
    owner: Any = module
    for each in owners:
        owner = getattr(owner, each)
    setattr(owner, last, wrap(getattr(owner, last)))
