"""A search: trials of settings within a budget of time, then one run of what did best.

The search is Optuna's, in a SQLite file that several processes may work on and that a stopped
search goes on with; a trial is a training of :mod:`textcls.run` without weights and test.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import logging
import math
import random
import re
import shlex
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
import torch
import yaml
from filelock import FileLock, Timeout
from matplotlib.figure import Figure
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch.utils.tensorboard import SummaryWriter

from textcls import run
from textcls.config import Config, flatten, is_auto, parse, read_config
from textcls.defaults import resolve
from textcls.errors import InputError, Interrupted, TakenError, TextclsError
from textcls.files import BEST, FAILED, FINISHED, SEARCH, write_whole
from textcls.fitting import refits
from textcls.pooling import Pooling
from textcls.program import train_command
from textcls.run_folder import RUN_FILES, check_same, check_unchanged, write_settings
from textcls.run_log import log_to
from textcls.training.checkpoint import Progress
from textcls.training.signals import deferred, raising
from textcls.training.tracking import Tracker, add_hparams
from textcls.tuning.space import Choices, Range, TuneConfig, parse_tuning

log = logging.getLogger("textcls")

STUDY = "study.db"
# A search in which so many trials in a row fail has nothing to find.
MAX_FAILURES = 20
# Trials that end well before any is pruned, and the tenths of a training that each one gets.
UNPRUNED_TRIALS = 5
UNPRUNED_TENTHS = 3
SHOWN_TRIALS = 5

Settings = dict[str, Any]  # values by option, as on the command line


def start(config: Config, tuning: TuneConfig, folder: Path, fixed: Sequence[str]) -> None:
    """Search, or search on, in ``folder``; then train and test the best as ``folder/best``.

    Args:
        config: as given: the first trial, and whatever is not searched.
        tuning: what to try, and for how long.
        folder: new, or of a search of the same configuration and space.
        fixed: what the command line of a run needs beside the settings that are found.

    Raises:
        TakenError: something else lies in the folder.
        InputError: configuration or data are at fault.
        TextclsError: no trial came to anything, or the last training failed.
        Interrupted: a signal came; :func:`resume` goes on.
    """
    deadline = time.monotonic() + tuning.seconds
    device = run.set_up(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"run_dir={folder}: there is a file in its place") from None
    _claim(config, tuning, folder, fixed, device)
    try:
        search = _Search(tuning, folder, fixed, device, deadline)
        search.search()
    except Interrupted as stopped:
        way_on = f"go on with resume={shlex.quote(str(folder))}"
        raise Interrupted(stopped.signum, f"{stopped}: {way_on}") from None
    search.show()
    search.train_best()


def resume(folder: Path) -> None:
    """Search on for another ``tune.seconds``, as it was configured.

    Raises:
        InputError: there is no search in ``folder``, or it is damaged.
        And whatever :func:`start` raises.
    """
    tuning, fixed = _read_settings(folder)
    start(read_config(folder), tuning, folder, fixed)


def go_on(config: Config, tuning: TuneConfig, folder: Path, fixed: Sequence[str]) -> None:
    """Do one search of a sweep, or what is left of it; one with a finished run is left as it is.

    Raises:
        Whatever :func:`start` raises.
    """
    if (folder / BEST / FINISHED).exists():
        Console().print(Text(f"{folder} is finished"), soft_wrap=True)
        return
    (folder / FAILED).unlink(missing_ok=True)
    start(config, tuning, folder, fixed)


def _claim(
    config: Config, tuning: TuneConfig, folder: Path, fixed: Sequence[str], device: torch.device
) -> None:
    """Write the search's settings into its folder, after checking what is there."""
    with _lock(folder):
        taken = [name for name in RUN_FILES if name != SEARCH and (folder / name).exists()]
        if taken:
            raise TakenError(
                f"run_dir={folder}: holds a run already ({taken[0]}): name another folder"
            )
        if (folder / STUDY).exists():
            check_same(read_config(folder), config, folder)
            there = _read_settings(folder)[0].space
            for option in sorted(there.keys() | tuning.space.keys()):
                if there.get(option) != tuning.space.get(option):
                    raise TakenError(
                        f"{folder}: holds a search of another tune.space.{option}: "
                        "name another run_dir"
                    )
        space = {
            option: dataclasses.asdict(tried) if isinstance(tried, Range) else list(tried)
            for option, tried in tuning.space.items()
        }
        values = {"seconds": tuning.seconds, "trials": tuning.trials, "space": space}
        text = yaml.safe_dump({"tune": values, "fixed": list(fixed)}, sort_keys=False)
        write_whole(folder / SEARCH, text)  # first: it says whose folder this is
        if not (folder / STUDY).exists():
            write_settings(config, folder, device)


def _read_settings(folder: Path) -> tuple[TuneConfig, list[str]]:
    try:
        values = yaml.safe_load((folder / SEARCH).read_text(encoding="utf-8"))
        return parse_tuning(values["tune"]), list(values["fixed"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, InputError) as error:
        raise InputError(f"resume={folder}: its {SEARCH} is damaged ({error})") from None


def _lock(folder: Path) -> FileLock:
    """Return what lets one of several processes at a time ask for a trial."""
    return FileLock(folder / ".study.lock")


# --- trials ----------------------------------------------------------------------------------


class _OutOfTimeError(Exception):
    """The search's time is up in the middle of a trial."""


class _TrialTracker(Tracker):
    """Writes a trial's record, tells Optuna of each epoch, and ends the trial by raising.

    Args:
        folder: of the trial.
        console: where the live line goes, if it is a terminal.
        monitor: the validation metric that trials are compared by.
        trial: the trial.
        deadline: of the search, on ``time.monotonic``'s clock.
    """

    def __init__(
        self,
        folder: Path,
        console: Console,
        monitor: str,
        trial: optuna.Trial,
        deadline: float,
    ) -> None:
        super().__init__(folder, console, monitor)
        self.trial = trial
        self.deadline = deadline
        self.ended_epochs = 0
        self._tenth = -1

    def step(self, *arguments: Any) -> None:
        super().step(*arguments)
        if time.monotonic() >= self.deadline:
            raise _OutOfTimeError

    def epoch(self, record: dict[str, Any], progress: Progress) -> None:
        super().epoch(record, progress)
        self.ended_epochs = progress.epoch
        # Trials have different numbers of epochs, and the learning rate falls over all of them:
        # what compares is how a trial does at the same share of its training.
        tenth = 10 * progress.epoch // self._epochs
        if tenth > self._tenth:
            self._tenth = tenth
            self.trial.report(record["validation"][self.monitor], tenth)
            if progress.epoch < self._epochs and self.trial.should_prune():
                raise optuna.TrialPruned

    def result(self, settings: Settings, value: float) -> None:
        """Add a row to TensorBoard's HPARAMS: the settings that are searched, and the score."""
        with SummaryWriter(str(self.folder)) as writer:
            add_hparams(writer, settings, {f"validation/{self.monitor}": value})


def configure(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return ``config`` with other settings.

    Raises:
        InputError: they do not go together.
    """
    values = config.to_dict()
    for option, value in settings.items():
        group, _, key = option.partition(".")
        values[group][key] = value
    return parse(values)


# --- the search ------------------------------------------------------------------------------


class _Search:
    """The study in a folder, and this process's part in it.

    A trial's user attributes say what Optuna's states do not: ``end`` (``done``, ``pruned``,
    ``cut``, ``failed`` or ``copy``; without one its process was killed or is at it), ``reason``,
    ``epochs`` and ``seconds``; ``given`` marks the configuration as given.

    Args:
        tuning: what to try.
        folder: claimed already.
        fixed: what the command line of a run needs beside the settings that are found.
        device: to train on.
        deadline: on ``time.monotonic``'s clock.

    Raises:
        InputError: the data or the study cannot be read.
    """

    def __init__(
        self,
        tuning: TuneConfig,
        folder: Path,
        fixed: Sequence[str],
        device: torch.device,
        deadline: float,
    ) -> None:
        self.tuning = tuning
        self.folder = folder
        self.fixed = fixed
        self.device = device
        self.deadline = deadline
        self.config = read_config(folder)  # as given, with paths that hold from anywhere
        self.monitor = self.config.trainer.monitor
        self.sign = -1 if self.monitor == "loss" else 1
        self.console = Console()
        with log_to(folder / "tune.log", self.console):
            log.info("search folder %s", folder)
            # Data at fault are told before the first trial.
            prepared = run.corpus(self.config)
            check_unchanged(folder / "corpus.txt", prepared.key)
            self.config = resolve(self.config, prepared.about)
            options = flatten(self.config.to_dict())
            searched = set(tuning.space)
            if self.config.tokenizer.counts is None and "tokenizer.counts" not in searched:
                searched -= {"tokenizer.token_weights", "tokenizer.ngram_weight"}
            self.given = {name: options[name] for name in tuning.space if name in searched}
            self.space = {
                name: _distribution(tuning.space[name], value) for name, value in self.given.items()
            }
            self.size = math.prod(_size(distribution) for distribution in self.space.values())
            for name, value in self.given.items():
                if not _contains(self.space[name], value):
                    log.info("%s=%s is outside tune.space: no trial has it", name, _word(value))
        with _lock(folder):
            self.study = _open_study(folder, self.sign)

    def search(self) -> None:
        """Try settings until the time is up, or there is nothing left to try.

        Raises:
            Interrupted: a signal came.
        """
        number, failures = 0, 0
        with deferred() as received:  # asking and telling are not to be cut in two
            while time.monotonic() < self.deadline and number != self.tuning.trials:
                asked = self._ask()
                if asked is None:
                    self._say(f"all {self.size} combinations of tune.space are tried")
                    break
                trial, lock = asked
                try:
                    failure = self._try(trial)
                finally:
                    lock.release()
                number += 1
                failures = failures + 1 if failure else 0
                write_whole(self.folder / "trials.csv", self._csv())
                if received.signum is not None:
                    raise Interrupted(received.signum)
                if failures == MAX_FAILURES:
                    self._say(f"{failures} trials in a row have failed: the search ends")
                    break

    def _ask(self) -> tuple[optuna.Trial, FileLock] | None:
        """Return a trial and the lock that tells it is at work; None if nothing is left to try."""
        with _lock(self.folder):
            self._bury_dead_trials()
            self._enqueue_given()
            while True:
                trials = self.study.get_trials(deepcopy=False)
                ended = {
                    _key(self._settings(one.params)): one
                    for one in trials
                    if one.user_attrs.get("end") in ("done", "pruned", "failed")
                }
                if len(ended) >= self.size:
                    return None
                # Seeded by trial: what comes next depends on what was tried, not on when the
                # search was stopped in between, and two processes do not draw the same.
                seed = (self.config.seed + len(trials)) % 2**32
                self.study.sampler = optuna.samplers.TPESampler(seed=seed)
                trial = self.study.ask(self.space)
                known = ended.get(_key(self._settings(trial.params)))
                if known is None:
                    break
                # The same settings come to the same bits. (Choices run out; numbers do not.)
                trial.set_user_attr("end", "copy")
                trial.set_user_attr("reason", f"the same as trial {known.number}")
                value = known.value if known.state == TrialState.COMPLETE else None
                self.study.tell(trial, value, known.state)
                self.study.enqueue_trial(self._untried(set(ended), random.Random(seed)))
            return trial, self._at_work(trial.number)

    def _at_work(self, number: int) -> FileLock:
        """Lock a trial's folder: the system gives it back when this process ends, however it does.

        Raises:
            Timeout: another process is at the trial.
        """
        folder = self._folder_of(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", blocking=False)
        lock.acquire()
        return lock

    def _bury_dead_trials(self) -> None:
        """Tell Optuna of trials whose process was killed."""
        for trial in self._running():
            try:
                lock = self._at_work(trial.number)
            except Timeout:
                continue
            # Read again: it may have come to its end between reading and locking.
            if trial.number in [one.number for one in self._running()]:
                self.study.tell(trial.number, state=TrialState.FAIL)
            lock.release()

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _enqueue_given(self) -> None:
        """Have the configuration as given tried next, unless it was or is tried already."""
        for trial in self.study.get_trials(deepcopy=False):
            ended = trial.user_attrs.get("end") in ("done", "pruned", "failed", "copy")
            if trial.user_attrs.get("given") and (ended or not trial.state.is_finished()):
                return
        inside = {
            name: _stored(value)
            for name, value in self.given.items()
            if _contains(self.space[name], value)
        }
        self.study.enqueue_trial(inside, {"given": True})

    def _untried(self, tried: set[str], draw: random.Random) -> Settings:
        """Return settings of a finite space that are not among those tried."""
        while True:
            params = {
                name: draw.choice(_values(distribution))
                for name, distribution in self.space.items()
            }
            if _key(self._settings(params)) not in tried:
                return params

    def _try(self, trial: optuna.Trial) -> str:
        """Train and validate; tell Optuna and the user. Return why it failed, or nothing.

        Raises:
            Interrupted: a signal came; the trial is recorded as cut short.
        """
        settings = self._settings(trial.params)
        folder = self._folder_of(trial.number)
        tracker = _TrialTracker(folder, self.console, self.monitor, trial, self.deadline)
        began = time.monotonic()
        end, reason, value, stopped = "done", "", None, None
        try:
            with raising():
                config = configure(self.config, settings)
                value = run.try_out(config, folder, self.device, tracker)
        except optuna.TrialPruned:
            end = "pruned"
        except _OutOfTimeError:
            end, reason = "cut", "the time was up"
        except Interrupted as error:
            end, reason, stopped = "cut", str(error), error
        except (TextclsError, OSError) as error:
            end, reason = "failed", " ".join(str(error).split())[:1000]
        # What was cut before its first epoch ended says nothing: Optuna is to leave it out.
        cut = TrialState.PRUNED if tracker.ended_epochs else TrialState.FAIL
        state = {
            "done": TrialState.COMPLETE,
            "pruned": TrialState.PRUNED,
            "cut": cut,
            "failed": TrialState.FAIL,
        }[end]
        seconds = round(time.monotonic() - began, 2)
        notes = {"end": end, "reason": reason, "epochs": tracker.ended_epochs, "seconds": seconds}
        for key, note in notes.items():
            trial.set_user_attr(key, note)
        self.study.tell(trial, value, state)
        if value is not None:
            tracker.result(settings, value)
        self._say(self._line(self.study.get_trials(deepcopy=False)[trial.number]))
        if stopped is not None:
            raise stopped
        return reason if end == "failed" else ""

    def _folder_of(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"

    def _settings(self, params: Mapping[str, Any]) -> Settings:
        """Return what a trial sets: numbers that were drawn are cut to three digits."""
        settings: Settings = {}
        for name, distribution in self.space.items():
            value = _read(params[name])
            if isinstance(distribution, FloatDistribution) and value != self.given[name]:
                value = min(max(float(f"{value:.3g}"), distribution.low), distribution.high)
            settings[name] = value
        return settings

    # --- what the user sees ------------------------------------------------------------------

    def show(self) -> None:
        """Show the best trials, and the best one's settings as a command line.

        Raises:
            TextclsError: there is no best one.
        """
        trials = self.study.get_trials(deepcopy=False)
        write_whole(self.folder / "trials.csv", self._csv())
        ranked = self._ranked()
        if not ranked:
            failed = [one for one in trials if one.user_attrs.get("end") == "failed"]
            if failed and len(failed) == len(trials):
                reason = failed[-1].user_attrs["reason"]
                raise TextclsError(f"all {len(trials)} trials failed, the last: {reason}")
            raise TextclsError(
                f"no trial came to the end of an epoch within tune.seconds="
                f"{self.tuning.seconds:g}: give it more"
            )
        self._picture().savefig(self.folder / "history.png")
        table = Table(title=self._counts(), title_justify="left")
        for column in ("trial", self.monitor, "seconds"):
            table.add_column(column, justify="right")
        table.add_column("settings")
        for trial in ranked[:SHOWN_TRIALS]:
            table.add_row(
                str(trial.number),
                f"{self._score(trial):.4f}",
                f"{trial.user_attrs['seconds']:.1f}",
                Text(self._words(trial)),
            )
        self.console.print(table)
        self._say(f"trial {ranked[0].number} is the best by validation {self.monitor}:")
        again = shlex.join([*self.fixed, *self._found(ranked[0])])
        self._say(f"{train_command()} {again}")

    def train_best(self) -> None:
        """Train the best settings once more, as a run that is kept and tested: ``best``.

        Raises:
            Whatever :func:`textcls.run.start` raises.
        """
        with FileLock(self.folder / ".best.lock"):  # another process may be at it
            folder = self.folder / BEST
            config = configure(self.config, self._settings(self._ranked()[0].params))
            if not Pooling.parse(config.model.mode).is_linear:
                config = configure(config, {"trainer.ensemble": 1})
            if (folder / "config.yaml").exists():
                if read_config(folder) == config:
                    run.resume(folder)
                    return
                shutil.rmtree(folder)  # of settings that were the best before
            run.start(config, folder)

    def _ranked(self) -> list[FrozenTrial]:
        """Return the trials that may be the best, the best first; of equals the earlier one.

        One that was cut short counts only where none is done: nobody knows how long it would take
        to train it to its end.
        """
        trials = self.study.get_trials(deepcopy=False)
        for end in ("done", "cut"):
            scores = {
                trial.number: self.sign * score
                for trial in trials
                if trial.user_attrs.get("end") == end and (score := self._score(trial)) is not None
            }
            if scores:
                break
        return [trials[number] for number in sorted(scores, key=lambda one: -scores[one])]

    def _score(self, trial: FrozenTrial) -> float | None:
        """Return the monitored metric of what a run would keep; of what was cut short, so far."""
        if trial.state == TrialState.COMPLETE:
            return trial.value
        values = [value for _, value in sorted(trial.intermediate_values.items())]
        if refits(self.config):
            return values[-1] if values else None
        return max(values, key=lambda value: self.sign * value, default=None)

    def _found(self, trial: FrozenTrial) -> list[str]:
        return [f"{name}={_word(value)}" for name, value in self._settings(trial.params).items()]

    def _line(self, trial: FrozenTrial) -> str:
        notes, score = trial.user_attrs, self._score(trial)
        what = "" if score is None or notes["end"] == "failed" else f"{self.monitor} {score:.4f} "
        if notes["end"] == "pruned":
            what += f"pruned in epoch {notes['epochs']}"
        elif notes["end"] == "cut":
            what += f"cut in epoch {notes['epochs'] + 1}"
        elif notes["end"] == "failed":
            what += "failed"
        elif self._ranked()[0].number == trial.number:
            what += "best"
        reason = f": {notes['reason']}" if notes["reason"] else ""
        seconds = f"{notes['seconds']:6.1f} s"
        return f"trial {trial.number:3d}  {what:<34} {seconds}  {self._words(trial)}{reason}"

    def _words(self, trial: FrozenTrial) -> str:
        """Return a trial's settings by the last part of their names."""
        settings = self._settings(trial.params)
        words = (f"{name.rpartition('.')[2]}={_word(value)}" for name, value in settings.items())
        return " ".join(words) + (" (as given)" if settings == self.given else "")

    def _counts(self) -> str:
        ends = [trial.user_attrs.get("end", "killed") for trial in self.study.trials]
        counts = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
        return f"{len(ends)} trials: {counts}; the best of them:"

    def _picture(self) -> Figure:
        """Draw every trial's score, and the best so far.

        (Optuna has a picture of importances as well; it counts unpruned trials only, and so makes
        little of a setting whose bad values are pruned.)
        """
        scores: dict[str, list[tuple[int, float]]] = {"done": [], "pruned": [], "cut": []}
        best: list[tuple[int, float]] = []
        for trial in self.study.get_trials(deepcopy=False):
            end, score = trial.user_attrs.get("end"), self._score(trial)
            if score is not None and end in scores:
                scores[end].append((trial.number, score))
        for number, score in scores["done"]:
            if not best or self.sign * score > self.sign * best[-1][1]:
                best.append((number, score))
        best += [(trial.number, score) for _, score in best[-1:]]  # to the end of the picture
        figure = Figure(figsize=(7, 4), layout="constrained", dpi=110)
        axes = figure.add_subplot(xlabel="trial", ylabel=f"validation {self.monitor}")
        if best:
            axes.step(
                *zip(*best, strict=True), where="post", color="tab:orange", label="best so far"
            )
        for (end, points), marker in zip(scores.items(), "ox+", strict=True):
            if points:
                colour = "tab:blue" if end == "done" else "tab:gray"
                axes.scatter(*zip(*points, strict=True), marker=marker, color=colour, label=end)
        axes.set_title(f"{self.config.data.name}: trials of the search")
        axes.legend(loc="lower right" if self.sign > 0 else "upper right")
        axes.grid(alpha=0.3)
        return figure

    def _csv(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = ("trial", "end", self.monitor, "epochs", "seconds", "reason")
        writer.writerow([*names, *self.space])
        for trial in self.study.get_trials(deepcopy=False):
            if trial.params.keys() == self.space.keys():
                notes = trial.user_attrs
                end = notes.get("end") or ("killed" if trial.state.is_finished() else "running")
                figures = [notes.get(key) for key in ("epochs", "seconds", "reason")]
                score = self._score(trial)
                settings = self._settings(trial.params).values()
                writer.writerow([trial.number, end, score, *figures, *map(_word, settings)])
        return out.getvalue()

    def _say(self, line: str) -> None:
        with log_to(self.folder / "tune.log", self.console):
            log.info("%s", line)


def _open_study(folder: Path, sign: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # one line a trial is ours
    path = folder / STUDY
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{STUDY}",
            # Not by the URL, in which some characters of a path mean something.
            engine_kwargs={
                "creator": lambda: sqlite3.connect(path, timeout=60, check_same_thread=False)
            },
        )
        return optuna.create_study(
            storage=storage,
            study_name="tune",
            direction="maximize" if sign > 0 else "minimize",
            load_if_exists=True,
            # By the median: it needs no resource that is the same for all trials, as halving and
            # Hyperband do, and seldom ends a trial that would have won. One that was the best so
            # far it never ends.
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=UNPRUNED_TENTHS
            ),
        )
    except sqlalchemy.exc.DatabaseError as error:
        raise InputError(f"{path}: is damaged or cannot be written ({error.orig})") from None


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


def _key(settings: Settings) -> str:
    return repr(sorted(settings.items()))


def _word(value: Any) -> str:
    """Return a value as the command line has it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple):
        return f"[{','.join(map(_word, value))}]"
    if isinstance(value, str) and not re.fullmatch(r"[\w.+/-]+", value):
        escaped = value.replace("'", "\\'")
        return f"'{escaped}'"
    return str(value)
