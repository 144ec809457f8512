"""What fastText's programs catch."""

from __future__ import annotations

from textcls.errors import InputError


class FastTextError(InputError, ValueError):
    """A model or an argument is at fault, for which fastText raises ``ValueError``."""
