"""A run: validate, prepare, build, train, test, report. The one place that knows all rooms."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import multiprocessing
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from textcls.config import Config, read_config
from textcls.continuing import read_start, with_absent_kept
from textcls.data.checks import find_mistakes
from textcls.data.prepare import Prepared
from textcls.defaults import chosen, in_words, resolve
from textcls.device import to_device, to_device_of
from textcls.distributed import LostError, Place, Team
from textcls.errors import (
    BusyError,
    InputError,
    Interrupted,
    TakenError,
    TextclsError,
    first_line,
    status_and_reason,
)
from textcls.files import DATA, FAILED, FINISHED, write_whole
from textcls.fitting import refits, score, train
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.folder import WEIGHTS, save_model, save_tensors
from textcls.model.parts import ModelParts
from textcls.pooling import Pooling
from textcls.report.confusion import headline
from textcls.report.data import as_markdown, log_lines
from textcls.result import remove_checkpoints, show_result, write_result
from textcls.run_corpus import KEY, corpus, key_before
from textcls.run_folder import (
    RUN_FILES,
    alone,
    check_same,
    check_settings,
    check_unchanged,
    configured,
    write_config,
    write_settings,
)
from textcls.run_log import faults_told, log_to
from textcls.task.base import Task
from textcls.task.tasks import task_of
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.tracking import Tracker
from textcls.trainings import build

log = logging.getLogger("textcls")


def start(config: Config, folder: Path, team: Team | None = None) -> dict[str, Any]:
    """Train in a new run folder; return what ``metrics.json`` holds.

    Args:
        config: of the run.
        folder: of the run.
        team: the processes that share it; in all others :func:`textcls.several.follow` runs.

    Raises:
        InputError: the folder holds a run already, or configuration or data are at fault.
        TextclsError: the training failed.
        Interrupted: a signal came; :func:`resume` goes on.
        OSError: the folder cannot be written.
    """
    device = set_up(config, None if team is None else team.here)  # fails before anything is written
    with alone(folder):
        taken = [name for name in RUN_FILES if (folder / name).exists()]
        if taken:
            raise TakenError(
                f"run_dir={folder}: holds a run already ({taken[0]}): "
                f"name another folder, or go on with it by resume={shlex.quote(str(folder))}"
            )
        write_settings(config, folder, device)
        return _run(config, folder, device, team=team)


def resume(folder: Path, team: Team | None = None) -> dict[str, Any]:
    """Go on with a stopped run, as it was configured; a finished one is left as it is.

    Args:
        folder: of the run.
        team: see :func:`start`.

    Raises:
        InputError: there is no run, or it cannot be read.
        And whatever :func:`start` raises.
    """
    config = configured(folder)
    if (folder / FINISHED).exists():
        with contextlib.suppress(OSError, BusyError), alone(folder):  # what a kill has left there
            remove_checkpoints(folder)
        return _show_finished(folder)
    device = set_up(config, None if team is None else team.here)
    with alone(folder):
        return _run(config, folder, device, team=team)


def _show_finished(folder: Path) -> dict[str, Any]:
    console = Console()
    try:
        result: dict[str, Any] = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
        console.print(Text(f"{folder} is finished: there is nothing to resume"), soft_wrap=True)
        show_result(result, folder, console)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"resume={folder}: its {FINISHED} is damaged ({first_line(error)}): "
            "put back what was there, or start a new run"
        ) from None
    return result


def go_on(
    config: Config, folder: Path, swept: Mapping[str, str] | None = None, team: Team | None = None
) -> None:
    """Do what is left of one run of a sweep, or of several processes: all, the rest, or nothing.

    Args:
        config: as the sweep has it now.
        folder: of the run; another process may be at it, or have been.
        swept: values by key that this run has apart from the others of its sweep; None: it is of
            no sweep.
        team: see :func:`start`.

    Raises:
        BusyError: another process is training there.
        TakenError: a run with other settings lies there.
        And whatever :func:`start` raises.
    """
    device = set_up(config, None if team is None else team.here)
    with alone(folder):
        if not (folder / "config.yaml").exists():
            write_settings(config, folder, device)
        else:
            check_same(read_config(folder), config, folder)
        if (folder / FINISHED).exists():
            remove_checkpoints(folder)
            Console().print(Text(f"{folder} is finished"), soft_wrap=True)
        else:
            (folder / FAILED).unlink(missing_ok=True)
            _run(config, folder, device, swept, team)


def try_out(config: Config, folder: Path, device: torch.device, tracker: Tracker) -> float:
    """Return the monitored metric of what a run would keep; keep nothing, and do not test it.

    Args:
        config: of the trial.
        folder: gets ``config.yaml``, ``train.log`` and what the tracker writes.
        device: to train on.
        tracker: is told of every step and epoch, and may end the training by raising.

    Raises:
        Whatever :func:`start` and the tracker raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_config(config, folder)
    with log_to(folder / "train.log", None), faults_told():
        start = read_start(config)
        prepared = corpus(config, start=start)
        config = resolve(config, prepared.about)
        if start is not None:
            config = with_absent_kept(config, prepared.train.targets, prepared.label_names)
        model = build(config, prepared, device, start)
        with tracker:
            progress = fit(
                model,
                prepared.train,
                prepared.validation,
                prepared.label_names,
                config,
                Checkpoints(),
                tracker,
                config.cache,
            )
        return score(config, prepared, model, progress)


def set_up(config: Config, here: Place | None = None) -> torch.device:
    """Check what can be checked, set torch's threads, and return the device to train on.

    Args:
        config: of a run.
        here: what this process is among several.

    Raises:
        InputError: there is no such device, or the configuration's models cannot be folded.
    """
    count, mode = config.trainer.ensemble, config.model.mode
    if count > 1 and not Pooling.parse(mode).is_linear:
        raise InputError(
            f"trainer.ensemble={count}: models with model.mode={mode} cannot be folded into one: "
            "set trainer.ensemble=1, or a mode without max"
        )
    name = config.trainer.device
    device = to_device(name) if here is None else to_device_of(here.local_rank, name)
    if config.trainer.num_threads is not None:
        torch.set_num_threads(config.trainer.num_threads)
    return device


def _run(
    config: Config,
    folder: Path,
    device: torch.device,
    swept: Mapping[str, str] | None = None,
    team: Team | None = None,
) -> dict[str, Any]:
    # Processes of one sweep share a terminal: a live line needs one that is its own.
    is_main = multiprocessing.parent_process() is None
    console = Console(force_terminal=None if is_main else False)
    # Of the runs of a sweep, a line each says how they ended.
    shown_on = console if swept is None else None
    with log_to(folder / "train.log", shown_on), faults_told():
        way_on = f"go on with resume={shlex.quote(str(folder))}"
        try:
            return _phases(config, folder, device, console, swept, team)
        except LostError as lost:
            raise LostError(f"{lost}: {way_on}") from None
        except Interrupted as stopped:
            log.error("%s: %s", stopped, way_on)
            raise Interrupted(stopped.signum, f"{stopped}: {way_on}") from None
        except OSError as error:  # a full disk, say
            raise TextclsError(f"{status_and_reason(error)[1]}: mend it, and {way_on}") from None


def _phases(
    config: Config,
    folder: Path,
    device: torch.device,
    console: Console,
    swept: Mapping[str, str] | None,
    team: Team | None,
) -> dict[str, Any]:
    log.info("run folder %s", folder)
    check_settings(folder, device)

    # Prepare: text to bags.
    began = time.perf_counter()
    start = read_start(config)
    prepared = corpus(config, start=start, both=refits(config), expected=key_before(folder))
    check_unchanged(folder / KEY, prepared.key)
    if team is not None:
        log.info("%d processes share the training: %s", team.here.size, config.trainer.parallel)
        team.tell({"corpus": prepared.key})  # they find it in the cache
    prepare_seconds = time.perf_counter() - began
    given, config = config, resolve(config, prepared.about)
    values = chosen(given, config)
    if values:
        log.info(in_words(values, prepared.about))
    report = _report_data(config, prepared, folder)
    log.info("prepared in %.2f s%s", prepare_seconds, " (cached)" if prepared.from_cache else "")

    # Train.
    def joined() -> Prepared:
        nonlocal prepare_seconds
        began = time.perf_counter()
        whole = prepared.joined() or corpus(config, start=start, joined=True)
        prepare_seconds += time.perf_counter() - began
        return whole

    def keep(model: EmbeddingBagClassifier) -> None:
        """Have a model that can be used in the folder before the run has ended."""
        parts = _parts(config, prepared, model, task_of(prepared.validation))
        if (folder / "model" / WEIGHTS).exists():
            save_tensors(parts, folder / "model")
        else:
            save_model(parts, folder / "model")

    with Tracker(folder, console, config.trainer.monitor, config.trainer.profile) as tracker:
        tracker.say("data", report)
        trained = train(config, prepared, joined, keep, folder, device, tracker, start, team)
        parts = _parts(config, trained.prepared, trained.model, trained.task, trained.temperature)
        save_model(parts, folder / "model")

        # Test: once, at the end.
        metrics = write_result(
            config,
            values,
            prepared,
            report,
            trained,
            prepare_seconds,
            tracker,
            folder,
            swept or {},
            start,
        )
    if swept is None:
        show_result(metrics, folder, console)
    else:  # what the sweep comes to is shown at its end
        console.print(
            Text(f"{folder.name}   "),
            headline(metrics["test"], len(prepared.test)),
            f"  trained in {trained.seconds:.2f} s",
            soft_wrap=True,
        )
    return metrics


def _parts(
    config: Config,
    prepared: Prepared,
    model: EmbeddingBagClassifier,
    task: Task,
    temperature: float | None = None,
) -> ModelParts:
    label = config.data.label or ()
    label = label if any("*" in name for name in label) else prepared.label_columns
    reading = dataclasses.replace(config.data.reading, text=prepared.text_columns, label=label)
    return ModelParts(
        model,
        prepared.encoder,
        prepared.label_names,
        reading=reading,
        temperature=temperature,
        task=task,
        vectors=prepared.facts.get("vectors"),
    )


def _report_data(config: Config, prepared: Prepared, folder: Path) -> str:
    """Log what was read, write ``data.json``, and return the report as Markdown."""
    warnings = find_mistakes(prepared.facts, config.tokenizer)
    for line in log_lines(prepared.facts):
        log.info(line)
    for warning in warnings:
        log.warning(warning)
    whole = prepared.facts | {"warnings": warnings}
    write_whole(folder / DATA, json.dumps(whole, ensure_ascii=False, indent=1))
    return as_markdown(prepared.facts, warnings)
