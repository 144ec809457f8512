"""A run by several processes of a launcher: one leads it, the others take part in its trainings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from textcls.config import Config
from textcls.continuing import read_start
from textcls.data.prepare import Prepared
from textcls.defaults import resolve
from textcls.distributed import EndedError, LostError, Place, Team, joined, place
from textcls.errors import Interrupted, TextclsError, status_and_reason, tell
from textcls.fitting import refits
from textcls.run import go_on, set_up
from textcls.run import resume as resume_run
from textcls.run import start as start_run
from textcls.run_corpus import corpus
from textcls.run_folder import configured
from textcls.threads import share_cpus
from textcls.trainings import follow as follow_trainings

log = logging.getLogger("textcls")

# Where the launcher keeps the run's folder for those that it starts in the place of others.
_FOLDER = "run folder"


def start(config: Config, new_folder: Callable[[], Path]) -> None:
    """Train in a new run folder, or in that of processes that the launcher has started before.

    Args:
        config: of the run.
        new_folder: makes the folder; called where the run is led only.

    Raises:
        Whatever :func:`textcls.run.start` raises, where the run is led.
        LostError: another process is gone.
        SystemExit: the process that leads has ended.
    """

    def lead(team: Team) -> None:
        before = team.recall(_FOLDER)
        folder = new_folder() if before is None else Path(before)
        team.keep(_FOLDER, str(folder))
        if before is not None or (team.here.restart and (folder / "config.yaml").exists()):
            go_on(config, folder, team=_shared(team))
        else:
            start_run(config, folder, _shared(team))

    _each(config, lead)


def resume(folder: Path) -> None:
    """Go on with a stopped run, as it was configured; see :func:`start`."""
    _each(configured(folder), lambda team: resume_run(folder, _shared(team)) and None)


def _shared(team: Team) -> Team | None:
    """Return the team, unless it is of one process."""
    return team if team.here.size > 1 else None


def follow(config: Config, team: Team) -> None:
    """Take part in the trainings of a run that another process leads, and that ends this.

    Raises:
        EndedError: the run is done, or has failed.
        And whatever :func:`textcls.run.start` raises.
    """
    device = set_up(config, team.here)
    expected = team.hear()["corpus"]  # it is in the cache
    start = read_start(config)
    prepared = corpus(config, start=start, both=refits(config), expected=expected)
    if prepared.key != expected:
        raise TextclsError(
            "another corpus than that of rank 0: let all see the same files and the same cache_dir"
        )
    config = resolve(config, prepared.about)

    def prepare(joined: bool) -> Prepared:
        if not joined:
            return prepared
        return prepared.joined() or corpus(config, start=start, joined=True)

    follow_trainings(config, prepare, device, start, team)


def _each(config: Config, lead: Callable[[Team], object]) -> None:
    """Do the part of this process in a run."""
    here = place()
    assert here is not None
    share_cpus(here.local_size)
    device = set_up(config, here)
    with joined(here, device) as team:
        if here.leads:
            _lead(team, lead)
        else:
            _follow(here, config, team)


def _lead(team: Team, lead: Callable[[Team], object]) -> None:
    status = 1
    try:
        lead(team)
        status = 0
    except Interrupted as stopped:
        status = stopped.exit_status
        raise
    except Exception as error:
        status = getattr(error, "exit_status", 1)
        raise
    finally:
        team.tell_end(status)


def _follow(here: Place, config: Config, team: Team) -> None:
    log.addHandler(logging.NullHandler())
    log.propagate = False
    try:
        follow(config, team)
    except EndedError as ended:
        status = ended.exit_status
    except LostError as lost:
        status = lost.exit_status
    except Exception as error:
        # Mostly it is that of the process that leads as well, which says so.
        of_leader = team.end()
        status, reason = status_and_reason(error) if of_leader is None else (of_leader, "")
        if reason:
            tell(f"rank {here.rank}: {reason}")
    raise SystemExit(status)
