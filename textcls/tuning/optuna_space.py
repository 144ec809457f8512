"""The space of a search as Optuna draws from it, and what a trial sets by what was drawn."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from textcls.config import Config, flatten, parse
from textcls.defaults import LEARNING_RATE, CorpusFacts, resolve
from textcls.errors import InputError
from textcls.tuning.settings import Settings, key_of
from textcls.tuning.space import Choices, Range
from textcls.values import AUTO, CLASSES, is_auto, is_of_scores


class OptunaSpace:
    """What Optuna draws for each option that is searched.

    What it draws, its *params*, is not quite what a trial sets: it cannot keep lists, and its
    numbers have more digits than anybody wants to type.

    Args:
        tried: what to try, by option.
        config: as given, with values in place of ``auto``.

    Attributes:
        given: the settings of ``config``.
        distributions: what Optuna draws from, by option.
        size: the number of different settings; infinite where an option has a range of floats.
    """

    def __init__(self, tried: Mapping[str, Choices | Range], config: Config) -> None:
        searched = set(tried)
        if config.tokenizer.counts is None and "tokenizer.counts" not in searched:
            searched -= {"tokenizer.token_weights", "tokenizer.ngram_weight"}
        options = flatten(config.to_dict())
        self.given: Settings = {name: options[name] for name in tried if name in searched}
        self.distributions = {
            name: _distribution(tried[name], value) for name, value in self.given.items()
        }
        self.size = math.prod(_size(distribution) for distribution in self.distributions.values())

    def given_params(self) -> dict[str, Any]:
        """Return the params of the configuration as given, of options whose value may be drawn."""
        return {
            name: _stored(value)
            for name, value in self.given.items()
            if _contains(self.distributions[name], value)
        }

    def untried_params(self, tried: Collection[str], draw: random.Random) -> dict[str, Any]:
        """Draw params of a finite space, of settings whose keys are not among those tried."""
        while True:
            params = {
                name: draw.choice(_values(distribution))
                for name, distribution in self.distributions.items()
            }
            if key_of(self.settings(params)) not in tried:
                return params

    def settings(self, params: Mapping[str, Any]) -> Settings:
        """Return what a trial sets: numbers that were drawn are cut to three digits."""
        settings: Settings = {}
        for name, distribution in self.distributions.items():
            value = _read(params[name])
            if isinstance(distribution, FloatDistribution) and value != self.given[name]:
                value = min(max(float(f"{value:.3g}"), distribution.low), distribution.high)
            settings[name] = value
        return settings


def fitting(
    tried: Mapping[str, Choices | Range], given: Config, about: CorpusFacts
) -> tuple[Config, dict[str, Choices | Range]]:
    """Return a configuration with values in place of ``auto``, and what to try around these.

    Where class scores, in place of vectors, suit a corpus, no dimension is tried beside them, and
    rates are around theirs, which is higher: unless there are dimensions to try but ``auto``.

    Args:
        tried: what to try, by option.
        given: the configuration, with ``auto`` in it.
        about: facts of the corpus.
    """
    resolved, found = resolve(given, about), dict(tried)
    if not (is_auto(given.model.dim) and is_of_scores(resolved.model.dim)):
        return resolved, found
    dims = found.pop("model.dim", ())
    if isinstance(dims, Range):
        dims = (dims.low,)
    if dims and not {AUTO, CLASSES} & set(dims):
        if given.model.vectors is not None:
            raise InputError(
                "tune.space.model.dim: model.vectors adds to class scores: leave it out"
            )
        changed = {"model": dataclasses.asdict(given.model) | {"dim": dims[0]}}
        return resolve(parse(given.to_dict() | changed), about), dict(tried)
    rates = found.get("optimizer.lr")
    if is_auto(given.optimizer.lr) and isinstance(rates, Range):
        factor = resolved.optimizer.lr / LEARNING_RATE
        found["optimizer.lr"] = Range(rates.low * factor, rates.high * factor, rates.log)
    return resolved, found


def _distribution(tried: Choices | Range, given: Any) -> BaseDistribution:
    """Return what Optuna draws from; ``auto`` among choices is the value as given."""
    if not isinstance(tried, Range):
        choices = (_stored(given if is_auto(value) else value) for value in tried)
        return CategoricalDistribution(tuple(dict.fromkeys(choices)))
    if isinstance(tried.low, int) and isinstance(tried.high, int):
        step = 1 if tried.step is None else int(tried.step)
        # As Optuna wants it: the last value is one of the steps.
        high = tried.low + (tried.high - tried.low) // step * step
        return IntDistribution(tried.low, high, tried.log, step)
    return FloatDistribution(tried.low, tried.high, tried.log, tried.step)


def _values(distribution: BaseDistribution) -> Sequence[Any]:
    """Return all values of a finite distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    assert distribution.step is not None
    steps = round((distribution.high - distribution.low) / distribution.step)
    return [distribution.low + index * distribution.step for index in range(steps + 1)]


def _size(distribution: BaseDistribution) -> float:
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        return math.inf
    return len(_values(distribution))


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        return value is not None and distribution.low <= value <= distribution.high
    if isinstance(distribution, FloatDistribution):
        return value is not None and any(
            math.isclose(value, one, abs_tol=1e-9) for one in _values(distribution)
        )
    return _stored(value) in _values(distribution)


def _stored(value: Any) -> Any:
    """Return a choice as Optuna can keep it: a list as the text of its JSON."""
    return json.dumps(value) if isinstance(value, tuple) else value


def _read(stored: Any) -> Any:
    """Return a choice that Optuna keeps; the inverse of :func:`_stored`."""
    is_list = isinstance(stored, str) and stored.startswith("[")
    return tuple(json.loads(stored)) if is_list else stored
