"""What a process is among several that train together, as torchrun starts them, and how they talk.

Rank 0 leads: it prepares, measures, writes and prints, and says to the others what comes next. They
hear it through the store of the launcher, which waits for as long as it takes; numbers of a step go
through collectives, which do not.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from textcls.errors import Interrupted, TextclsError, first_line

if TYPE_CHECKING:  # what a process alone does without
    import torch
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

# A process that takes longer for a step is lost. (One that was killed is noticed at once.)
LOST_AFTER = timedelta(minutes=10)
# Seconds between two looks for what rank 0 says.
LISTEN = 0.01
# Seconds that rank 0 is given to say how it ends, after a signal.
GRACE = 5.0
_FROM_LAUNCHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ENDED = "ended"


class LostError(TextclsError):
    """Another process of the training has ended, or does not answer."""


class EndedError(TextclsError):
    """Rank 0 has ended, and has said what there is to say."""

    def __init__(self, exit_status: int) -> None:
        super().__init__("rank 0 has ended")
        self.exit_status = exit_status


@dataclass(frozen=True)
class Place:
    """What a process is among those of a launcher.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        local_rank: its number among those of its machine.
        local_size: how many its machine has.
        restart: how often the launcher has started them anew.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    restart: int

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0


def place() -> Place | None:
    """Return what torchrun says of this process; None: nothing, it was started by itself."""
    values = os.environ
    if not all(name in values for name in _FROM_LAUNCHER):
        return None
    rank, size = int(values["RANK"]), int(values["WORLD_SIZE"])
    return Place(
        rank,
        size,
        int(values.get("LOCAL_RANK", rank)),
        int(values.get("LOCAL_WORLD_SIZE", size)),
        int(values.get("TORCHELASTIC_RESTART_COUNT", 0)),
    )


def is_follower() -> bool:
    """Say whether another process writes and prints for this one."""
    here = place()
    return here is not None and not here.leads


class Team:
    """The processes that train together, as one of them sees them.

    Args:
        here: what this process is.
        store: that all of them reach; it outlives them where their launcher has it.

    Attributes:
        here: what this process is.
        sent: bytes that this process has handed to collectives so far.
    """

    def __init__(self, here: Place, store: Store) -> None:
        from torch.distributed.distributed_c10d import PrefixStore

        self.here, self.sent = here, 0
        # A launcher's store has the keys of those that it started before.
        self._of_all, self._store = store, PrefixStore(f"{here.restart}/{here.size}", store)
        self._said = 0

    # --- what rank 0 says ----------------------------------------------------------------------

    def recall(self, key: str) -> str | None:
        """Return what was kept under a key, before a restart too; None: nothing."""
        return self._of_all.get(key).decode() if self._of_all.check([key]) else None

    def keep(self, key: str, value: str) -> None:
        """Keep a value for those that the launcher starts in the place of these."""
        self._of_all.set(key, value)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Say something to the others, as rank 0; JSON has to have it."""
        self._said += 1
        self._store.set(f"said/{self._said}", json.dumps(message))

    def tell_end(self, exit_status: int) -> None:
        """Say to the others that there is nothing more to do, as rank 0."""
        self.tell({_ENDED: exit_status})
        self._store.set(_ENDED, str(exit_status))

    def end(self) -> int | None:
        """Return the exit status of rank 0, if it ends soon; None: it does not."""
        given_up = time.monotonic() + GRACE
        while not self._is_there(_ENDED):
            if time.monotonic() >= given_up:
                return None
        return int(self._store.get(_ENDED))

    def hear(self, signum: Callable[[], int | None] = lambda: None) -> dict[str, Any]:
        """Wait for what rank 0 says next.

        Args:
            signum: returns the signal that has come, if one has; then it is waited a little only.

        Raises:
            EndedError: it has ended.
            Interrupted: a signal had come, and nothing more.
            LostError: the store is gone.
        """
        self._said += 1
        key, given_up = f"said/{self._said}", None
        while not self._is_there(key):
            came, now = signum(), time.monotonic()
            if came is not None and given_up is None:
                given_up = now + GRACE
            elif came is not None and given_up is not None and now >= given_up:
                raise Interrupted(came)
        message: dict[str, Any] = json.loads(self._store.get(key))
        if _ENDED in message:
            raise EndedError(message[_ENDED])
        return message

    def _is_there(self, key: str) -> bool:
        """Say whether something is said; if not, it has waited a moment."""
        with _lost():  # (the store's own wait would write a warning each time it ends)
            found: bool = self._store.check([key])
        if not found:
            time.sleep(LISTEN)
        return found

    # --- collectives ---------------------------------------------------------------------------

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, which are alike in shape and dtype, by rank.

        Raises:
            LostError: a process is gone.
        """
        import torch
        import torch.distributed as dist

        found = [torch.empty_like(tensor) for _ in range(self.here.size)]
        with _lost():
            dist.all_gather(found, tensor.contiguous())
        self.sent += tensor.nbytes * (self.here.size - 1)
        return found

    def summed(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, to the same bits in each; ``tensor`` is overwritten.

        Raises:
            LostError: a process is gone.
        """
        import torch.distributed as dist

        with _lost():
            dist.all_reduce(tensor)
        # By a ring each process passes on all but its own part, twice.
        self.sent += 2 * tensor.nbytes * (self.here.size - 1) // self.here.size
        return tensor

    def copied(self, tensor: Tensor) -> Tensor:
        """Overwrite a tensor by that of rank 0, and return it.

        Raises:
            LostError: a process is gone.
        """
        import torch.distributed as dist

        with _lost():
            dist.broadcast(tensor.detach(), 0)
        self.sent += tensor.nbytes * (self.here.size - 1) * self.here.leads
        return tensor

    def collected(self, tensor: Tensor) -> list[Tensor] | None:
        """Return the tensors of all processes, alike in shape and dtype, at rank 0.

        Raises:
            LostError: a process is gone.
        """
        import torch
        import torch.distributed as dist

        size = self.here.size if self.here.leads else 0
        found = [torch.empty_like(tensor) for _ in range(size)]
        with _lost():
            dist.gather(tensor.contiguous(), found or None)
        self.sent += tensor.nbytes * (not self.here.leads)
        return found or None

    def share_of(self, count: int) -> range:
        """Return which of ``count`` things in a row are this process's."""
        return self.shares(count)[self.here.rank]

    def shares(self, count: int) -> list[range]:
        """Return which of ``count`` things in a row are each process's."""
        size = self.here.size
        return [range(count * rank // size, count * (rank + 1) // size) for rank in range(size)]


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo and NCCL
        # Without the place in their sources that comes first.
        reason = re.sub(r"^\[\S+\] ", "", first_line(error)).split(". ")[0]
        raise LostError(f"another process of the training is lost ({reason:.120})") from None


@contextmanager
def joined(here: Place, device: torch.device) -> Iterator[Team]:
    """Join the processes of a launcher for the block.

    Args:
        here: what this process is.
        device: that it trains on, a CPU or a GPU.

    Raises:
        LostError: they cannot be reached.
    """
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import TCPStore  # type: ignore[attr-defined]

    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL computes
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    is_there = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    with _lost():
        hosts = here.leads and not is_there
        of_launcher = TCPStore(address, port, is_master=hosts, wait_for_workers=False)
        store = PrefixStore("textcls", of_launcher)
        # Numbers that a CPU needs go from CPU to CPU, wherever the training is.
        backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
        of_group = PrefixStore(f"group/{here.restart}/{here.size}", store)
        dist.init_process_group(
            backend, timeout=LOST_AFTER, store=of_group, rank=here.rank, world_size=here.size
        )
    try:
        yield Team(here, store)
    finally:
        dist.destroy_process_group()
        if hosts:  # the others still hear what was said last
            others = [f"left/{rank}" for rank in range(1, here.size)]
            with suppress(RuntimeError):
                store.wait(others, timedelta(seconds=GRACE))
        elif not is_there:
            with suppress(RuntimeError):
                store.set(f"left/{here.rank}", "")
