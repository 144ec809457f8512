"""A run: validate, prepare, build, train, test, report. The one place that knows all rooms."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import multiprocessing
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
import yaml
from filelock import FileLock, Timeout
from rich.console import Console
from rich.text import Text
from torch import Tensor

from textcls import __version__
from textcls.config import CIRCUMSTANCES, Config, flatten, read_config
from textcls.data.bags import Bags
from textcls.data.paths import absolute
from textcls.data.prepare import Prepared, prepare
from textcls.data.splits import SPLITS
from textcls.errors import (
    BusyError,
    InputError,
    Interrupted,
    TakenError,
    TextclsError,
    first_line,
)
from textcls.files import FAILED, FINISHED, SEARCH, read_epochs, whole_file, write_whole
from textcls.model.card import model_card, of_run
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of, untrained
from textcls.model.folder import (
    CARD,
    WEIGHTS,
    ModelParts,
    load_weights,
    save_model,
    save_weights,
    to_device,
)
from textcls.report.confusion import headline, picture, summary
from textcls.training.checkpoint import Progress
from textcls.training.loop import fit
from textcls.training.metrics import confusion_array, metrics_of_logits
from textcls.training.tracking import Tracker

log = logging.getLogger("textcls")

# What training writes: none of it may be there when a run begins. (A run that failed before it,
# over a misspelt column say, leaves a log and its configuration: these give way.)
RUN_FILES = (FINISHED, "epochs.jsonl", "model", "checkpoints", SEARCH)
# Tokens shown in TensorBoard's projector: as many as a browser turns smoothly.
PROJECTED_TOKENS = 2_000


def start(config: Config, folder: Path) -> dict[str, Any]:
    """Train in a new run folder; return what ``metrics.json`` holds.

    Raises:
        InputError: the folder holds a run already, or configuration or data are at fault.
        TextclsError: the training failed.
        Interrupted: a signal came; :func:`resume` goes on.
        OSError: the folder cannot be written.
    """
    device = set_up(config)  # fails before anything is written
    with _alone(folder):
        taken = [name for name in RUN_FILES if (folder / name).exists()]
        if taken:
            raise TakenError(
                f"run_dir={folder}: holds a run already ({taken[0]}): "
                f"name another folder, or go on with it by resume={shlex.quote(str(folder))}"
            )
        write_settings(config, folder, device)
        return _run(config, folder, device)


def resume(folder: Path) -> dict[str, Any]:
    """Go on with a stopped run, as it was configured; a finished one is left as it is.

    Raises:
        InputError: there is no run, or it cannot be read.
        And whatever :func:`start` raises.
    """
    try:
        config = read_config(folder)
    except InputError as error:
        raise InputError(f"resume={error}") from None
    if (folder / FINISHED).exists():
        result: dict[str, Any] = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
        console = Console()
        console.print(Text(f"{folder} is finished: there is nothing to resume"), soft_wrap=True)
        _show(result, folder, console)
        return result
    device = set_up(config)
    with _alone(folder):
        return _run(config, folder, device)


def go_on(config: Config, folder: Path, swept: Mapping[str, str]) -> None:
    """Do what is left of one run of a sweep: all of it, the rest, or nothing.

    Args:
        config: as the sweep has it now.
        folder: of the run; another process may be at it, or have been.
        swept: values by key that this run has apart from the others of its sweep.

    Raises:
        BusyError: another process is training there.
        TakenError: a run with other settings lies there.
        And whatever :func:`start` raises.
    """
    device = set_up(config)
    with _alone(folder):
        if not (folder / "config.yaml").exists():
            write_settings(config, folder, device)
        else:
            check_same(read_config(folder), config, folder)
        if (folder / FINISHED).exists():
            Console().print(Text(f"{folder} is finished"), soft_wrap=True)
        else:
            (folder / FAILED).unlink(missing_ok=True)
            _run(config, folder, device, swept)


def try_out(config: Config, folder: Path, device: torch.device, tracker: Tracker) -> Progress:
    """Train and validate as a run would, but keep no weights, and leave the test split alone.

    Args:
        config: of the trial.
        folder: gets ``config.yaml``, ``train.log`` and what the tracker writes.
        device: to train on.
        tracker: is told of every step and epoch, and may end the training by raising.

    Raises:
        Whatever :func:`start` and the tracker raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "config.yaml", yaml.safe_dump(_settings(config), sort_keys=False))
    with log_to(folder / "train.log", None), _faults_told():
        prepared = corpus(config)
        model = _build(config, prepared, device)
        with tracker:
            return fit(
                model,
                prepared.train,
                prepared.validation,
                prepared.label_names,
                config,
                checkpoint=None,
                save_best=lambda: None,
                tracker=tracker,
            )


def write_settings(config: Config, folder: Path, device: torch.device) -> None:
    """Write ``config.yaml`` and ``environment.json``."""
    write_whole(folder / "config.yaml", yaml.safe_dump(_settings(config), sort_keys=False))
    write_whole(folder / "environment.json", json.dumps(environment(device), indent=2))


def _settings(config: Config) -> dict[str, Any]:
    """Return the configuration as ``config.yaml`` has it: paths hold from any directory."""
    values: dict[str, Any] = _plain(config.to_dict())
    for group, keys in (("data", SPLITS), ("tokenizer", ("file",))):
        for key in keys:
            path = values[group][key]
            if path is not None and (group == "tokenizer" or config.data.source == "files"):
                values[group][key] = absolute(path)
    return values


def check_same(there: Config, wanted: Config, folder: Path) -> None:
    """Check that two configurations come to the same result.

    Raises:
        TakenError: they do not.
    """
    old, new = flatten(_settings(there)), flatten(_settings(wanted))
    changed = [key for key in old if old[key] != new[key] and key not in CIRCUMSTANCES]
    if changed:
        key = changed[0]
        raise TakenError(
            f"{folder}: holds a run with other settings ({key} is {old[key]} there, "
            f"{new[key]} now): name another run_dir"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the run folder, and keep other processes out of it while this one writes it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"run_dir={folder}: there is a file in its place") from None
    # The file stays: were it removed, two processes could hold a lock each, on two files.
    lock = FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(f"run_dir={folder}: another process is training there") from None
    try:
        yield
    finally:
        lock.release()


def set_up(config: Config) -> torch.device:
    """Return the device to train on, and set torch's threads.

    Raises:
        InputError: there is no such device.
    """
    device = to_device(config.trainer.device)
    if config.trainer.num_threads is not None:
        torch.set_num_threads(config.trainer.num_threads)
    return device


def _run(
    config: Config, folder: Path, device: torch.device, swept: Mapping[str, str] | None = None
) -> dict[str, Any]:
    # Processes of one sweep share a terminal: a live line needs one that is its own.
    is_main = multiprocessing.parent_process() is None
    console = Console(force_terminal=None if is_main else False)
    # Of the runs of a sweep, a line each says how they ended.
    shown_on = console if swept is None else None
    with log_to(folder / "train.log", shown_on), _faults_told():
        try:
            return _phases(config, folder, device, console, swept)
        except Interrupted as stopped:
            way_on = f"{stopped}: go on with resume={shlex.quote(str(folder))}"
            log.error(way_on)
            raise Interrupted(stopped.signum, way_on) from None


@contextlib.contextmanager
def _faults_told() -> Iterator[None]:
    """Log what ends a training; memory that has run out becomes a ``TextclsError``."""
    try:
        yield
    except (TextclsError, OSError) as error:
        log.error(error)
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            log.exception("a fault in textcls")
            raise
        log.info(first_line(error))
        reason = (
            "out of memory: lower model.dim, tokenizer.max_size, tokenizer.buckets or "
            "trainer.batch_size"
        )
        log.error(reason)
        raise TextclsError(reason) from None


def _is_out_of_memory(error: Exception) -> bool:
    # torch's allocators: that of CUDA has a class for it, that of the CPU has not.
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "can't allocate memory" in str(error)
        or "Storage size calculation overflowed" in str(error)
    )


def _phases(
    config: Config,
    folder: Path,
    device: torch.device,
    console: Console,
    swept: Mapping[str, str] | None,
) -> dict[str, Any]:
    log.info("run folder %s", folder)

    # Prepare: text to bags.
    began = time.perf_counter()
    prepared = corpus(config)
    check_unchanged(folder / "corpus.txt", prepared.key)
    prepare_seconds = time.perf_counter() - began
    log.info("prepared in %.2f s%s", prepare_seconds, " (cached)" if prepared.from_cache else "")

    # Build.
    model = _build(config, prepared, device)
    parts = ModelParts(
        model,
        prepared.tokenizer,
        prepared.vocabulary,
        prepared.label_names,
        reading=dataclasses.replace(
            config.data.reading, text=prepared.text_columns, label=prepared.label_column
        ),
    )

    # Train; the best weights are in the model folder from the first epoch on.
    def save_best() -> None:
        if (folder / "model" / WEIGHTS).exists():
            save_weights(model, folder / "model" / WEIGHTS)
        else:
            save_model(parts, folder / "model")

    with Tracker(folder, console, config.trainer.monitor, config.trainer.profile) as tracker:
        progress = fit(
            model,
            prepared.train,
            prepared.validation,
            prepared.label_names,
            config,
            folder / "checkpoints" / "last.safetensors",
            save_best,
            tracker,
        )
        load_weights(model, folder / "model" / WEIGHTS)
        log.info(
            "trained in %.2f s; the weights of epoch %d are the best by validation %s",
            progress.seconds,
            progress.best_epoch,
            config.trainer.monitor,
        )

        # Test: once, at the end.
        metrics = _test(
            config, prepared, model, progress, prepare_seconds, tracker, folder, swept or {}
        )
    if swept is None:
        _show(metrics, folder, console)
    else:  # what the sweep comes to is shown at its end
        console.print(
            Text(f"{folder.name}   "),
            headline(metrics["test"], len(prepared.test)),
            f"  trained in {progress.seconds:.2f} s",
            soft_wrap=True,
        )
    return metrics


def corpus(config: Config) -> Prepared:
    """Return the bags that this configuration is about.

    Raises:
        InputError: data or tokenizer cannot be used.
        TextclsError: the cache cannot be written.
    """
    prepared = prepare(config.data, config.tokenizer, Path(config.cache_dir).expanduser())
    if config.trainer.overfit:
        prepared = _only(prepared, config.trainer.overfit)
    return prepared


def validation_split(folder: Path) -> Bags:
    """Return the bags that a run chose its weights by.

    Raises:
        InputError: there is no run, or its data cannot be used or has changed since.
    """
    prepared = corpus(read_config(folder))
    if (folder / "corpus.txt").read_text(encoding="utf-8").strip() != prepared.key:
        raise InputError(
            f"{folder}: its data, or how it is tokenized, has changed since: name a labelled file "
            "by --data FILE"
        )
    return prepared.validation


def _build(config: Config, prepared: Prepared, device: torch.device) -> EmbeddingBagClassifier:
    torch.manual_seed(config.seed)
    model = untrained(
        prepared.vocabulary, prepared.num_embeddings, len(prepared.label_names), config.model
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log.info(
        "model: %s pooling, %d x %d embeddings, %d classes, %s parameters, on %s",
        config.model.mode,
        prepared.num_embeddings,
        config.model.dim,
        len(prepared.label_names),
        f"{parameters:,}",
        device,
    )
    return model.to(device)


def _test(
    config: Config,
    prepared: Prepared,
    model: EmbeddingBagClassifier,
    progress: Progress,
    prepare_seconds: float,
    tracker: Tracker,
    folder: Path,
    swept: Mapping[str, str],
) -> dict[str, Any]:
    names = prepared.label_names
    logits = logits_of(model, prepared.test)
    test = metrics_of_logits(logits, prepared.test.labels, names)
    metrics: dict[str, Any] = {
        "test": test,
        "validation": read_epochs(folder)[progress.best_epoch - 1]["validation"],
        "train_seconds": progress.seconds,
        "prepare_seconds": prepare_seconds,
        "tokens_per_second": progress.tokens / progress.step_seconds,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "test_set": prepared.test_set,
    }
    _save_predictions(folder / "predictions.safetensors", logits, prepared.test)
    figure = picture(confusion_array(test), names, f"{config.data.name}, test")
    figure.savefig(folder / "confusion_matrix.png")
    rows, tokens = _frequent_tokens(prepared, model)
    tracker.finish(
        hparams=_hparams(config, swept),
        test=test,
        probabilities=logits.softmax(1).numpy(),
        labels=prepared.test.labels.numpy(),
        confusion=figure,
        tokens=tokens,
        embeddings=rows,
    )
    _write_card(config, prepared, metrics, folder, swept)
    # The last thing written: where it is there, the run is finished.
    write_whole(folder / "metrics.json", json.dumps(metrics, ensure_ascii=False, indent=1))
    return metrics


def _write_card(
    config: Config,
    prepared: Prepared,
    metrics: dict[str, Any],
    folder: Path,
    swept: Mapping[str, str],
) -> None:
    """Write the model card beside the weights."""
    there = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    rows = {split: len(getattr(prepared, split)) for split in SPLITS}
    card = model_card(
        f"{config.data.name}, {config.model.mode} pooling",
        config.model.mode,
        prepared.label_names,
        _hparams(config, swept),
        of_run(config, metrics, there, rows),
    )
    write_whole(folder / "model" / CARD, card)


def _save_predictions(path: Path, logits: Tensor, test: Bags) -> None:
    """Write what the model said of each row of the test split, for :mod:`textcls.report`.

    ``labels`` and ``predictions``, int32 ``[num_bags]``; ``confidence``, float32 ``[num_bags]``,
    the probability of what was predicted; ``losses``, float32 ``[num_bags]``, the cross-entropy in
    nats; ``lengths``, int32 ``[num_bags]``, tokens by bag.
    """
    confidence, predictions = logits.softmax(1).max(1)
    columns = {
        "labels": test.labels.int().cpu(),
        "predictions": predictions.int(),
        "confidence": confidence,
        "losses": F.cross_entropy(logits, test.labels.cpu(), reduction="none"),
        "lengths": test.lengths.int().cpu(),
    }
    with whole_file(path) as scratch:
        safetensors.torch.save_file(columns, scratch)


def _frequent_tokens(
    prepared: Prepared, model: EmbeddingBagClassifier
) -> tuple[Tensor, list[tuple[str, str, str]]]:
    """Return the embeddings of the most frequent tokens, and what the projector says of each."""
    vocabulary = prepared.vocabulary
    first = len(vocabulary.specials)
    ids = range(first, min(first + PROJECTED_TOKENS, len(vocabulary)))
    # A bag of one token pools to its row (times its weight), once for each of the poolings.
    device = model.linear.weight.device
    indices = torch.arange(first, ids.stop, dtype=torch.int32, device=device)
    with torch.inference_mode():
        pooled = model.embed(indices, torch.arange(len(ids) + 1, device=device))
        leaning = (pooled @ model.linear.weight.T).argmax(1).tolist()
    rows = pooled[:, : model.embedding.embedding_dim]
    tokens = vocabulary.tokens.slice(first, len(ids)).to_pylist()
    return rows.cpu(), [
        # The projector's table is split at tabs and line breaks.
        (" ".join(token.split()) or "(space)", str(vocabulary.counts[i]), prepared.label_names[k])
        for i, token, k in zip(ids, tokens, leaning, strict=True)
    ]


def check_unchanged(path: Path, key: str) -> None:
    """A resumed run must go on with the very bags that it began with."""
    if path.exists() and path.read_text(encoding="utf-8").strip() != key:
        raise InputError(
            f"{path.parent}: the data, or how it is tokenized, has changed since this run began: "
            "start a new run"
        )
    write_whole(path, f"{key}\n")


def _only(prepared: Prepared, count: int) -> Prepared:
    """Keep ``count`` train bags, evenly spaced, as train, validation and test at once."""
    rows = torch.linspace(0, len(prepared.train) - 1, min(count, len(prepared.train))).long()
    few: Bags = prepared.train.select(torch.unique(rows))
    log.info("trainer.overfit: train, validation and test are the same %d bags of train", len(few))
    return dataclasses.replace(
        prepared, train=few, validation=few, test=few, test_set=f"{prepared.key}-{len(few)}"
    )


def _hparams(config: Config, swept: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that runs of a study differ in, by their name on the command line."""
    shown = {
        "data": ("name",),
        "tokenizer": ("name", "min_freq", "max_size", "max_tokens", "ngrams", "buckets"),
        "model": ("mode", "dim", "dropout"),
        "optimizer": ("name", "lr", "weight_decay"),
        "schedule": ("name",),
        "trainer": ("epochs", "batch_size", "class_weights", "label_smoothing"),
    }
    values = {
        f"{group}.{key}": value
        for group, keys in shown.items()
        for key in keys
        if (value := getattr(getattr(config, group), key)) is not None
    }
    return dict(swept) | values | {"seed": config.seed}


def _show(metrics: dict[str, Any], folder: Path, console: Console) -> None:
    console.print(summary(metrics["test"], confusion_array(metrics["test"])))
    for line in (
        f"run folder   {folder}",
        f"TensorBoard  tensorboard --logdir {shlex.quote(str(folder.parent))}",
        f"on new texts textcls predict {shlex.quote(str(folder))} texts.csv",
        f"in Python    textcls.Classifier.load({str(folder)!r}).predict([...])",
    ):
        console.print(Text(line), soft_wrap=True)


@contextlib.contextmanager
def log_to(path: Path, console: Console | None) -> Iterator[None]:
    """Within the block the log goes to the file, and to the console if there is one."""
    handlers: list[logging.Handler] = [logging.FileHandler(path, encoding="utf-8")]
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if console is not None:
        handlers.append(_ConsoleHandler(console))
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


class _ConsoleHandler(logging.Handler):
    """Prints above the live line, if there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR:  # errors are told on stderr, at the very end
            self.console.print(Text(record.getMessage()), soft_wrap=True)


def environment(device: torch.device) -> dict[str, Any]:
    """Return what may explain a result one day: versions, machine, command, commit."""
    packages = (
        "torch", "numpy", "pyarrow", "datasets", "tokenizers", "torchtext", "hydra-core",
        "tensorboard", "safetensors", "optuna",
    )  # fmt: skip
    versions: dict[str, str | None] = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except OSError:  # no git here
        commit = ""
    return {
        "textcls": __version__,
        "commit": commit or None,
        "command": shlex.join(_command()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "packages": versions,
    }


def _command() -> list[str]:
    # sys.argv is quoted for Hydra. In a launcher's process nothing was typed.
    typed, program = sys.orig_argv, sys.argv[0]
    return ["python", *typed[typed.index(program) :]] if program in typed else sys.argv


def _plain(value: Any) -> Any:
    """Turn tuples into lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
