"""The command in processes that have imported what it needs: a new one takes seconds for that.

Each is a process of its own, with arguments, folder, environment, standard streams, session and
exit status, which executes the program from its first line. It is forked from a server that has
done nothing but import, so that it differs from one which a shell starts in what concerns imports
and the interpreter's own options alone; tests of these, and one of each kind, start their own.
Other systems than Linux have processes as a shell starts them.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

from textcls.program import ROOT

TRAIN = (sys.executable, str(ROOT / "train.py"))
TEXTCLS = (sys.executable, "-m", "textcls")
# What a run, a sweep, a search and a prediction import.
_MODULES = (
    "textcls.app.main", "textcls.run", "textcls.report.compare", "textcls.tuning.search",
    "textcls.cli", "textcls.model.classifier",
)  # fmt: skip
_LONGEST_REQUEST = 1 << 17


def start(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Process:
    """Start a process with nothing to read, in a session of its own, and do not wait for it.

    Args:
        command: begins with :data:`TRAIN` or :data:`TEXTCLS`.
        cwd: its folder.
        env: its environment.
    """
    if sys.platform == "linux":
        return _WarmProcess(command, cwd, env)
    return subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def finish(child: Process) -> subprocess.CompletedProcess[str]:
    """Wait for the end of a process; return what there is to know of it."""
    out, err = child.communicate(timeout=300)
    return subprocess.CompletedProcess(child.args, child.wait(), out, err)


class _WarmProcess:
    """What tests need of ``subprocess.Popen``.

    Attributes:
        pid: of the process; also of its group, which has no other process at first.
        returncode: None until the end is waited for.
    """

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.args = command
        self.returncode: int | None = None
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._answers, answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"argv": command[1:], "cwd": str(cwd), "env": dict(env)}
        with answers, open(os.devnull, "rb") as nothing:
            fds = [nothing.fileno(), self._out.fileno(), self._err.fileno(), answers.fileno()]
            socket.send_fds(_server(), [json.dumps(request).encode()], fds)
        self.pid = self._answer()

    def _answer(self) -> int:
        answer = self._answers.recv(16)
        assert answer, "the server has ended"
        return int(answer)

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = self._answer()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._answers.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return _whole(self._out), _whole(self._err)


Process = _WarmProcess | subprocess.Popen[str]


def _whole(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


@functools.cache
def _server() -> socket.socket:
    """Start the server of this process; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        fd = theirs.fileno()
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(fd)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"},
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return ours


def _serve(requests: socket.socket) -> None:
    """Fork a process for each request; return in it, ready to execute what ``sys.argv`` says."""
    # No process visits what was imported to collect garbage, which is most of the time of a short
    # one: nothing of it is garbage, and the first visit copies all its pages.
    gc.disable()
    for name in _MODULES:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        request, fds, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, 4)
        if not request:
            sys.exit()
        if not os.fork():
            break
        for fd in fds:
            os.close(fd)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, answers = fds
    if pid := os.fork():
        for fd in streams:
            os.close(fd)
        _tell_end(pid, socket.socket(fileno=answers))
    os.close(answers)
    os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    told = json.loads(request)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    sys.argv[:] = told["argv"]


def _tell_end(pid: int, answers: socket.socket) -> NoReturn:
    answers.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    answers.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.path[0] = str(ROOT)
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
