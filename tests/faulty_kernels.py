"""What ``python -m textcls.training.proof`` does, with kernels at fault, in Triton's interpreter.

python tests/faulty_kernels.py FAULT
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tests import interpreter  # noqa: F401 - before the kernels
from textcls.model import resident_bag
from textcls.training import proof


class Faulty:
    """In place of a kernel."""

    def __init__(self, does: Any) -> None:
        self.does = does

    def __getitem__(self, grid: Any) -> Any:
        return self.does


def fail(*arguments: Any) -> None:
    raise RuntimeError("an illegal memory access was encountered\nmore")


def hang(*arguments: Any) -> None:
    print("within a kernel", file=sys.stderr, flush=True)
    time.sleep(600)


FAULTS: dict[str, tuple[str, Any]] = {
    # Rows that reach over several tiles then lack all parts but the first.
    "wrong": ("join_kernel", lambda *arguments: None),
    "raises": ("credit_kernel", fail),
    "hangs": ("pool_kernel", hang),
}
proof.STEPS, proof.EPOCHS, proof.TIMED = 3, 1, 1
fault = sys.argv[1]
if fault in FAULTS:
    name, does = FAULTS[fault]
    setattr(resident_bag, name, Faulty(does))
if fault == "none":  # the interpreter is slower than any operator
    proof.timed = lambda trials: {"triton": 1e-3, "torch": 2.5e-3}
proof.main()
