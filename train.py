"""Hydra's door to textcls: ``python train.py --help`` says what it takes."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from textcls.config import Config, parse
from textcls.errors import InputError, Interrupted, TextclsError
from textcls.training.signals import deferred, raising

PROJECT = Path(__file__).resolve().parent
# The exit status of each run that did not end well.
_failures: list[int] = []

OmegaConf.register_new_resolver("textcls.project", lambda path: str(PROJECT / path), replace=True)
OmegaConf.register_new_resolver(
    "textcls.sweep_dir",
    lambda run_dir: run_dir or str(_new_folder(time.strftime("%Y-%m-%d_%H-%M-%S_sweep"))),
    use_cache=True,
    replace=True,
)


def to_config(cfg: DictConfig) -> Config:
    """Turn Hydra's configuration into ours; from here on there is no DictConfig.

    Raises:
        InputError: a missing, unknown or wrong value, in one line.
    """
    try:
        values: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise InputError(_one_line(error)) from None
    for key in ("run_dir", "resume"):  # train.py's own
        values.pop(key, None)
    return parse(values)


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def job(cfg: DictConfig) -> None:
    """Do one run, or one of a sweep; what fails is told in one line, and a sweep goes on."""
    status = 1
    try:
        if cfg.resume is not None:
            overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("resume=")]
            if overrides:
                raise InputError(
                    f"resume={cfg.resume} goes on with the run as it was configured: "
                    f"leave out {' '.join(overrides)}"
                )
            run = _import_run()
            run.resume(Path(str(cfg.resume)))
        else:
            config = to_config(cfg)
            run = _import_run()  # torch: only now that there is something to do
            run.start(config, run_folder(cfg, config))
        return
    except TextclsError as error:
        status = error.exit_status
        _tell(str(error))
    except OSError as error:
        _tell(_reason(error))
    except Exception:
        traceback.print_exc()
    _failures.append(status)


def _import_run() -> ModuleType:
    # A signal in the middle of torch's import would leave it half done and go unnoticed.
    with deferred() as received:
        from textcls import run
    if received.signum is not None:
        raise Interrupted(received.signum)
    return run


def run_folder(cfg: DictConfig, config: Config) -> Path:
    """Return the folder of this run: as given, or a new one that says what it holds."""
    here = HydraConfig.get()
    if here.mode == RunMode.MULTIRUN:
        sweep = Path(here.sweep.dir)
        return sweep / (_swept(sweep, list(here.overrides.task)) or str(here.job.num))
    if cfg.run_dir is not None:
        return Path(str(cfg.run_dir))
    return _new_folder(
        f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{config.data.name}_{config.model.mode}"
    )


def _new_folder(name: str) -> Path:
    number, folder = 1, Path("runs") / name
    while True:
        try:
            folder.mkdir(parents=True)  # atomic: two runs of one second get two folders
            return folder
        except FileExistsError:
            number += 1
            folder = Path("runs") / f"{name}_{number}"


def _swept(sweep: Path, overrides: list[str]) -> str:
    """Name a run of a sweep by what differs between its runs: ``mode=max,seed=1``."""
    # Hydra writes the sweep's own configuration before the first run.
    whole = OmegaConf.load(sweep / "multirun.yaml")
    parser = OverridesParser.create()
    varied = {
        override.key_or_group
        for override in parser.parse_overrides(list(whole.hydra.overrides.task))
        if override.is_sweep_override()
    } | set(whole.hydra.sweeper.params or {})
    named = []
    for override in parser.parse_overrides(overrides):
        if override.key_or_group in varied:
            key = override.key_or_group.rsplit(".", 1)[-1]
            named.append(f"{key}={_name_of(override.get_value_element_as_str())}")
    return ",".join(named)


def _name_of(value: str) -> str:
    """Return a value as a part of a folder's name; different values get different names."""
    name = re.sub(r"[^\w.+-]+", "-", value.replace("/", "-"))[:80].strip("-")
    return name if name == value else f"{name}-{zlib.crc32(value.encode()):08x}"


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Hydra and OmegaConf put the reason first and where it is in the lines after it.
    key = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key")), "")
    text = lines[0] if lines else type(error).__name__
    return f"{key}: {text}" if key and key not in text else text


def _reason(error: OSError) -> str:
    return f"{error.filename or 'file'}: {error.strerror or error}"


def _tell(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)


def main() -> int:
    """Return the exit status: 0 done, 2 bad input, 130 or 143 interrupted, 1 anything else."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises; telling is ours

    sys.argv[1:] = map(_quoted, sys.argv[1:])
    with raising() as received:
        try:
            job()
            status, message = max(_failures, default=0), ""
        except (HydraException, OmegaConfBaseException) as error:
            status, message = 2, _one_line(error)
        except OSError as error:  # a sweep's folder that cannot be made
            status, message = 1, _reason(error)
        except Interrupted as error:
            status, message = error.exit_status, str(error)
    if received.signum is not None and status != 128 + received.signum:
        stopped = Interrupted(received.signum)
        status, message = stopped.exit_status, str(stopped)
    if message:
        _tell(message)
    return status


def _quoted(argument: str) -> str:
    """Quote a folder, since ``resume=runs/mode=max`` is an error to Hydra's grammar."""
    key, _, value = argument.partition("=")
    if key not in ("resume", "run_dir") or value in ("", "null") or value[0] in "'\"":
        return argument
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


if __name__ == "__main__":
    sys.exit(main())
