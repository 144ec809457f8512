"""Whether Triton's kernels train on a machine as torch's own operators do, and no slower.

A *case* is a kind of training at about its size. Made-up batches of it are trained on side by side:
by torch's operators on the CPU, which are the reference, by the kernels on the device, and by
torch's operators there. All begin each step at the reference's weights, so that what a step does
differently is seen in that step, and not in what earlier ones made of it.

Run as a module, it tries the case that stdin names, and prints what it found, in JSON.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.sampler import Epoch, epoch_order
from textcls.errors import first_line
from textcls.training.cases import Case, bags_of, model_of, objective_of, optimizer_of
from textcls.training.checkpoint import Progress
from textcls.training.steps import Steps
from textcls.training.timing import seconds_of

CPU = torch.device("cpu")
# How far steps may be from the reference: the 2-norm of the differences in a tensor (a parameter,
# or what the optimizer remembers of it) by that of what the steps changed there; and the share of
# the loss. Sums in another order differ by some 1e-7.
WEIGHTS, LOSS = 1e-4, 1e-5
# How much of itself a stored number may be off by rounding, however little the step changed it.
ROUNDING = 2.0**-22
# Steps of an epoch, and epochs that are compared. The third step is captured, later ones replayed;
# the last of an epoch is a smaller one.
STEPS, EPOCHS = 16, 2
# Epochs that are timed, of which the fastest counts: others may be at work on the device as well.
TIMED = 5
# Memory that a layout is told it may use where there is no GPU to ask.
CPU_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """What trying a case came to.

    Attributes:
        fault: why the kernels are not to be used; None: they gave what torch's operators gave, and
            no slower.
        weights, loss: the largest differences from the reference: see :data:`WEIGHTS`.
        steps: that were compared.
        tokens: of a step, on average.
        seconds: that a step takes, by ``triton`` and ``torch``.
        torch_fault: how torch's operators on the device differ from those on the CPU; None: they
            do not, or were not tried.
        when: the day.
    """

    fault: str | None = None
    weights: float = 0.0
    loss: float = 0.0
    steps: int = 0
    tokens: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    torch_fault: str | None = None
    when: str = ""

    def __str__(self) -> str:
        more = ""
        if self.torch_fault is not None:
            more = f"; torch's operators differ here from those on a CPU: {self.torch_fault}"
        if self.fault is not None:
            return f"{self.fault}{more} (found on {self.when}; textcls doctor tries again)"
        if self.seconds:
            times = self.seconds["torch"] / self.seconds["triton"]
            more = f", {times:.3g} times as fast{more}"
        return (
            f"on {self.when}, {self.steps} steps were those of torch's operators (weights within "
            f"{self.weights:.0e} of a change, losses within {self.loss:.0e}){more}"
        )


def prove(case: Case, device: torch.device) -> Finding:
    """Try a case on a device: compare steps, then time them."""
    from textcls.training.captured import CapturedSteps

    bags, differences = bags_of(case, STEPS), Differences()
    triton = Trial(case, bags, device, CapturedSteps)
    differences.add(triton, EPOCHS)
    differences.add(Trial(case, bags, device, CapturedSteps, streamed=True), 1)
    fault = differences.fault
    found = Finding(
        None if fault is None else f"Triton's kernels gave something else: {fault}",
        differences.weights,
        differences.loss,
        differences.steps,
        bags.num_tokens / STEPS,
    )
    differences = Differences()
    try:
        torchs = Trial(case, bags, device, Steps)
        differences.add(torchs, EPOCHS)
    except Exception as error:
        return replace(found, torch_fault=_failed(error))
    found = replace(found, torch_fault=differences.fault)
    if fault is not None:
        return found
    seconds = timed({"triton": triton, "torch": torchs})
    if seconds["triton"] > seconds["torch"]:
        fault = (
            f"Triton's kernels are slower: a step takes {1e3 * seconds['triton']:.3g} ms, by "
            f"torch's operators {1e3 * seconds['torch']:.3g} ms"
        )
    return replace(found, fault=fault, seconds=seconds)


def timed(trials: Mapping[str, Trial]) -> dict[str, float]:
    """Return the seconds a step of each trial, in turn: what else is at work slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    for number in range(TIMED):
        for name, trial in trials.items():
            seconds[name].append(trial.seconds(number))
    return {name: min(found) / STEPS for name, found in seconds.items()}


class Trial:
    """A training of a case, by one kind of steps on one device.

    Args:
        case: of model, optimizer and objective.
        bags: to train on, on the CPU.
        device: of the model.
        kind: ``Steps`` or ``CapturedSteps``.
        streamed: with the latter, whether the bags are brought to the device step by step, as if
            all of them did not fit there.
    """

    def __init__(
        self, case: Case, bags: Bags, device: torch.device, kind: type[Any], streamed: bool = False
    ) -> None:
        self.case, self.bags, self.device = case, bags, device
        self.model = model = model_of(case).to(device)
        self.optimizer = optimizer_of(case, model)
        lr = self.optimizer.config.lr
        more: dict[str, Any] = {}
        if kind is Steps:
            bags = bags.to(device)
        else:
            room = CPU_BYTES if device.type == "cpu" else None
            more = {"total_steps": (EPOCHS + TIMED) * STEPS, "free_bytes": 0 if streamed else room}
        self.steps = kind(
            model, self.optimizer, bags, case.bags, objective_of(case, device),
            lambda step: lr * (1 - 0.01 * (step % STEPS)), **more,
        )  # fmt: skip

    def state(self, copied: bool = False) -> dict[str, Tensor]:
        """Return all that a step changes, by name."""
        found = {name: p.detach() for name, p in self.optimizer.parameters.items()}
        found |= self.optimizer.state_dict()
        return {name: value.clone() for name, value in found.items()} if copied else found

    @torch.no_grad()
    def take_over(self, state: dict[str, Tensor]) -> None:
        """Go on from another's state, in the same tensors."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def epoch(self, number: int) -> Iterator[int]:
        """Train on an epoch, step by step."""
        order = epoch_order(len(self.bags), 0, number)
        epoch = Epoch.of(order, self.case.bags, number)
        steps: Iterator[int] = self.steps.epoch(epoch, Progress(epoch=number))
        return steps

    def seconds(self, number: int) -> float:
        """Return what an epoch takes; ``number``: of those that are timed, from 0."""
        steps = self.epoch(EPOCHS + number)
        return seconds_of(self.device, lambda: deque(steps, maxlen=0))


class Differences:
    """How far trials were from the reference, torch's operators on the CPU.

    Over all steps together: what one step changes may nearly cancel out, as with a bias.

    Attributes:
        loss: the largest difference of a loss, by the loss.
        steps: that were compared.
    """

    def __init__(self) -> None:
        # By tensor the squared 2-norms of differences, changes, and numbers that were stored.
        self._squares: dict[str, Tensor] = {}
        self.loss, self.steps = 0.0, 0

    def add(self, trial: Trial, epochs: int) -> None:
        """Train beside the reference, from its weights at each step, and compare."""
        reference = Trial(trial.case, trial.bags, CPU, Steps)
        for epoch in range(epochs):
            before = reference.state(copied=True)
            for _ in zip(trial.epoch(epoch), reference.epoch(epoch), strict=True):
                self._compare(trial, reference, before)
                before = reference.state(copied=True)
                trial.take_over(before)

    def _compare(self, trial: Trial, reference: Trial, before: dict[str, Tensor]) -> None:
        self.steps += 1
        wanted = reference.state()
        for name, found in trial.state().items():
            exact, old = (state[name].to(found.device) for state in (wanted, before))
            parts = (found - exact, exact - old, exact * (exact != old))
            norms = [torch.linalg.vector_norm(part, dtype=torch.float64) for part in parts]
            squares = torch.stack(norms).square().cpu()
            self._squares[name] = self._squares.get(name, 0) + squares
        exact_loss = reference.steps.loss_sum.item()
        self.loss = _larger(self.loss, abs(trial.steps.loss_sum.item() / exact_loss - 1))

    @property
    def shares(self) -> dict[str, float]:
        """By tensor, the difference by the change, beyond what rounding accounts for."""
        found = {}
        for name, squares in self._squares.items():
            error, change, stored = squares.sqrt().tolist()
            beyond = error - ROUNDING * stored
            found[name] = 0.0 if beyond <= 0 else beyond / max(change, 1e-30)
        return found

    @property
    def weights(self) -> float:
        """The largest of the shares."""
        return reduce(_larger, self.shares.values())

    @property
    def fault(self) -> str | None:
        """What is too far, in words."""
        off = [(name, share) for name, share in self.shares.items() if not share <= WEIGHTS]
        if off:
            (name, share), more = off[0], f", and {len(off) - 1} more" if off[1:] else ""
            return f"{name} is off by {share:.1e} of its change, allowed is {WEIGHTS:.0e}{more}"
        if not self.loss <= LOSS:
            return f"the loss is off by {self.loss:.1e} of it, allowed is {LOSS:.0e}"
        return None


def _larger(one: float, other: float) -> float:
    return other if not other <= one else one  # a NaN stays


def _failed(error: Exception) -> str:
    return f"failed here ({type(error).__name__}: {first_line(error):.200})"


def main() -> None:
    """Try the case that stdin names, ``{"device": …, "case": {…}}``; print the finding."""
    asked = json.load(sys.stdin)
    device = torch.device(asked["device"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        found = prove(Case(**asked["case"]), device)
    except Exception as error:
        found = Finding(f"Triton's kernels {_failed(error)}")
    print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
