"""What a search tries: choices and ranges of options, checked by the options' own types."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from textcls.config import (
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TokenizerConfig,
    TrainerConfig,
)
from textcls.errors import InputError
from textcls.faults import describe_all, describe_error
from textcls.values import STRICT, PositiveInt


@dataclass(frozen=True, config=STRICT)
class Range:
    """Numbers from ``low`` to ``high``: all, or those a whole number of ``step`` above ``low``."""

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low={self.low:g} is not below high={self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log=true is for low above 0, and for no step")


Choice = bool | int | float | str | tuple[int | float, ...] | None
Choices = tuple[Choice, ...]

# What may be searched: the options of these groups, without those that decide what trials are
# compared by or where they are computed.
TUNED_GROUPS = {
    "tokenizer": TokenizerConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "trainer": TrainerConfig,
}
NOT_TUNED = (
    "trainer.monitor", "trainer.overfit", "trainer.refit",
    "trainer.calibrate",
    "trainer.ensemble", "trainer.device", "trainer.num_threads",
    "trainer.profile",
)  # fmt: skip


@dataclass(frozen=True, config=STRICT)
class TuneConfig:
    """A search over settings (``configs/tune/default.yaml`` explains each key).

    Attributes:
        space: what is tried, by the option's name on the command line. A range's ends are ints
            where the option takes whole numbers, else floats.
    """

    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    trials: PositiveInt | None
    space: dict[str, Choices | Range]


_tune_adapter = TypeAdapter(TuneConfig)
_range_adapter = TypeAdapter(Range)


def parse_tuning(values: Mapping[str, Any], given: Collection[str] = ()) -> TuneConfig:
    """Validate the plain values of ``tune``, down to every value that its space names.

    Args:
        values: as ``configs/tune/`` has them; ``space`` is nested like the configuration.
        given: keys of the command line. An option among them is left as it is given there,
            unless its space is given there as well.

    Raises:
        InputError: as of :func:`parse`.
    """
    space = {
        option: _tried(option, tried)
        for option, tried in _space_by_option(values.get("space") or {}).items()
        if option not in given or _space_given(option, given)
    }
    if not space:
        raise InputError("tune.space is empty: there is nothing to search")
    try:
        return _tune_adapter.validate_python({**values, "space": space})
    except ValidationError as error:
        raise InputError(describe_all(error, "tune.")) from None


def _space_by_option(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and not value.keys() & {"low", "high", "log", "step"}:
            flat |= _space_by_option(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _space_given(option: str, given: Collection[str]) -> bool:
    """Say whether a key of the command line is the option's space, a part of it, or holds it."""
    space = f"tune.space.{option}."
    keys = [f"{key}." for key in given if key.startswith("tune.space")]
    return any(space.startswith(key) or key.startswith(space) for key in keys)


def _tried(option: str, tried: Any) -> Choices | Range:
    """Validate what is to be tried of an option, by the option's own type and limits."""
    name = f"tune.space.{option}"
    group, _, key = option.partition(".")
    hints = get_type_hints(TUNED_GROUPS.get(group, Range), include_extras=True)
    if group not in TUNED_GROUPS or key not in hints:
        raise InputError(f"{name}: there is no such option in {', '.join(TUNED_GROUPS)}")
    if option in NOT_TUNED:
        raise InputError(f"{name}: {option} is the same for all trials")
    adapter: TypeAdapter[Any] = TypeAdapter(hints[key])

    def valid(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise InputError(f"{name}: {value}: {message[0].lower()}{message[1:]}") from None

    if not isinstance(tried, Range | Mapping):
        if not isinstance(tried, list | tuple) or not tried:
            raise InputError(f"{name}={tried}: give a list, [1,2], or a range, {{low: 1, high: 2}}")
        if any(isinstance(value, Mapping) for value in tried):
            raise InputError(f"{name}: a choice is a value or a list of numbers, not a dict")
        return tuple(dict.fromkeys(valid(value) for value in tried))
    try:
        ends = _range_adapter.validate_python(tried)
    except ValidationError as error:
        item = dict(error.errors()[0])
        between = ": " if item["type"] == "value_error" else "."
        raise InputError(f"{name}{between}{describe_error(item)}") from None
    low, high = valid(ends.low), valid(ends.high)
    if isinstance(low, int) and ends.step is not None and not ends.step.is_integer():
        raise InputError(f"{name}.step={ends.step:g}: {option} takes whole numbers")
    return dataclasses.replace(ends, low=low, high=high)
