"""The trials of a search, in Optuna's study: which is tried next, how each ended, which is best."""

from __future__ import annotations

import random
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy.exc
from filelock import BaseFileLock
from optuna.trial import FrozenTrial, TrialState

from textcls.config import Config
from textcls.errors import InputError, TextclsError, first_line
from textcls.fitting import refits
from textcls.locks import Timeout, acquire
from textcls.tuning.folder import STUDY, study_lock
from textcls.tuning.optuna_space import OptunaSpace
from textcls.tuning.settings import Settings, key_of
from textcls.tuning.trial import Ending

# Trials that end well before any is pruned, and the tenths of a training that each one gets.
UNPRUNED_TRIALS = 5
UNPRUNED_TENTHS = 3


class Study:
    """The trials in the folder of a search.

    A trial's user attributes say what Optuna's states do not: ``end`` (see :func:`end_of`),
    ``reason``, ``epochs`` and ``seconds``; ``given`` marks the configuration as given.

    Args:
        folder: of the search, claimed already.
        config: as given, with values in place of ``auto``.
        space: what is searched.

    Attributes:
        space: what is searched.
        monitor: the validation metric that trials are compared by.
        sign: 1 where more of it is better, -1 where less is.

    Raises:
        InputError: the study cannot be read.
    """

    def __init__(self, folder: Path, config: Config, space: OptunaSpace) -> None:
        self.space = space
        self.monitor = config.trainer.monitor
        self.sign = -1 if self.monitor == "loss" else 1
        self._folder = folder
        self._seed = config.seed
        self._last_epoch_counts = refits(config)
        with study_lock(folder):
            self._study = _open(folder / STUDY, self.sign)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, in the order of their numbers; they are not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def settings(self, trial: optuna.Trial | FrozenTrial) -> Settings:
        """Return what a trial sets."""
        return self.space.settings(trial.params)

    def folder_of(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self._folder / "trials" / f"{number:04d}"

    # --- asking and telling ------------------------------------------------------------------

    def ask(self) -> tuple[optuna.Trial, BaseFileLock] | None:
        """Return a trial and the lock that tells it is at work; None if nothing is left to try."""
        with study_lock(self._folder):
            self._bury_dead_trials()
            self._enqueue_given()
            while True:
                trials = self.trials()
                ended = {
                    key_of(self.settings(one)): one
                    for one in trials
                    if end_of(one) in ("done", "pruned", "failed")
                }
                if len(ended) >= self.space.size:
                    return None
                # Seeded by trial: what comes next depends on what was tried, not on when the
                # search was stopped in between, and two processes do not draw the same.
                seed = (self._seed + len(trials)) % 2**32
                self._study.sampler = optuna.samplers.TPESampler(seed=seed)
                trial = self._study.ask(self.space.distributions)
                known = ended.get(key_of(self.settings(trial)))
                if known is None:
                    break
                # The same settings come to the same bits. (Choices run out; numbers do not.)
                trial.set_user_attr("end", "copy")
                trial.set_user_attr("reason", f"the same as trial {known.number}")
                value = known.value if known.state == TrialState.COMPLETE else None
                self._study.tell(trial, value, known.state)
                params = self.space.untried_params(ended.keys(), random.Random(seed))
                self._study.enqueue_trial(params)
            return trial, self._at_work(trial.number)

    def tell(self, trial: optuna.Trial, ending: Ending) -> None:
        """Record how a trial ended."""
        # What was cut before its first epoch ended says nothing: Optuna is to leave it out.
        cut = TrialState.PRUNED if ending.epochs else TrialState.FAIL
        state = {
            "done": TrialState.COMPLETE,
            "pruned": TrialState.PRUNED,
            "cut": cut,
            "failed": TrialState.FAIL,
        }[ending.end]
        trial.set_user_attr("reason", ending.reason)
        trial.set_user_attr("epochs", ending.epochs)
        trial.set_user_attr("seconds", ending.seconds)
        trial.set_user_attr("end", ending.end)  # which says that the others are there
        self._study.tell(trial, ending.value, state)

    def _at_work(self, number: int) -> BaseFileLock:
        """Lock a trial's folder: the system gives it back when this process ends, however it does.

        Raises:
            Timeout: another process is at the trial.
        """
        folder = self.folder_of(number)
        folder.mkdir(parents=True, exist_ok=True)
        return acquire(folder / ".lock", timeout=0)

    def _bury_dead_trials(self) -> None:
        """Tell Optuna of trials whose process was killed."""
        for trial in self._running():
            try:
                lock = self._at_work(trial.number)
            except Timeout:
                continue
            # Read again: it may have come to its end between reading and locking.
            if trial.number in [one.number for one in self._running()]:
                self._study.tell(trial.number, state=TrialState.FAIL)
            lock.release()

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _enqueue_given(self) -> None:
        """Have the configuration as given tried next, unless it was or is tried already."""
        for trial in self.trials():
            ended = end_of(trial) in ("done", "pruned", "failed", "copy")
            if trial.user_attrs.get("given") and (ended or not trial.state.is_finished()):
                return
        self._study.enqueue_trial(self.space.given_params(), {"given": True})

    # --- comparing ---------------------------------------------------------------------------

    def ranked(self) -> list[FrozenTrial]:
        """Return the trials that may be the best, the best first; of equals the earlier one.

        One that was cut short counts only where none is done: nobody knows how long it would take
        to train it to its end.
        """
        trials = self.trials()
        for end in ("done", "cut"):
            scores = {
                trial.number: self.sign * score
                for trial in trials
                if end_of(trial) == end and (score := self.score(trial)) is not None
            }
            if scores:
                break
        return [trials[number] for number in sorted(scores, key=lambda one: -scores[one])]

    def score(self, trial: FrozenTrial) -> float | None:
        """Return the monitored metric of what a run would keep; of what was cut short, so far."""
        if trial.state == TrialState.COMPLETE:
            return trial.value
        values = [value for _, value in sorted(trial.intermediate_values.items())]
        if self._last_epoch_counts:
            return values[-1] if values else None
        return max(values, key=lambda value: self.sign * value, default=None)


def end_of(trial: FrozenTrial) -> str | None:
    """Return how a trial ended: ``done``, ``pruned``, ``cut``, ``failed`` or ``copy``.

    None: its process was killed or is at it. It may have been killed between writing the end down
    and the score.
    """
    end: str | None = trial.user_attrs.get("end")
    state = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(end or "", trial.state)
    return end if trial.state == state and state.is_finished() else None


@contextmanager
def storage_faults_told(folder: Path) -> Iterator[None]:
    """Have what goes wrong with the study within the block told in one line, a full disk say.

    Raises:
        TextclsError: in place of what Optuna raises.
    """
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        reason = first_line(getattr(cause, "orig", None) or cause)
        raise TextclsError(
            f"{folder / STUDY}: cannot be read or written ({reason}): mend it, and go on with "
            f"resume={shlex.quote(str(folder))}"
        ) from None


def _open(path: Path, sign: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # one line a trial is ours
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.name}",
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
