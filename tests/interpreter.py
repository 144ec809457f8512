"""Triton's interpreter, which runs the kernels where there is no GPU; import it before them.

It scans number by number, which takes most of the time that these kernels take in it: here it scans
all columns at once, by the same function on the same numbers in the same order.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import torch

HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
if not HAS_GPU:
    os.environ["TRITON_INTERPRET"] = "1"


def _scan(self: Any, input: Any) -> list[Any]:
    arrays = [np.moveaxis(one.handle.data, self.axis, 0) for one in input]
    found = [np.empty_like(array) for array in arrays]
    total: Any = None
    for i in range(len(arrays[0])):
        here = [
            self.to_tensor(array[i], one.dtype) for array, one in zip(arrays, input, strict=True)
        ]
        total = here if total is None else self.combine_fn.fn(*total, *here)
        for out, tensor in zip(found, total, strict=True):
            out[i] = tensor.handle.data
    whole = [np.moveaxis(out, 0, self.axis) for out in found]
    return [self.to_tensor(array, one.dtype) for array, one in zip(whole, input, strict=True)]


if not HAS_GPU and sys.platform == "linux":
    from triton.runtime import interpreter

    interpreter.ScanOps.generic_scan = _scan
