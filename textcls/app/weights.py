"""Class weights out of a file: a weight by label, in JSON, YAML or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from textcls.errors import InputError

_KEY = "trainer.class_weights"
_HEADER = ("label", "weight")


def weights_by_label(value: str) -> dict[str, float] | str:
    """Return the class weights that a string means.

    Args:
        value: ``balanced``, which is returned, an object of JSON, or a file: .json or .yaml with a
            weight by label, or .csv of two columns, label and weight.

    Raises:
        InputError: there is no such file, or it does not hold a number for each of its labels.
    """
    if value == "balanced":
        return value
    if value.startswith("{"):
        return _checked(_KEY, _json(_KEY, value))
    path = Path(value).expanduser()
    if not path.is_file():
        raise InputError(
            f"{_KEY}={value}: there is no such file: give balanced, '{{LABEL: 2, LABEL: 1}}' or a "
            ".json, .yaml or .csv file of labels and weights"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{_KEY}={value}: cannot be read ({error})") from None
    ending = path.suffix.lower()
    if ending == ".json":
        return _checked(value, _json(value, text))
    if ending in (".yaml", ".yml"):
        return _checked(value, _yaml(value, text))
    if ending == ".csv":
        return _checked(value, _csv(value, text))
    raise InputError(f"{_KEY}={value}: write the weights as .json, .yaml or .csv")


Pairs = Iterable[tuple[Any, Any]]


def _json(name: str, text: str) -> Pairs:
    try:
        pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: is no valid JSON ({error})") from None
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise InputError(f'{name}: is no object of weights by label, as in {{"spam": 2, "ham": 1}}')
    return pairs


def _yaml(name: str, text: str) -> Pairs:
    import yaml

    try:
        # This loader leaves all scalars as they are written: a label may be called yes or 1.0.
        node = yaml.compose(text, yaml.BaseLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: is no valid YAML ({reason[:150]})") from None
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{name}: has no weights by label, one a line, as in spam: 2")
    return [(key.value, weight.value) for key, weight in node.value]


def _csv(name: str, text: str) -> Pairs:
    pairs: list[tuple[str, str]] = []
    reader = csv.reader(io.StringIO(text, newline=""))
    for fields in reader:
        if not fields:
            continue
        if len(fields) != 2:
            raise InputError(
                f"{name}: line {reader.line_num} has {len(fields)} fields, not two: label,weight"
            )
        if pairs or tuple(field.strip().lower() for field in fields) != _HEADER:
            pairs.append((fields[0], fields[1]))
    return pairs


def _checked(name: str, pairs: Pairs) -> dict[str, float]:
    from textcls.corpus.labels import normalise

    weights: dict[str, float] = {}
    for label, given in pairs:
        if not isinstance(label, str) or isinstance(given, bool | list | type(None)):
            raise InputError(f"{name}: the weight of '{label}' is no number")
        try:
            weight = float(given)
        except ValueError:
            raise InputError(f"{name}: the weight of '{label}' is no number: {given!r}") from None
        if not 0 <= weight < math.inf:
            raise InputError(f"{name}: the weight of '{label}' is {given}, not a number from 0 on")
        label = normalise(label)  # as the labels of the data are
        if label in weights:
            raise InputError(f"{name}: there are two weights for '{label}'")
        weights[label] = weight
    if not weights:
        raise InputError(f"{name}: holds no weights")
    return weights
