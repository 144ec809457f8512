"""Hydra's door to textcls: ``python train.py --help`` says what it takes."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import shlex
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from textcls.config import Config, TuneConfig, parse, parse_tuning
from textcls.errors import BusyError, InputError, Interrupted, TakenError, status_and_reason, tell
from textcls.files import SEARCH
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

PROJECT = Path(__file__).resolve().parent
# Hydra's launchers that are optional extras of ours: the extra's name, and how to install it. (What
# Ray's needs is older than what constraints.txt pins.)
PLUGINS = {
    "joblib": ("joblib", "-c constraints.txt -e '.[joblib]'"),
    "submitit_slurm": ("slurm", "-c constraints.txt -e '.[slurm]'"),
    "ray": ("ray", "-e '.[ray]'"),
}

OmegaConf.register_new_resolver("textcls.project", lambda path: str(PROJECT / path), replace=True)
# Rounded: 3 * 0.1 is to be 0.3.
OmegaConf.register_new_resolver("textcls.times", lambda a, b: float(f"{a * b:.6g}"), replace=True)


def to_config(cfg: DictConfig) -> Config:
    """Turn Hydra's configuration into ours; from here on there is no DictConfig.

    Raises:
        InputError: a missing, unknown or wrong value, in one line.
    """
    values = _plain(cfg)
    for key in ("run_dir", "resume", "tune"):  # train.py's own
        values.pop(key, None)
    return parse(values)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise InputError(_one_line(error)) from None


def to_tuning(cfg: DictConfig, overrides: list[str]) -> tuple[TuneConfig, list[str]]:
    """Return the search, and the overrides that a run needs beside the settings it will find.

    Raises:
        InputError: a missing, unknown or wrong value, in one line.
    """
    keys = {
        override: parsed.key_or_group
        for override, parsed in zip(
            overrides, OverridesParser.create().parse_overrides(overrides), strict=True
        )
    }
    tuning = parse_tuning(_plain(cfg)["tune"], set(keys.values()))
    fixed = [
        override
        for override, key in keys.items()
        if key.split(".")[0] not in ("tune", "run_dir", "resume") and key not in tuning.space
    ]
    return tuning, fixed


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def job(cfg: DictConfig) -> None:
    """Do one run, or one of a sweep; a sweep goes on past one that fails.

    Raises:
        SystemExit: it failed and was told. (Of an ``Exception`` Hydra would tell in its own way.)
        Interrupted: a signal came.
    """
    try:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _one_of_sweep(cfg)
        elif cfg.resume is not None:
            overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("resume=")]
            if overrides:
                raise InputError(
                    f"resume={cfg.resume} goes on with the run as it was configured: "
                    f"leave out {' '.join(overrides)}"
                )
            folder = Path(str(cfg.resume))
            work = _import_tune() if (folder / SEARCH).exists() else _imported("textcls.run")
            work.resume(folder)
        elif cfg.get("tune") is not None:
            config = to_config(cfg)
            tuning, fixed = to_tuning(cfg, list(HydraConfig.get().overrides.task))
            tune = _import_tune()
            tune.start(config, tuning, _folder_of_one(cfg, config, "tune"), fixed)
        else:
            config = to_config(cfg)
            run = _imported("textcls.run")  # torch: only now that there is something to do
            run.start(config, _folder_of_one(cfg, config, config.model.mode))
    except Exception as error:
        status, reason = _status_and_reason(error)
        tell(reason)
        raise SystemExit(status) from None


def _one_of_sweep(cfg: DictConfig) -> None:
    """Do one run, in a process that a launcher has made for it or for several, or in this one."""
    beside_others = multiprocessing.parent_process() is not None
    if beside_others and heed_the_first().signum is not None:
        return
    with raising() as received:
        _rest_of_run(cfg, beside_others)
    if received.signum is not None and not beside_others:
        raise Interrupted(received.signum)  # library code has swallowed what was raised


def _rest_of_run(cfg: DictConfig, beside_others: bool) -> None:
    """Do what is left of this run; a failure is told, and recorded in its folder."""
    if cfg.resume is not None:
        raise InputError("resume= goes on with a run or sweep by itself: leave out -m")
    if cfg.get("tune") is not None:
        raise InputError("tune= is no part of a sweep: leave out -m and experiments that sweep")
    swept = swept_values()
    folder = run_folder(swept)
    try:
        config = to_config(cfg)
        _imported("textcls.run").go_on(config, folder, swept)
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
        status, reason = _status_and_reason(error)
        tell(f"{folder}: {reason}")
        record_failure(folder, reason, status, swept)


def _imported(name: str) -> ModuleType:
    # A signal in the middle of torch's import would leave it half done and go unnoticed.
    with deferred() as received:
        module = importlib.import_module(name)
    if received.signum is not None:
        raise Interrupted(received.signum)
    return module


def _import_tune() -> ModuleType:
    if importlib.util.find_spec("optuna") is None:
        raise InputError("tune= needs Optuna: pip install -c constraints.txt -e '.[tune]'")
    return _imported("textcls.tune")


def _folder_of_one(cfg: DictConfig, config: Config, kind: str) -> Path:
    if cfg.run_dir is not None:
        return Path(str(cfg.run_dir))
    _imported("textcls.run").set_up(config)  # may fail: before there is a folder
    return new_folder(f"{config.data.name}_{kind}")


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Hydra and OmegaConf put the reason first and where it is in the lines after it.
    key = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key")), "")
    text = lines[0] if lines else type(error).__name__
    if text.startswith("Could not override 'tune."):
        return f"{text} (tune=default brings the options of a search)"
    return f"{key}: {text}" if key and key not in text else text


def _status_and_reason(error: Exception) -> tuple[int, str]:
    if isinstance(error, HydraException | OmegaConfBaseException):
        reason, missing = _one_line(error), ""
        for plugin, (extra, package) in PLUGINS.items():
            if f"'hydra/launcher/{plugin}'" in reason:
                missing = f": launcher={extra} needs pip install {package}"
        return 2, reason + missing
    return status_and_reason(error)


def main() -> int:
    """Return the exit status: 0 done, 2 bad input, 130 or 143 interrupted, 1 anything else."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises; telling is ours

    status, message = 0, ""
    with handing_on() as received:
        try:
            sys.argv[1:] = _resumed_sweep(sys.argv[1:]) or [_quoted(a) for a in sys.argv[1:]]
            job()
            if Sweep.folder is not None and received.signum is None:
                with raising():
                    _compare(Sweep.folder)
        except SystemExit as told:
            status = int(told.code or 0)
        except Interrupted as error:
            status, message = error.exit_status, str(error)
        except BrokenExecutor:  # a launcher's, at the death of one of its processes
            status, message = 1, "a process of the sweep was killed: out of memory?"
            if Sweep.folder is not None and received.signum is None:
                record_unfinished(Sweep.folder, message)
        except Exception as error:
            status, message = _status_and_reason(error)
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
        tell(message)
    return status


def _compare(sweep: Path) -> None:
    """Show how the runs of a sweep compare."""
    _imported("textcls.report.compare")
    from rich.console import Console

    from textcls.report.compare import compare
    from textcls.report.study import COMPARISON

    try:
        with FileLock(sweep / f".{COMPARISON}.lock"):  # the sweep may have been started twice
            compare([sweep], sweep / COMPARISON, Console())
    except InputError as error:
        print(f"no comparison: {error}")
    print(f"TensorBoard  tensorboard --logdir {shlex.quote(str(sweep))}")


def _resumed_sweep(arguments: list[str]) -> list[str] | None:
    """Return the arguments that began the sweep which ``resume=`` names, if it names one."""
    if len(arguments) != 1 or not arguments[0].startswith("resume="):
        return None
    again = command_again(Path(arguments[0].removeprefix("resume=").strip("'\"")))
    return None if again is None else [_quoted(argument) for argument in again]


def _quoted(argument: str) -> str:
    """Quote a folder, since ``resume=runs/mode=max`` is an error to Hydra's grammar."""
    key, _, value = argument.partition("=")
    if key not in ("resume", "run_dir") or value in ("", "null") or value[0] in "'\"":
        return argument
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


if __name__ == "__main__":
    sys.exit(main())
