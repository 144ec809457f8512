"""An estimator's parameters as the settings of a training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from pydantic import TypeAdapter, ValidationError
from sklearn.utils import check_random_state

from textcls.training.apart import Settings
from textcls.values import is_auto

# Tokenizers that need no file.
TokenizerName = Literal["basic", "basic_english", "jieba", "split", "bpe", "wordpiece"]
_OF_TOKENIZER = (
    "min_freq", "max_tokens", "ngrams", "ngram_min_freq", "buckets", "char_ngrams", "char_weight",
    "char_token_weights", "counts", "token_weights", "ngram_weight",
)  # fmt: skip


_adapter = TypeAdapter(Settings)


def settings_of(parameters: Mapping[str, Any], class_weights: dict[str, float] | None) -> Settings:
    """Return the settings of a training.

    Args:
        parameters: of the estimator, by name.
        class_weights: weights of the classes in the loss, by name; None: all weigh 1.

    Raises:
        ValueError: a parameter is none that can be trained with.
    """
    # NumPy's numbers, of which a search's grid may consist, are none to pydantic.
    given = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in parameters.items()
    }
    tokenizer = given["tokenizer"]
    if tokenizer not in get_args(TokenizerName):
        known = ", ".join(get_args(TokenizerName))
        raise ValueError(f"tokenizer={tokenizer!r}: give one of {known}")
    if tokenizer in ("bpe", "wordpiece") and is_auto(given["char_ngrams"]):
        given["char_ngrams"] = None

    def group(*names: str, **others: Any) -> dict[str, Any]:
        return {name: given[name] for name in names} | others

    values = {
        "tokenizer": group(*_OF_TOKENIZER, name=tokenizer, max_size=None),
        "model": group("mode", "dim", "dropout", "vectors"),
        "optimizer": group(
            "lr", "initial_accumulator_value", name="adagrad", weight_decay=0.0, rows="auto"
        ),
        "schedule": group(name="linear", warmup=0.0),
        "trainer": group(
            "epochs",
            "batch_size",
            "label_smoothing",
            "sampled_classes",
            "focal",
            "logit_adjustment",
            class_weights=class_weights,
            clip_norm=None,
            monitor="loss",
            patience=None,
            overfit=None,
            device="cpu",
            num_threads=1,
        ),
        "seed": check_random_state(parameters["random_state"]).randint(2**31 - 1),
    }
    try:
        return _adapter.validate_python(values)
    except ValidationError as error:
        raise ValueError(_describe(dict(error.errors()[0]))) from None


def in_terms_of_parameters(message: str) -> str:
    """Name parameters, not the options of the command line that they stand for."""
    for group in ("tokenizer", "model", "trainer"):
        message = re.sub(rf"\b{group}\.(?!safetensors|json)(?=\w)", "", message)
    return message.replace("class_weights", "class_weight").replace("null", "None")


def _describe(item: dict[str, Any]) -> str:
    """Name the parameter at fault."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error":
        return in_terms_of_parameters(message)
    name = str(item["loc"][1]).replace("class_weights", "class_weight")
    return f"{name}={item['input']!r}: {message[0].lower()}{message[1:]}"
