"""Train from a clone, as ``textcls train`` does from a package: see ``python train.py --help``."""

from __future__ import annotations

import sys

from textcls.app.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
