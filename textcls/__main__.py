"""``python -m textcls`` is the command ``textcls``."""

import sys

from textcls.cli import main

if __name__ == "__main__":
    sys.exit(main())
