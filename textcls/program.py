"""Where the program's own files lie, and the command that trains."""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# What holds configs/ and the corpora of data/: the package itself where it was installed from a
# wheel, the folder above it in a clone.
ROOT = _PACKAGE if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent
CONFIGS = ROOT / "configs"


def train_command() -> str:
    """Return the command that trains, as it has been called here."""
    return "python train.py" if Path(sys.argv[0]).name == "train.py" else "textcls train"
