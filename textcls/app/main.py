"""Training by Hydra: one run, a sweep or a search, from the arguments of the command line."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import ModuleType

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from textcls.app.arguments import prepare
from textcls.app.compose import given_options, to_config, to_tuning
from textcls.app.mistakes import message_of
from textcls.app.overrides import unquoted
from textcls.config import Config
from textcls.distributed import is_follower, place
from textcls.errors import (
    NO_READER,
    BusyError,
    InputError,
    Interrupted,
    TakenError,
    discard_output,
    print_any_character,
    status_and_reason,
    tell,
)
from textcls.files import SEARCH
from textcls.locks import locked
from textcls.program import CONFIGS
from textcls.sweep import (
    Sweep,
    command_again,
    new_folder,
    record_failure,
    record_unfinished,
    run_folder,
    statuses_of_failures,
    swept_values,
)
from textcls.training.signals import deferred, handing_on, heed_the_first, raising


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def job(cfg: DictConfig) -> None:
    """Do one run, or one of a sweep; a sweep goes on past one that fails.

    Raises:
        SystemExit: it failed, and the message is printed. (Hydra itself prints an ``Exception``.)
        Interrupted: a signal came.
    """
    try:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _alone("-m")
            _one_of_sweep(cfg)
        elif cfg.resume is not None:
            overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("resume=")]
            if overrides:
                typed = [o for o in overrides if o != "data=local"] or overrides
                raise InputError(
                    f"resume={cfg.resume} goes on with the run as it was configured: "
                    f"leave out {' '.join(typed)}"
                )
            folder = _folder(str(cfg.resume))
            if (folder / SEARCH).exists():
                _alone("tune")
                _import_search().resume(folder)
            elif place() is None:
                _imported("textcls.run").resume(folder)
            else:
                _imported("textcls.several").resume(folder)
        elif cfg.get("tune") is not None:
            _alone("tune")
            config = _config_of(cfg)
            tuning, fixed = to_tuning(cfg, list(HydraConfig.get().overrides.task))
            search = _import_search()
            search.start(config, tuning, _folder_of_one(cfg, config, "tune"), fixed)
        else:
            config = _config_of(cfg)

            def folder_of_run() -> Path:
                return _folder_of_one(cfg, config, config.model.mode)

            if place() is None:
                # torch: only now that there is something to do
                _imported("textcls.run").start(config, folder_of_run())
            else:
                _imported("textcls.several").start(config, folder_of_run)
    except Exception as error:
        status, reason = _status_and_reason(error, HydraConfig.get().overrides.task)
        _tell(reason)
        raise SystemExit(status) from None


def _alone(what: str) -> None:
    """Refuse what several processes cannot share."""
    if place() is not None:
        raise InputError(f"{what} is not for several processes of torchrun: start it without")


def _tell(message: str) -> None:
    """Print an error, unless another process says what there is to say."""
    if not is_follower():
        tell(message)


def _one_of_sweep(cfg: DictConfig) -> None:
    """Do one run, in a process that a launcher has made for it or for several, or in this one."""
    beside_others = multiprocessing.parent_process() is not None
    print_any_character()
    if beside_others and heed_the_first().signum is not None:
        return
    with raising() as received:
        _rest_of_run(cfg, beside_others)
    if received.signum is not None and not beside_others:
        raise Interrupted(received.signum)  # library code has swallowed what was raised


def _rest_of_run(cfg: DictConfig, beside_others: bool) -> None:
    """Do what is left of this run; a failure is printed, and recorded in its folder."""
    if cfg.resume is not None:
        raise InputError("resume= goes on with a run or sweep by itself: leave out -m")
    swept = swept_values()
    folder = run_folder(swept)
    try:
        config = _config_of(cfg)
        if cfg.get("tune") is None:
            _imported("textcls.run").go_on(config, folder, swept)
        else:
            tuning, fixed = to_tuning(cfg, list(HydraConfig.get().overrides.task))
            _import_search().go_on(config, tuning, folder, fixed)
    except BusyError as error:
        print(f"{error}: left to it")
    except TakenError:  # the others have the wrong place as well
        raise
    except Interrupted as error:
        if not beside_others:
            raise
        # At an exception the launcher would kill the others, and they may be saving.
        record_failure(folder, str(error), error.exit_status, swept)
    except Exception as error:
        status, reason = _status_and_reason(error, HydraConfig.get().overrides.task)
        tell(f"{folder}: {reason}")
        record_failure(folder, reason, status, swept)


def _config_of(cfg: DictConfig) -> Config:
    """Return the configuration; what it leaves open is that of the model which it starts from."""
    config = to_config(cfg)
    if config.init_from is None:
        return config
    given = given_options(cfg, list(HydraConfig.get().overrides.task))
    found: Config = _imported("textcls.continuing").adopted(config, given)
    return found


def _imported(name: str) -> ModuleType:
    # A signal in the middle of torch's import would leave it half done and go unnoticed.
    with deferred() as received:
        module = importlib.import_module(name)
    if received.signum is not None:
        raise Interrupted(received.signum)
    return module


def _import_search() -> ModuleType:
    if importlib.util.find_spec("optuna") is None:
        raise InputError("tune= needs Optuna: pip install 'textcls[tune]'")
    return _imported("textcls.tuning.search")


def _folder_of_one(cfg: DictConfig, config: Config, kind: str) -> Path:
    if cfg.run_dir is not None:
        return _folder(str(cfg.run_dir))
    _imported("textcls.run").set_up(config)  # may fail: before there is a folder
    return new_folder(f"{config.data.name}_{kind}")


def _status_and_reason(error: Exception, arguments: Sequence[str]) -> tuple[int, str]:
    if isinstance(error, HydraException | OmegaConfBaseException | YAMLError):
        return 2, message_of(error, arguments)
    return status_and_reason(error)


def main(arguments: Sequence[str]) -> int:
    """Train by the arguments of the command line, those of ``--help``.

    Returns:
        The exit status: 0 done, 2 bad input, 130 or 143 interrupted, 1 anything else.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises; the messages are ours
    print_any_character()
    if place() is not None:
        heed_the_first()  # the launcher sends on what a terminal has sent already
    if is_follower():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115

    status, message = 0, ""
    with handing_on() as received:
        try:
            sys.argv[1:] = _resumed_sweep(arguments) or prepare(arguments)  # which Hydra reads
            job()
            if Sweep.folder is not None and received.signum is None:
                with raising():
                    _compare(Sweep.folder)
        except BrokenPipeError:  # of --help | head
            discard_output()
            status = NO_READER
        except SystemExit as ended:
            status = int(ended.code or 0)
        except Interrupted as error:
            status, message = error.exit_status, str(error)
        except BrokenExecutor:  # a launcher's, at the death of one of its processes
            status, message = 1, "a process of the sweep was killed: out of memory?"
            if Sweep.folder is not None and received.signum is None:
                record_unfinished(Sweep.folder, message)
        except Exception as error:
            status, message = _status_and_reason(error, arguments)
    if received.signum is not None and status != 128 + received.signum:
        stopped = Interrupted(received.signum)
        status, message = stopped.exit_status, str(stopped)
    if Sweep.folder is not None:
        if message and status != 2:
            way_on = f"go on with resume={shlex.quote(str(Sweep.folder))}"
            message = f"{message.split(': go on')[0]}: {way_on}"
        elif not status:
            status = max(statuses_of_failures(Sweep.folder), default=0)
    if message:
        _tell(message)
    return status


def _compare(sweep: Path) -> None:
    """Show how the runs of a sweep compare."""
    _imported("textcls.report.compare")
    from rich.console import Console

    from textcls.report.compare import compare
    from textcls.report.study import COMPARISON

    try:
        with locked(sweep / f".{COMPARISON}.lock"):  # the sweep may have been started twice
            compare([sweep], sweep / COMPARISON, Console())
    except InputError as error:
        print(f"no comparison: {error}")
    print(f"TensorBoard  tensorboard --logdir {shlex.quote(str(sweep))}")


def _resumed_sweep(arguments: Sequence[str]) -> list[str] | None:
    """Return the arguments that began the sweep which ``resume=`` names, if it names one."""
    if len(arguments) != 1 or not arguments[0].startswith("resume="):
        return None
    return command_again(_folder(unquoted(arguments[0].removeprefix("resume="))))


def _folder(given: str) -> Path:
    return Path(given).expanduser()
