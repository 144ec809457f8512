"""How much memory there is, and what a corpus that is larger takes of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from textcls.threads import usable_cpus

# What is free is not all taken: other programs want some as well.
SHARE = 0.7
# In memory a text takes up to so many times its size while it is prepared: see
# docs/larger-than-memory.md.
TIMES = 3
# So many shards' texts would fill it; a shard has the largest of these sizes that allows that.
SHARDS = 64
SIZES = tuple(1 << bits for bits in range(26, 15, -1))
# What a process takes by itself, and times the texts of a shard.
_OF_PROCESS, _TIMES_OF_SHARD = 400_000_000, 6
# Below it are the files that tell of limits.
ROOT = Path("/")


@dataclass(frozen=True)
class Plan:
    """What a corpus may take.

    Attributes:
        budget: bytes of memory, of all processes together.
        is_given: whether somebody has said so; else it was found out, and may be another next time.
    """

    budget: int
    is_given: bool = True

    @classmethod
    def of(cls, given: int | None) -> Plan:
        """Return one of so many bytes; None: of a share of what is free."""
        return cls(int(SHARE * free_memory()), False) if given is None else cls(given)

    def holds(self, num_bytes: int) -> bool:
        """Say whether texts of so many bytes fit into memory while they are prepared."""
        return TIMES * num_bytes <= self.budget

    @property
    def shard_bytes(self) -> int:
        """Bytes of texts that make a shard, a power of two."""
        most = self.budget // SHARDS
        return next((size for size in SIZES if size <= most), SIZES[-1])

    @property
    def processes(self) -> int:
        """How many processes may prepare shards at the same time."""
        each = _OF_PROCESS + _TIMES_OF_SHARD * self.shard_bytes
        return max(1, min(usable_cpus(), (self.budget - _OF_PROCESS) // each))


def free_memory() -> int:
    """Return how many bytes this process can still take, within the limits of its container."""
    found = [_available(), *_left_of_limits()]
    return min(number for number in found if number is not None)


def _available() -> int:
    try:
        lines = (ROOT / "proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return 1 << 33


def _left_of_limits() -> list[int]:
    """Return what control groups, versions 2 and 1, leave this process; without a limit nothing."""
    left = []
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = ROOT / "sys/fs/cgroup"
        try:
            most = int((folder / limit).read_text())
            left.append(max(most - int((folder / usage).read_text()), most // 4))
        except (OSError, ValueError):  # "max"
            continue
    return left
