"""The kinds of values that configurations have, and their limits."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

# "+" puts poolings side by side, always in this order; "weighted_" learns a weight per token id.
Mode = Literal[
    "mean", "sum", "sqrtn", "max", "mean+sum", "mean+sqrtn", "mean+max", "sum+sqrtn", "sum+max",
    "sqrtn+max", "mean+sum+sqrtn", "mean+sum+max", "mean+sqrtn+max", "sum+sqrtn+max",
    "mean+sum+sqrtn+max", "weighted_mean", "weighted_sum", "weighted_sqrtn",
]  # fmt: skip
OptimizerName = Literal["sgd", "adam", "adamw", "adagrad"]
# Whose kernels train on a GPU.
Kernels = Literal["auto", "triton", "torch"]
Parallel = Literal["data", "columns"]
# How the fields of a csv hold the delimiter: in quotes that are doubled inside, in quotes after a
# backslash, or not at all.
Quoting = Literal["double", "backslash", "none"]
Monitor = Literal["loss", "accuracy", "macro_f1", "micro_f1", "lrap", "quadratic_kappa"]
# What a feature weighs by its count in a document, and beside other features.
Counts = Literal["count", "log", "binary", "auto"]
CharTokenWeights = Literal[
    "idf", "log_count_ratio", "idf_log_count_ratio", "idf_sqrt_log_count_ratio", "auto"
]
TokenWeights = Literal[
    "idf", "log_count_ratio", "idf_log_count_ratio", "idf_sqrt_log_count_ratio", "bm25", "auto"
]
# A single name may be given where several are allowed: data.text=review or data.text=[title,body].
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (str(value),) if isinstance(value, str | int | float) else value),
]


def one_character(value: str) -> str:
    r"""Return a delimiter; a tab may be written ``\t`` or ``tab``.

    Raises:
        ValueError: it is no single character, or one that cannot delimit.
    """
    value = "\t" if value in ("\\t", "tab") else value
    if len(value) != 1 or value in '"\r\n':
        raise ValueError("a delimiter is one character, such as ';', or the word tab")
    return value


Delimiter = Annotated[str, AfterValidator(one_character)]
LabelDelimiter = Annotated[str, Field(min_length=1, max_length=16)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]
Size = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(gt=0, le=1e6)]
CharLength = Annotated[int, Field(ge=1, le=16)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


# Left to the corpus: textcls/defaults.py has a value for it. Whoever uses a configuration's values
# has these in their place before.
AUTO = "auto"


def is_auto(value: Any) -> bool:
    """Say whether a value is left to the corpus."""
    return isinstance(value, str) and value == AUTO


def _unless(is_word: Callable[[Any], bool]) -> WrapValidator:
    """Return what lets a word stand in the place of a value that is checked."""

    def check_others(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        return value if is_word(value) else check(value)

    return WrapValidator(check_others)


Auto = _unless(is_auto)

# A dimension in words: that of the class scores, which the table has then in place of vectors.
CLASSES = "classes"


def is_of_scores(dim: Any) -> bool:
    """Say whether a dimension stands for class scores."""
    return isinstance(dim, str) and dim == CLASSES


OfScores = _unless(is_of_scores)


STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
