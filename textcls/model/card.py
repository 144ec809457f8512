"""The model card: what a model is, on what data, how good, how to use it, and how it was made.

Its head is YAML in the format of https://huggingface.co/docs/hub/model-cards, so that the Hugging
Face hub shows metrics and task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from textcls.config import Config
from textcls.markdown import plain, table
from textcls.task.multi_metrics import RANKS
from textcls.task.names import names_of
from textcls.task.thresholds import ENOUGH

# Longer lists are cut: the whole is in labels.json and metrics.json.
MAX_CLASSES = 30


def model_card(
    name: str,
    mode: str,
    label_names: Sequence[str],
    settings: Mapping[str, Any],
    run: Mapping[str, Any] | None = None,
    several: bool = False,
) -> str:
    """Return a model card in Markdown.

    Args:
        name: of the model.
        mode: of its pooling.
        label_names: of class 0, 1, 2, …
        settings: what to show of how it is built, by name.
        run: of a model that a run trained: what :func:`of_run` returns.
        several: whether a text has any number of labels.
    """
    classes = "labels, of which a text has any number" if several else "classes"
    parts = [
        f"---\n{_head(name, run, several)}---\n",
        f"# {plain(name)}\n",
        f"A text classifier of {len(label_names)} {classes}: one vector per token, "
        f"{mode} pooling over the tokens of a text (`torch.nn.EmbeddingBag`), "
        "and a linear layer. Trained with textcls.\n",
        _USE.format(several="  # a tuple of labels for each text" if several else ""),
    ]
    parts += ["## Labels\n", _DECIDED] if several else ["## Classes\n"]
    parts += [_classes(label_names, run, several)]
    if run is not None:
        parts += ["## Data\n", table(("", ""), run["data"].items()), run["read"]]
        results = _results_of_several if several else _results
        parts += ["## Results\n", results(run["metrics"], run["rows"])]
    parts += ["## Settings\n", table(("setting", "value"), settings.items())]
    names = "names none but its labels" if several else "always names one of its classes"
    parts += ["## Intended use and limits\n", _LIMITS.format(names=names)]
    if run is not None:
        parts += ["## How it was trained\n", _training(run)]
    return "\n".join(parts)


_USE = """## Use

```python
from textcls import Classifier

classifier = Classifier.from_pretrained("PATH OR HUB NAME")
classifier.predict(["a text", "another"]){several}
classifier.predict_proba(["a text"])  # columns as classifier.label_names
```

On the command line: `textcls predict MODEL texts.csv`, `textcls explain MODEL --text "a text"`.
The weights are safetensors, all else JSON and text: loading runs no code of the model.
"""

_DECIDED = f"""Each label has a probability of its own, the sigmoid of its class score. It is
predicted where its probability reaches its threshold: the one of the best F1 on the validation
split or, where fewer than {ENOUGH} rows of that split have the label, the one that suits all labels
together. A text may get no label. The tensor `thresholds` of `model.safetensors` holds them.
"""

_LIMITS = """For texts like those of its training data. It knows words, not their order (beyond
n-grams, where the settings have any), so negation, irony and long-range meaning are beyond it.
Words that training never had say nothing; a text of none gets the same answer as an empty one. It
{names}, however foreign the text, and its probabilities are not calibrated
for texts of another kind. What the training data has of bias towards groups of people, it has
learned: do not let it decide about people on its own.
"""


def compressed_card(card: str, command: str) -> str:
    """Return the card of a model that was made small.

    Args:
        card: of the model that it was made from; may be empty.
        command: that made it.
    """
    return (
        f"{card.rstrip()}\n\n## Compressed\n\nThis is a smaller version of the model that the rest "
        f"of this card is about, its figures included. It was made by\n\n{_fenced(command)}\nwhich "
        "wrote beside it, as `compression.json`, the size and the score of both on the split "
        "that it was judged by.\n"
    )


def of_run(
    config: Config,
    metrics: Mapping[str, Any],
    environment: Mapping[str, Any],
    rows: Mapping[str, int],
    read: str,
) -> dict[str, Any]:
    """Return what a card says of a run.

    Args:
        config: of the run.
        metrics: as ``metrics.json`` has them.
        environment: as ``environment.json`` has it.
        rows: of each split.
        read: what was read, as Markdown.
    """
    data = config.data
    source: dict[str, Any] = {"name": data.name}
    if data.source == "hub":
        source |= {"repo": data.repo, "subset": data.subset, "revision": data.revision}
    elif data.source == "files":
        source |= {split: getattr(data, split) for split in ("train", "validation", "test")}
    return {
        "data": {key: value for key, value in source.items() if value is not None},
        "metrics": metrics,
        "rows": rows,
        "read": read,
        "seed": config.seed,
        "command": environment["command"],
        "commit": environment["commit"],
        "device": environment["device_name"] or environment["device"],
        "versions": {
            "textcls": environment["textcls"],
            "python": environment["python"],
            "torch": environment["packages"]["torch"],
        },
    }


def _head(name: str, run: Mapping[str, Any] | None, several: bool) -> str:
    head: dict[str, Any] = {
        "library_name": "textcls",
        "pipeline_tag": "text-classification",
        "tags": ["text-classification", "bag-of-words", "embedding-bag"],
    }
    if several:
        head["tags"].append("multi-label")
    if run is not None:
        data, test = run["data"], run["metrics"]["test"]
        if "repo" in data:
            head["datasets"] = [data["repo"]]
        head["metrics"] = ["accuracy", "f1"]
        head["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "text-classification", "name": "Text classification"},
                        "dataset": {
                            "name": data["name"],
                            "type": data.get("repo", data["name"]),
                            "split": "test",
                        },
                        "metrics": _head_metrics(test),
                    }
                ],
            }
        ]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _head_metrics(test: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of the head, with a name where their type does not say what they are."""
    names = names_of(test)
    types = {"accuracy": "accuracy", "micro_f1": "f1", "macro_f1": "f1"}
    return [
        {"type": types[metric], "value": round(test[metric], 4)}
        | ({} if name == types[metric] else {"name": name})
        for metric, name in names.items()
        if metric in types
    ]


def _classes(label_names: Sequence[str], run: Mapping[str, Any] | None, several: bool) -> str:
    """Return the table of classes: the first ones, or the most frequent of many labels."""
    noun, numbers = "label" if several else "class", range(len(label_names))
    more = max(len(label_names) - MAX_CLASSES, 0)
    end = f"\n… and {more:,} more, see `labels.json`.\n" if more else ""
    if run is None:
        rows = [(number, label_names[number]) for number in numbers[:MAX_CLASSES]]
        return table(("number", noun), rows) + end
    by_class = run["metrics"]["test"]["per_class"]
    order: Sequence[int] = numbers
    if several and more:
        order = sorted(numbers, key=lambda number: -by_class[label_names[number]]["support"])
        end = f"\n… and {more:,} less frequent ones, see `metrics.json`.\n"
    rows_of_run = []
    for number in order[:MAX_CLASSES]:
        name = label_names[number]
        own = by_class[name]
        scores = (f"{own[score]:.3f}" for score in ("precision", "recall", "f1"))
        threshold = [f"{own['threshold']:.3f}"] if several else []
        rows_of_run.append((number, name, *scores, f"{own['support']:,}", *threshold))
    heads = ["number", noun, "precision", "recall", "F1", "test rows"]
    return table(heads + ["threshold"] * several, rows_of_run) + end


def _results(metrics: Mapping[str, Any], rows: Mapping[str, int]) -> str:
    names = names_of(metrics["test"])
    scores = [
        (split, f"{rows[split]:,}", *(f"{metrics[split][score]:.4f}" for score in names))
        for split in ("test", "validation")
    ]
    return (
        table(("split", "rows", *names.values()), scores)
        + f"\n{_trainings(metrics)}{_calibrated(metrics)}\n"
    )


def _results_of_several(metrics: Mapping[str, Any], rows: Mapping[str, int]) -> str:
    splits = ("test", "validation")
    names = names_of(metrics["test"]) | {
        f"{metric}_at_{k}": f"{name} at {k}"
        for metric, name in (("precision", "precision"), ("recall", "recall"), ("ndcg", "nDCG"))
        for k in RANKS
    }
    scores = [
        (name, *(f"{metrics[split][metric]:.4f}" for split in splits))
        for metric, name in names.items()
    ]
    return (
        table(("", *splits), [("rows", *(f"{rows[split]:,}" for split in splits)), *scores])
        + "\nSubset accuracy is the share of rows of which all labels and no others are predicted; "
        "precision and recall at k are of the k most probable labels. "
        f"{_trainings(metrics)}{_calibrated(metrics)} The thresholds were chosen on the validation "
        "split, which flatters its figures as well.\n"
    )


def _trainings(metrics: Mapping[str, Any]) -> str:
    """Say what the figures on the validation split are of."""
    epochs, best = metrics["epochs"], metrics["best_epoch"]
    held, count = metrics["fitted_on"]["validation"], metrics["ensemble"]
    whose, seeds = "The model was", "from the seed of the command below"
    if count > 1:
        whose = f"The model is the mean of {count}, folded into one, which were"
        seeds = "from that seed of the command below and those after it"
    if held:
        return (
            f"The figures on the validation split are those of a first training, on the train "
            f"split alone. {whose} then trained anew for {best} epochs on "
            f"{metrics['fitted_on']['train'] + held:,} rows, those of train and validation, "
            f"{seeds}."
        )
    of_others = "" if count == 1 else " in the first"
    return (
        f"{whose} trained {seeds}; the weights are those of epoch {best} of {epochs}{of_others}, "
        "the best on the validation split, which flatters the figures there a little."
    )


def _calibrated(metrics: Mapping[str, Any]) -> str:
    temperature = metrics["temperature"]
    if temperature is None:
        return ""
    return (
        f" Class scores were divided by {temperature:.3f}, the temperature that makes the "
        "probabilities fit the validation split best."
    )


def _training(run: Mapping[str, Any]) -> str:
    metrics = run["metrics"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    commit = f", commit {run['commit']}" if run["commit"] else ""
    begun, start = "", metrics["init_from"]
    if start is not None:
        begun = (
            f"Training started from the model {plain(start['model'])}, whose weights have the "
            f"SHA-256 `{start['sha256']}`: what that one had learned from is part of this one, and "
            "only the data above is new.\n"
        )
    return (
        f"{begun}{_fenced(run['command'])}\nSeed {run['seed']}; "
        f"{metrics['train_seconds']:.2f} seconds of training on {run['device']}; "
        f"{versions}{commit}.\n"
    )


def _fenced(command: str) -> str:
    # Longer than any in the command, so that nothing in it ends it.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    return f"{fence}\n{command}\n{fence}\n"
