"""Click types for places: the address of a service, and files and folders that a command will read or write.

A place that cannot be written is wrong usage, said before anything is started.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click


class _Address(click.ParamType[str]):
    """An address; one without a scheme, like ``127.0.0.1:8123``, is one with ``http://``."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if "://" in value else f"http://{value}"


class Written(click.Path):
    """A file or a folder that will be written. Nothing is left by the look whether it can be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(value))
        try:
            self._try(path)
        except OSError as error:
            self.fail(f"{value!r} cannot be written: {error.strerror or error}. Nothing was started.", param, ctx)
        return super().convert(value, param, ctx)

    def _try(self, path: Path) -> None:
        if not self.dir_okay:
            if path.exists():
                path.open("ab").close()
                return
            path = path.parent
        while self.dir_okay and not path.exists():
            path = path.parent
        tempfile.TemporaryFile(dir=path).close()


ADDRESS = _Address()
READ_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
WRITTEN_FILE = Written(dir_okay=False, path_type=Path)
WRITTEN_FOLDER = Written(file_okay=False, path_type=Path)
