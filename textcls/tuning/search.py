"""A search: trials of settings within a budget of time, then one run of what did best."""

from __future__ import annotations

import logging
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import optuna
import torch
from rich.console import Console
from rich.text import Text

from textcls import run, run_corpus
from textcls.config import Config, read_config
from textcls.continuing import read_start
from textcls.errors import InputError, Interrupted, TextclsError
from textcls.files import BEST, FAILED, FINISHED, write_whole
from textcls.locks import locked
from textcls.pooling import Pooling
from textcls.program import train_command
from textcls.run_folder import check_unchanged
from textcls.run_log import log_to
from textcls.training.signals import deferred
from textcls.tuning.display import csv_of, line_of, picture_of, table_of
from textcls.tuning.folder import claim, read_settings
from textcls.tuning.optuna_space import OptunaSpace, fitting
from textcls.tuning.settings import as_arguments, as_word, configure
from textcls.tuning.space import TuneConfig
from textcls.tuning.study import Study, end_of, storage_faults_told
from textcls.tuning.trial import TrialTracker, train_trial

log = logging.getLogger("textcls")

# A search in which so many trials in a row fail has nothing to find.
MAX_FAILURES = 20


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
    claim(config, tuning, folder, fixed, device)
    with storage_faults_told(folder):
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
    tuning, fixed = read_settings(folder)
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


class _Search:
    """This process's part in a search.

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
        self.console = Console()
        config = read_config(folder)  # as given, with paths that hold from anywhere
        with log_to(folder / "tune.log", self.console):
            log.info("search folder %s", folder)
            # Data at fault are told before the first trial.
            prepared = run_corpus.corpus(config, start=read_start(config))
            check_unchanged(folder / "corpus.txt", prepared.key)
            self.config, tried = fitting(tuning.space, config, prepared.about)
            space = OptunaSpace(tried, self.config)
            inside = space.given_params()
            for name, value in space.given.items():
                if name not in inside:
                    log.info("%s=%s is outside tune.space: no trial has it", name, as_word(value))
        self.study = Study(folder, self.config, space)

    def search(self) -> None:
        """Try settings until the time is up, or there is nothing left to try.

        Raises:
            Interrupted: a signal came.
        """
        number, failures = 0, 0
        with deferred() as received:  # asking and telling are not to be cut in two
            while time.monotonic() < self.deadline and number != self.tuning.trials:
                asked = self.study.ask()
                if asked is None:
                    self._say(f"all {self.study.space.size} combinations of tune.space are tried")
                    break
                trial, lock = asked
                try:
                    has_failed = self._try(trial)
                finally:
                    lock.release()
                number += 1
                failures = failures + 1 if has_failed else 0
                self._write_csv()
                if received.signum is not None:
                    raise Interrupted(received.signum)
                if failures == MAX_FAILURES:
                    self._say(f"{failures} trials in a row have failed: the search ends")
                    break

    def _try(self, trial: optuna.Trial) -> bool:
        """Train and validate; tell Optuna and the user. Return whether it failed.

        Raises:
            Interrupted: a signal came; the trial is recorded as cut short.
        """
        folder, settings = self.study.folder_of(trial.number), self.study.settings(trial)
        tracker = TrialTracker(folder, self.console, self.study.monitor, trial, self.deadline)
        ending = train_trial(self.config, settings, self.device, tracker)
        self.study.tell(trial, ending)
        if ending.value is not None:
            tracker.result(settings, ending.value)
        self._say(line_of(self.study, trial.number))
        if ending.stopped is not None:
            raise ending.stopped
        return ending.end == "failed"

    def show(self) -> None:
        """Show the best trials, and the best one's settings as a command line.

        Raises:
            TextclsError: there is no best one.
        """
        self._write_csv()
        ranked = self.study.ranked()
        if not ranked:
            raise TextclsError(self._why_none_is_best())
        title = f"{self.config.data.name}: trials of the search"
        picture_of(self.study, title).savefig(self.folder / "history.png")
        self.console.print(table_of(self.study))
        best = ranked[0]
        self._say(f"trial {best.number} is the best by validation {self.study.monitor}:")
        again = shlex.join([*self.fixed, *as_arguments(self.study.settings(best))])
        self._say(f"{train_command()} {again}")

    def _why_none_is_best(self) -> str:
        trials = self.study.trials()
        failed = [one for one in trials if end_of(one) == "failed"]
        if failed and len(failed) == len(trials):
            reason = failed[-1].user_attrs["reason"]
            return f"all {len(trials)} trials failed, the last: {reason}"
        return (
            f"no trial came to the end of an epoch within tune.seconds="
            f"{self.tuning.seconds:g}: give it more"
        )

    def train_best(self) -> None:
        """Train the best settings once more, as a run that is kept and tested: ``best``.

        Raises:
            Whatever :func:`textcls.run.start` raises.
        """
        with locked(self.folder / ".best.lock"):  # another process may be at it
            folder = self.folder / BEST
            config = configure(self.config, self.study.settings(self.study.ranked()[0]))
            if not Pooling.parse(config.model.mode).is_linear:
                config = configure(config, {"trainer.ensemble": 1})
            if (folder / "config.yaml").exists():
                if read_config(folder) == config:
                    run.resume(folder)
                    return
                shutil.rmtree(folder)  # of settings that were the best before
            run.start(config, folder)

    def _write_csv(self) -> None:
        write_whole(self.folder / "trials.csv", csv_of(self.study))

    def _say(self, line: str) -> None:
        with log_to(self.folder / "tune.log", self.console):
            log.info("%s", line)
