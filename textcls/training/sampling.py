"""Steps that compute the scores of some classes only, where there are very many.

A step takes the classes that its batch has and others at random. From the score of a class it takes
the log of the probability with which the class is among them: with several labels a text, that is
the correction of the intercept for sampled negatives, with one label the sampled softmax (Bengio
and Senécal, "Adaptive importance sampling to accelerate training of a neural probabilistic language
model", 2008; Yi et al., "Sampling-bias-corrected neural modeling", 2019, for classes out of the
batch). The scores that are learned are those of all classes: nothing is sampled in prediction.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.objective import Objective


class Sampled(NamedTuple):
    """What a step learns from.

    Attributes:
        classes: int64 ``[n]``, ascending: those whose scores it computes; None: all.
        targets: of its bags, by their places among ``classes``.
        objective: of these classes.
    """

    classes: Tensor | None
    targets: Targets
    objective: Objective


class ClassSampler:
    """Chooses the classes of each step.

    Args:
        targets: of the train split, on any device.
        num_classes: classes.
        count: classes that a step draws at random, beside those of its batch.
        batch_size: bags a step.
        objective: of all classes, on ``device``.
        seed: what is drawn depends on it and the number of the step.
        device: that of the model, and of the targets of steps.

    Attributes:
        log_probability: float32 ``[num_classes]`` on ``device``, with which probability, as a log,
            a class is among those of a step.
    """

    def __init__(
        self,
        targets: Targets,
        num_classes: int,
        count: int,
        batch_size: int,
        objective: Objective,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.num_classes, self.count = num_classes, count
        self.objective, self.seed = objective, seed
        share = targets.ids.bincount(minlength=num_classes).double() / targets.num_bags
        missed = count * torch.tensor(-1 / num_classes).double().log1p()
        missed = missed + batch_size * (-share.clamp(max=1)).log1p()
        # log(1 - exp(x)), exact where x is near 0.
        self.log_probability = (-missed.expm1()).log().float().to(device)

    def sample(self, step: int, targets: Targets, labels: Tensor | None = None) -> Sampled:
        """Choose the classes of a step.

        Args:
            step: its number in the whole training, from 0.
            targets: of its bags, or of those that a process has.
            labels: int64 ``[n]``, of all of its bags; None: those of ``targets``.
        """
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        drawn = torch.randint(self.num_classes, (self.count,), generator=generator)
        there = targets.ids if labels is None else labels
        classes = torch.unique(torch.cat([there, drawn.to(there.device)]))
        places = torch.searchsorted(classes, targets.ids)
        return Sampled(classes, targets._replace(ids=places), self._objective(classes))

    def _objective(self, classes: Tensor) -> Objective:
        weights, adjustment = self.objective.class_weights, self.objective.adjustment
        correction = self.log_probability[classes]
        return dataclasses.replace(
            self.objective,
            class_weights=None if weights is None else weights[classes],
            adjustment=-correction if adjustment is None else adjustment[classes] - correction,
        )
