"""What ends an import."""

from __future__ import annotations


class ImportFailed(ValueError):
    """A record or a map that cannot be understood; the message names the place and what is allowed."""
