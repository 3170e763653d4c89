"""Gates: the instructions of a learner's program before which an actor stops until it has the turn.

They are those that read or write what others may see: entries of collections, attributes and globals that are bound
anew, and whatever a call may do. Between two reads on one line there is none.
"""

from __future__ import annotations

import ast
import dis
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

from workers.exercises.common.program import Program

_READS = ("BINARY_SUBSCR", "BINARY_SLICE", "FOR_ITER", "CONTAINS_OP")
_WRITES = (
    "BEFORE_WITH", "LOAD_SPECIAL", "STORE_ATTR", "STORE_SUBSCR", "STORE_SLICE", "STORE_GLOBAL",
    "DELETE_ATTR", "DELETE_SUBSCR",
)  # fmt: skip
_PURE = frozenset({"abs", "bool", "float", "int", "isinstance", "Path", "print", "range", "repr", "round", "str"})
"""Calls that touch nothing that others may see; nor does the making of an exception."""
_OF_OTHERS = (io.TextIOWrapper, Path, str, list, dict, set)
"""A call of a method of these names may be none of the program's own."""


class GatedProgram(Program):
    """A learner's program, with the gates in it. Raises as ``Program`` does."""

    def __init__(self, path: Path, concurrent: str) -> None:
        super().__init__(path)
        tree = ast.parse(path.read_bytes())
        codes = list(_all_codes(self._code))
        self._rebound = {
            each.argval
            for code in codes
            for each in dis.get_instructions(code)
            if each.opname == "STORE_GLOBAL" or (each.opname == "STORE_ATTR" and code.co_name != "__init__")
        }
        own = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.ClassDef)}
        self._harmless = {
            dis.Positions(node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)
            for node in ast.walk(tree)
            if isinstance(node, ast.expr | ast.With) and _needs_no_gate(node, own)
        }
        self._region = _lines_of(tree, concurrent.split(".")) if concurrent else range(0)
        self._gates = {code: frozenset(self._gates_of(code)) for code in codes}

    def has_gate(self, frame: FrameType) -> bool:
        """Whether an actor stops before the instruction at which the frame is."""
        return frame.f_lasti in self._gates.get(frame.f_code, ())

    def _gates_of(self, code: CodeType) -> Iterator[int]:
        shared = False
        for each in dis.get_instructions(code):
            if each.starts_line or each.is_jump_target:
                shared = False
            called = each.opname.startswith("CALL") and each.positions not in self._harmless
            writes = called or each.opname in _WRITES
            rebound = each.opname in ("LOAD_GLOBAL", "LOAD_ATTR") and each.argval in self._rebound
            reads = rebound or each.opname in _READS or each.argrepr == "[]"
            if writes or (reads and not shared):
                yield each.offset
            shared = shared or writes or reads

    def place(self) -> tuple[int, bool]:
        """The line of the program at which this thread is, 0 if at none; whether it is in the concurrent part."""
        frame: FrameType | None = sys._getframe()
        line, inside = 0, False
        while frame is not None:
            if frame.f_code.co_filename == self.path:
                line = line or frame.f_lineno
                inside = inside or frame.f_lineno in self._region
            frame = frame.f_back
        return line, inside


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _all_codes(each)


def _needs_no_gate(node: ast.expr | ast.With, own: set[str]) -> bool:
    """Whether a call at this place touches nothing that others may see, or has gates of its own.

    One that is not written ends a ``with``: it gives a lock back, and before that nobody else gets in. Or it closes
    a file, and so writes it; such a ``with`` begins with a call.
    """
    if isinstance(node, ast.With):
        return not any(isinstance(each.context_expr, ast.Call) for each in node.items)
    if not isinstance(node, ast.Call):
        return True
    called = node.func
    if isinstance(called, ast.Attribute):
        return called.attr in own and not any(hasattr(each, called.attr) for each in _OF_OTHERS)
    return isinstance(called, ast.Name) and (called.id in own | _PURE or called.id.endswith(("Error", "Exception")))


def _lines_of(tree: ast.Module | ast.ClassDef, names: list[str]) -> range:
    """The lines of a function, or of a method as ``["Class", "method"]``."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == names[0]:
            if isinstance(node, ast.ClassDef):
                return _lines_of(node, names[1:])
            return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return range(0)
