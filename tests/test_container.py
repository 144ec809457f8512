"""The image, as a user runs it: whoever they are, read-only, without a network or a capability.

Needs an image that is there already, named by ``TEXTCLS_IMAGE``, and podman or docker
(``TEXTCLS_ENGINE``, where both are there): ``.ci/container`` builds one and runs these tests.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.conftest import one_line, write_csv
from tests.test_compare import browser as browser

IMAGE = os.environ.get("TEXTCLS_IMAGE", "")
# The same, built again after a change of code.
REBUILT = os.environ.get("TEXTCLS_IMAGE_REBUILT", "")
ENGINES = (os.environ.get("TEXTCLS_ENGINE", "podman"), "docker")
ENGINE = next(filter(None, map(shutil.which, ENGINES)), "")
# Without root files cannot be given to others, and the caller is who they are; else anybody,
# whom the image has never heard of.
USER = os.getuid() or 12345
LOCKED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges")

pytestmark = [
    pytest.mark.skipif(not ENGINE, reason="neither podman nor docker is here"),
    pytest.mark.skipif(not IMAGE, reason="TEXTCLS_IMAGE names no image: .ci/container builds one"),
]

Container = Callable[..., "subprocess.CompletedProcess[str]"]


def engine(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENGINE, *arguments], capture_output=True, text=True, timeout=300, check=False, **options
    )


def options_for(workspace: Path, network: str = "none", user: int = USER) -> list[str]:
    mounted = f"{workspace}:/workspace"
    return [*LOCKED, "--network", network, "--user", f"{user}:{user}", "-v", mounted]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the caller's, with texts to learn from and to label."""
    folder = tmp_path_factory.mktemp("workspace")
    write_csv(folder / "train.csv", 120)
    (folder / "new.csv").write_text("text\na superb and moving item\n\nawful and dull\n")
    os.chown(folder, USER, USER)
    folder.chmod(0o755)  # pytest's own would shut out others
    return folder


@pytest.fixture(scope="module")
def container(workspace: Path) -> Container:
    """Do what the image does with some arguments, in the workspace."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return engine("run", "--rm", "-i", *options_for(workspace), IMAGE, *arguments, **options)

    return run


@pytest.fixture(scope="module")
def python(workspace: Path) -> Callable[[str], str]:
    """Run code by the image's Python; return what it prints."""

    def run(code: str) -> str:
        command = [*options_for(workspace), "--entrypoint", "python", IMAGE, "-c", code]
        result = engine("run", "--rm", *command)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout

    return run


@pytest.fixture(scope="module")
def runs(container: Container, workspace: Path) -> Path:
    """The folder ``runs``: the demo, and a sweep of three modes."""
    for arguments in (
        ["run_dir=runs/demo"],
        ["-m", "model.mode=mean,sum,max", "trainer.epochs=2", "run_dir=runs/sweep"],
    ):
        result = container(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    return workspace / "runs"


def test_it_trains_for_whoever_calls(runs: Path) -> None:
    metrics = json.loads((runs / "demo" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.8
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in [runs, *runs.rglob("*")]}
    assert owners == {(USER, USER)}


def test_it_sweeps_and_compares(runs: Path) -> None:
    for mode in ("mean", "sum", "max"):
        metrics = json.loads((runs / "sweep" / f"mode={mode}" / "metrics.json").read_text())
        assert metrics["epochs"] == 2
    assert (runs / "sweep" / "compare" / "index.html").exists()


def test_it_predicts(runs: Path, container: Container, workspace: Path) -> None:
    result = container("predict", "runs/demo", "new.csv", "--out", "labels.csv")
    assert result.returncode == 0, result.stderr
    lines = (workspace / "labels.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1::2]] == ["positive", "negative"]
    # The command's name may be said as well, and texts come through a pipe.
    result = container("textcls", "predict", "runs/demo", input="awful and dull\n")
    assert result.stdout.splitlines()[1].startswith("negative,")


def started(workspace: Path, name: str, *arguments: str) -> str:
    options = ["run", "--detach", "--name", name, *options_for(workspace), IMAGE]
    result = engine(*options, *arguments)
    assert result.returncode == 0, result.stderr
    return name


def stopped(name: str) -> tuple[int, str]:
    """Send SIGTERM, and SIGKILL ten seconds later; return exit status and what was told."""
    assert engine("stop", "-t", "10", name).returncode == 0
    status = engine("inspect", "--format", "{{.State.ExitCode}}", name).stdout
    told = engine("logs", name).stderr
    engine("rm", "--force", "--volumes", name)
    return int(status), told


def wait_for(path: Path, name: str) -> None:
    for _ in range(600):
        if path.exists() and path.read_text().count("\n") >= 2:
            return
        time.sleep(0.05)
    raise AssertionError(engine("logs", name).stderr)


def test_a_sigterm_leaves_a_checkpoint_that_resumes(workspace: Path, container: Container) -> None:
    slow = ["trainer.epochs=20", "trainer.batch_size=16"]
    name = started(workspace, f"textcls-cut-{os.getpid()}", *slow, "run_dir=cut")
    wait_for(workspace / "cut" / "epochs.jsonl", name)
    status, told = stopped(name)
    assert told == "error: stopped by SIGTERM: go on with resume=cut\n"
    assert status == 128 + 15
    assert (workspace / "cut" / "checkpoints" / "last.safetensors").exists()
    begun = (workspace / "cut" / "epochs.jsonl").read_text().splitlines()
    assert len(begun) < 20

    result = container("resume=cut")
    assert result.returncode == 0, result.stderr
    assert "epoch 1/20" not in result.stdout
    epochs = (workspace / "cut" / "epochs.jsonl").read_text().splitlines()
    assert epochs[: len(begun)] == begun
    assert [json.loads(line)["epoch"] for line in epochs] == list(range(1, 21))


def test_a_sigterm_reaches_the_processes_of_a_sweep(workspace: Path, container: Container) -> None:
    sweep = ["-m", "launcher=joblib", "hydra.launcher.n_jobs=2", "seed=1,2", "run_dir=both"]
    slow = ["trainer.epochs=20", "trainer.batch_size=16"]
    name = started(workspace, f"textcls-both-{os.getpid()}", *sweep, *slow)
    for seed in (1, 2):
        wait_for(workspace / "both" / f"seed={seed}" / "epochs.jsonl", name)
    status, told = stopped(name)
    assert status == 128 + 15, told
    for seed in (1, 2):
        log = (workspace / "both" / f"seed={seed}" / "train.log").read_text()
        assert "stopped by SIGTERM: go on with" in log


def test_a_sigterm_while_it_starts_is_obeyed(workspace: Path) -> None:
    """As process 1 a program without a handler yet would not notice, and be killed at the end."""
    name = started(workspace, f"textcls-start-{os.getpid()}", "trainer.epochs=100000")
    status, _ = stopped(name)
    assert status == 128 + 15


def test_a_user_without_name_or_home(python: Callable[[str], str]) -> None:
    told = python(
        "import getpass, json, matplotlib, os, tempfile\n"
        "from huggingface_hub.constants import HF_HOME\n"
        "from torch._inductor.runtime.cache_dir_utils import cache_dir\n"
        "places = [os.path.expanduser('~'), matplotlib.get_cachedir(), HF_HOME, cache_dir()]\n"
        "for place in places:\n"
        "    os.makedirs(place, exist_ok=True)\n"
        "    tempfile.TemporaryFile(dir=place)\n"
        "print(json.dumps([getpass.getuser(), os.getuid(), *places]))"
    )
    places = ["/cache", "/cache/matplotlib", "/cache/huggingface", "/cache/inductor"]
    assert json.loads(told) == ["textcls", USER, *places]


def test_a_folder_of_somebody_else(workspace: Path) -> None:
    options = options_for(workspace, user=USER + 1)
    result = engine("run", "--rm", *options, IMAGE, "run_dir=mine")
    assert result.returncode == 1
    note, error = result.stderr.splitlines()
    assert note.startswith(f"note: user {USER + 1}:{USER + 1} may not write in /workspace")
    assert error.startswith("error: mine: ")


def test_a_gpu_that_is_not_there(runs: Path, container: Container) -> None:
    for arguments, option in (
        (["trainer.device=cuda", "run_dir=gpu"], "trainer.device"),
        (["predict", "runs/demo", "new.csv", "--device", "cuda"], "device"),
    ):
        result = container(*arguments)
        assert result.returncode == 2
        assert f"{option}=cuda: is not to be had here (" in one_line(result)
    assert not (runs.parent / "gpu").exists()


def test_what_is_in_it(python: Callable[[str], str]) -> None:
    found = json.loads(
        python(
            "import json, os, shutil, torch\n"
            "compilers = filter(shutil.which, 'cc gcc c++ g++ clang tcc as ld make'.split())\n"
            "names = {'tests', '.git', '.ci', '.cache', '.env', '.netrc', '.ssh', '.pypirc'}\n"
            "unneeded = [os.path.join(top, name) for place in ('/opt', '/app', '/root', '/home')\n"
            "            for top, folders, files in os.walk(place) for name in folders + files\n"
            "            if name in names or name.endswith(('.whl', '.key'))]\n"
            "places = '/var/lib/apt/lists', '/var/cache/apt', '/tmp', '/var/tmp'\n"
            "unneeded += [entry.path for place in places for entry in os.scandir(place)]\n"
            "print(json.dumps([torch.version.cuda, list(compilers), unneeded,\n"
            "                  sorted(os.listdir('/app')), sorted(os.listdir('/opt'))]))"
        )
    )
    cuda, compilers, unneeded, app, opt = found
    assert ("gcc" in compilers) if cuda else (compilers == [])
    assert unneeded == []
    assert opt == ["venv"]
    assert app == ["constraints.txt", "pyproject.toml"]


def test_how_it_is_described() -> None:
    config = json.loads(engine("image", "inspect", IMAGE).stdout)[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["tini", "-g", "--", "textcls-entrypoint"]
    assert config["Volumes"].keys() == {"/workspace", "/cache"}
    named = {key.removeprefix("org.opencontainers.image.") for key in config["Labels"]}
    assert {"title", "description", "licenses", "version", "revision"} <= named
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.skipif(not REBUILT, reason="TEXTCLS_IMAGE_REBUILT names no second build")
def test_a_change_of_code_leaves_the_dependencies() -> None:
    layers = [
        json.loads(engine("image", "inspect", image).stdout)[0]["RootFS"]["Layers"]
        for image in (IMAGE, REBUILT)
    ]
    # The last two are the project and the entry point.
    assert layers[0][:-2] == layers[1][:-2]
    assert layers[0][-2] != layers[1][-2]


@pytest.fixture
def tensorboard(runs: Path) -> Iterator[str]:
    """The address of TensorBoard, as compose.yaml starts it but for the network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    name = f"textcls-tensorboard-{os.getpid()}"
    options = ["run", "--detach", "--name", name, *options_for(runs.parent, "host")]
    command = ["tensorboard", "--logdir", "/workspace/runs", "--port", str(port)]
    result = engine(*options, IMAGE, *command)
    assert result.returncode == 0, result.stderr
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            try:
                found = json.loads(urlopen(f"{address}data/runs").read())
            except OSError:
                found = []
            if "demo/validation" in found and "sweep/mode=max/validation" in found:
                break
            time.sleep(0.1)
        else:
            raise AssertionError(engine("logs", name).stderr)
        yield address
    finally:
        status, _ = stopped(name)
    assert status == 0


def test_tensorboard_shows_the_runs(tensorboard: str, browser: Any) -> None:
    browser.get(f"{tensorboard}#timeseries")
    for _ in range(100):
        text = browser.find_element("css selector", "body").text
        if "sweep/mode=sum" in text and "accuracy" in text:
            return
        time.sleep(0.1)
    raise AssertionError(text)
