"""The checksum of a safetensors file: a weight with a bit turned over looks like any other.

It stands in the file's own metadata. Files of earlier releases have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import xxhash
from safetensors import safe_open
from torch import Tensor

CHECKSUM = "checksum"


def with_checksum(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return metadata of a file and beside them the checksum of these and of its tensors.

    Args:
        tensors: on the CPU, by name.
        metadata: what else the file is to say of itself.
    """
    metadata = dict(metadata or {})
    return metadata | {CHECKSUM: _checksum(tensors, metadata)}


def check(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> None:
    """Check that tensors and metadata of a file are those that were written, if it has a checksum.

    Raises:
        ValueError: they are not.
    """
    rest = dict(metadata or {})
    wanted = rest.pop(CHECKSUM, None)
    if wanted is not None and wanted != _checksum(tensors, rest):
        raise ValueError("its checksum does not match its content")


def check_file(path: Path) -> None:
    """Check that a file is what was written, if it has a checksum.

    Raises:
        OSError, SafetensorError, ValueError: it is not.
    """
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        check({name: file.get_tensor(name) for name in names}, file.metadata())


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    hashed = xxhash.xxh3_128()
    for item in sorted(metadata.items()):
        hashed.update(repr(item).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        hashed.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        if tensor.numel():  # an empty one may have strides that forbid a view
            hashed.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return f"xxh3_128:{hashed.hexdigest()}"
