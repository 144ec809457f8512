"""Compile the kernels for GPUs that need not be there; print a line of JSON about each."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from textcls.model import kernels

TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
# Types of arguments by name; pointers are multiples of 16.
INT64_POINTERS = ("starts", "counter")
INT32_POINTERS = (
    "indices", "lengths", "chosen", "bags", "rows", "row_tokens", "row_starts", "step_entries",
    "step_rows",
)  # fmt: skip
INTEGERS = ("batch_size", "padding", "num_rows")
FLOATS = ("weight_decay", "momentum", "beta1", "beta2")


def kind_of(name: str) -> str:
    if name in INTEGERS:
        return "i32"
    if name in FLOATS:
        return "fp32"
    if name in INT64_POINTERS:
        return "*i64"
    return "*i32" if name in INT32_POINTERS else "*fp32"


def report(kernel: Any, arch: int, dim: int, constants: dict[str, Any]) -> None:
    names = kernel.arg_names
    sizes = {
        "dim": dim,
        "COLUMNS": kernels.columns_of(dim),
        "ROWS": kernels.rows_of(dim),
        "TILE": kernels.TILE,
    }
    constants = {name: value for name, value in (sizes | constants).items() if name in names}
    signature = {name: "constexpr" if name in constants else kind_of(name) for name in names}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if signature[name].startswith("*")
    }
    source = ASTSource(kernel, signature, constants, aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([TOOL, option, file.name], capture_output=True, text=True, check=True)
            .stdout
            for option in ("--dump-resource-usage", "--dump-sass")
        )  # fmt: skip
    print(
        json.dumps(
            {
                "kernel": kernel.__name__,
                "arch": arch,
                "dim": dim,
                "constants": {key: value for key, value in constants.items() if key not in sizes},
                "registers": int(re.findall(r"REG:(\d+)", usage)[-1]),
                "stack": int(re.findall(r"STACK:(\d+)", usage)[-1]),
                "local": int(re.findall(r"LOCAL:(\d+)", usage)[-1]),
                "atomics": re.findall(r"\b(?:ATOM|ATOMG|RED)\.[.\w]*", code),
                "wide_loads": len(re.findall(r"\bLDG\.E\.128", code)),
            }
        )
    )


# A row of 300 numbers is cut into columns of 64, the last of them partly empty.
for arch, dim in ((90, 32), (90, 300), (80, 32)):
    report(
        kernels.pool_kernel, arch, dim,
        {
            "WEIGHT_SCALE": 0.3, "MEAN": 1, "SUM": 1, "MAX": 1, "WEIGHTED": False, "TOKENS": 64,
        },
    )  # fmt: skip
    report(kernels.credit_kernel, arch, dim, {"SUM": True, "MAX": True})
    report(kernels.join_kernel, arch, dim, {"JOINED": kernels.JOINED})
    report(
        kernels.settle_kernel, arch, dim, {"WEIGHT_SCALE": 0.3, "DENSE": False, "WEIGHTED": True}
    )
    for rule in ("sgd", "adagrad", "adam", "adamw") if dim == 32 and arch == 90 else ("adagrad",):
        report(
            kernels.update_kernel, arch, dim,
            {"RULE": rule, "REMEMBERS": True, "TOUCHED": True, "CLIPPED": True},
        )  # fmt: skip
