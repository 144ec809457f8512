"""Tracking: the record of a run as lines, JSON and TensorBoard events."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, schedule
from torch.utils.tensorboard import SummaryWriter

from textcls.errors import first_line
from textcls.files import named, read_epochs, sync, whole_file, write_whole
from textcls.markdown import table
from textcls.pooling import MODES
from textcls.task.names import are_of_several, names_of
from textcls.training.checkpoint import Progress

log = logging.getLogger("textcls")

REFRESH_SECONDS = 0.25
# So many classes still make readable charts: beyond it, charts by class are left to the JSON.
MAX_CHARTED_CLASSES = 20


class Listener:
    """Is told of a training as it goes. This one does nothing about it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hear that nothing more will come."""

    def beside(self, name: str) -> Listener:
        """Return what is told of another training of the run."""
        return self

    def begin(self, epochs: int, steps_per_epoch: int, progress: Progress) -> None:
        """Hear that training starts at, or goes on from, ``progress``."""

    def step(self, progress: Progress, tokens: int, loss_sum: Tensor, batch_size: int) -> None:
        """Hear of a step.

        Args:
            progress: with the step behind it.
            tokens: trained on in this epoch.
            loss_sum: cross-entropy summed over this epoch's bags so far, on the device.
            batch_size: bags of this step.
        """

    def epoch(self, record: dict[str, Any], progress: Progress) -> None:
        """Hear of an epoch's end.

        Args:
            record: the line of ``epochs.jsonl``.
            progress: with the epoch behind it.
        """

    def settle(self) -> None:
        """Hear that a checkpoint is about to be written, which counts on what was heard."""


# Of more classes than these, an epoch's record has no scores of single ones.
MAX_KEPT_CLASSES = 1_000
OF_CLASSES = ("per_class", "confusion")
# Metrics that are charted, where there are such.
SCALARS = (
    "loss", "accuracy", "macro_f1", "micro_f1", "lrap", "precision_at_1", "quadratic_kappa", "mae",
    "macro_mae", "kl",
)  # fmt: skip
# And those that the log has of an epoch, by whether a text may have several labels.
LOGGED = {
    False: ("accuracy", "macro_f1", "quadratic_kappa"),
    True: ("lrap", "micro_f1", "macro_f1"),
}


class Tracker(Listener):
    """Writes a run's record into its folder as it goes, and shows one live line on a terminal.

    ``epochs.jsonl`` gets a line per epoch; TensorBoard gets the same as scalars, in two
    sub-folders, ``train`` and ``validation``, with the same tags in both: so one chart shows both
    curves of every run. A training without validation has the former only. What is written is on
    disk at each epoch's end.

    Use as a context manager: leaving it closes the files.

    Args:
        folder: the run folder.
        console: where the live line goes, if it is a terminal.
        monitor: the validation metric that the live line shows.
        profile: trace a few steps: ``trace.json`` and ``profile.txt``.
    """

    def __init__(self, folder: Path, console: Console, monitor: str, profile: bool = False) -> None:
        self.folder, self.console = folder, console
        self._profiler = step_profiler(folder) if profile else None
        self.monitor = monitor
        self._epochs = 0
        self._steps_per_epoch = 0
        self._last_value = ""
        self._next_refresh = 0.0
        self._began = 0.0
        self._tokens_before = 0
        self._writers: dict[str, SummaryWriter] = {}
        self._purge_step: int | None = None
        self._loss = "…"
        self._asked: tuple[Tensor, int, torch.cuda.Event] | None = None
        self._live = RichProgress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[value]}"),
            TextColumn("{task.fields[speed]} tokens/s"),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __exit__(self, *_: object) -> None:
        if self._profiler is not None:
            self._profiler.stop()
            if not (self.folder / "trace.json").exists():
                log.warning("nothing is traced: there were fewer than 5 steps")
        self._live.stop()
        for writer in self._writers.values():
            try:
                writer.close()
            except OSError as error:
                lacks = "%s: TensorBoard's files may be incomplete (%s)"
                log.warning(lacks, self.folder, first_line(error))

    def begin(self, epochs: int, steps_per_epoch: int, progress: Progress) -> None:
        """Get ready to train on from ``progress``; what was recorded beyond it is dropped."""
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch
        known = read_epochs(self.folder)
        kept = [record for record in known if record["epoch"] <= progress.epoch]
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        write_whole(self.folder / "epochs.jsonl", lines)
        self._purge_step = progress.epoch + 1 if known else None
        self._began, self._tokens_before = time.perf_counter(), progress.tokens
        self._task = self._live.add_task(
            "", total=epochs * steps_per_epoch, completed=progress.epoch * steps_per_epoch,
            epoch=f"{progress.epoch + 1}/{epochs}", loss="…", value="", speed="…",
        )  # fmt: skip
        self._live.start()
        if self._profiler is not None:
            self._profiler.start()

    def step(self, progress: Progress, tokens: int, loss_sum: Tensor, batch_size: int) -> None:
        """Show a step on the live line, a few times a second."""
        if self._profiler is not None:
            self._profiler.step()
        now = time.perf_counter()
        if self._live.disable or now < self._next_refresh:
            return
        self._next_refresh = now + REFRESH_SECONDS
        self._live.update(
            self._task,
            completed=progress.epoch * self._steps_per_epoch + progress.step,
            epoch=f"{progress.epoch + 1}/{self._epochs}",
            loss=self._mean_loss(loss_sum, progress.step * batch_size),
            value=self._last_value,
            # Of the whole training so far, validation included: the pace that the ETA follows.
            speed=_short((progress.tokens - self._tokens_before + tokens) / (now - self._began)),
        )

    def _mean_loss(self, loss_sum: Tensor, seen: int) -> str:
        """Return the mean loss; of a GPU the one it last told of, so that nobody waits for it."""
        if loss_sum.device.type != "cuda":
            return f"{loss_sum.item() / seen:.4f}"
        if self._asked is not None and self._asked[2].query():  # type: ignore[no-untyped-call]
            value, of_bags, _ = self._asked
            self._loss, self._asked = f"{value.item() / of_bags:.4f}", None
        if self._asked is None:
            on_its_way = loss_sum.to("cpu", non_blocking=True)
            event = torch.cuda.current_stream(loss_sum.device).record_event()
            self._asked = on_its_way, seen, event
        return self._loss

    def epoch(self, record: dict[str, Any], progress: Progress) -> None:
        """Record an epoch: a line in the log, one in ``epochs.jsonl``, points in TensorBoard."""
        number = record["epoch"]
        record = {key: _without_many(value) for key, value in record.items()}
        path = self.folder / "epochs.jsonl"
        with named(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        with named(self.folder / "events.out.tfevents"):
            self._chart(record, number)
        measured = [split for split in ("train", "validation") if split in record]
        judged = record[measured[-1]]
        shown = self.monitor if self.monitor in judged else "loss"  # of train, decisions alone
        self._last_value = f"{measured[-1]} {shown} {judged[shown]:.4f}"
        of_validation = "validation" in measured
        several = are_of_several(judged)
        names = names_of(judged)
        scores = (f"{names[name]} {judged[name]:.4f}" for name in LOGGED[several] if name in judged)
        log.info(
            "epoch %*d/%d  loss %.4f  %s%s  %s tokens/s%s",
            len(str(self._epochs)),
            number,
            self._epochs,
            record["train"]["loss"],
            f"validation loss {judged['loss']:.4f}  " if of_validation else "",
            "  ".join(scores),
            _short(record["tokens_per_second"]),
            "  best" if of_validation and progress.best_epoch == number else "",
        )

    def settle(self) -> None:
        """Have the record of epochs on the disk: a checkpoint of more of them would not fit it."""
        sync(self.folder / "epochs.jsonl")
        sync(self.folder)

    def _chart(self, record: Mapping[str, Any], number: int) -> None:
        """Add the points of an epoch to TensorBoard."""
        for split in (split for split in ("train", "validation") if split in record):
            writer = self._writer(split)
            for name in (name for name in SCALARS if name in record[split]):
                writer.add_scalar(name, record[split][name], number)
            classes = record[split].get("per_class", {})
            if len(classes) <= MAX_CHARTED_CLASSES:
                for label, values in classes.items():
                    writer.add_scalar(f"f1_by_class/{label}", values["f1"], number)
        for name in ("learning_rate", "tokens_per_second"):
            self._writer("train").add_scalar(name, record[name], number)
        for writer in self._writers.values():
            writer.flush()

    def say(self, name: str, text: str) -> None:
        """Show Markdown on TensorBoard's text tab, at once: in the run folder itself."""
        with named(self.folder / "events.out.tfevents"):
            self._of_run().add_text(name, text)
            self._of_run().flush()

    def beside(self, name: str) -> Tracker:
        """Return the tracker of another training of the run, in a folder of its own.

        The live line is its from now on.
        """
        self._live.stop()
        return Tracker(self.folder / name, self.console, self.monitor)

    def _writer(self, split: str) -> SummaryWriter:
        if split not in self._writers:
            self._writers[split] = SummaryWriter(
                str(self.folder / split), purge_step=self._purge_step
            )
        return self._writers[split]

    def _of_run(self) -> SummaryWriter:
        if "run" not in self._writers:
            self._writers["run"] = SummaryWriter(str(self.folder))
        return self._writers["run"]

    def finish(self, hparams: Mapping[str, Any], test: Mapping[str, Any]) -> None:
        """Add the test to TensorBoard, as a row of HPARAMS: in the run folder itself, as the rest.

        Args:
            hparams: settings by name.
            test: metrics on the test split.
        """
        self._live.stop()
        final = {f"test/{name}": float(test[name]) for name in SCALARS if name in test}
        add_hparams(self._of_run(), hparams, final)
        self._of_run().add_text("settings", table(("key", "value"), hparams.items()))

    def add_picture(self, name: str, pixels: npt.NDArray[np.uint8]) -> None:
        """Add a picture of the test result, uint8 ``[height, width, 3]``."""
        self._of_run().add_image(f"{name}/test", pixels, dataformats="HWC")

    def add_curves(
        self, curves: Mapping[str, tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]]
    ) -> None:
        """Add curves of precision and recall.

        Args:
            curves: by class, which rows of the test split have it, bool ``[num_bags]``, and how
                probable it is of each, float32 ``[num_bags]``.
        """
        for name, (has, probabilities) in curves.items():
            self._of_run().add_pr_curve(f"precision_recall/{name}", has, probabilities)

    def add_tokens(self, embeddings: Tensor, tokens: Sequence[tuple[str, str, str]]) -> None:
        """Add the projector.

        Args:
            embeddings: float ``[n, embedding_dim]``.
            tokens: (token, count, class it speaks for) of each row of these.
        """
        self._of_run().add_embedding(
            embeddings,
            metadata=[list(row) for row in tokens],
            metadata_header=["token", "count", "class"],
            tag="tokens",
            global_step="projector",  # names the folder of the tables
        )


def _quieten_writers() -> None:
    """Leave it to the next write to tell of a full disk: TensorBoard's threads print tracebacks."""
    usual = threading.excepthook

    def tell(failed: threading.ExceptHookArgs) -> None:
        if type(failed.thread).__name__ != "_AsyncWriterThread":
            usual(failed)

    threading.excepthook = tell


_quieten_writers()


def step_profiler(folder: Path) -> profile:
    """Return what traces a few steps: to be started, told of each step, and stopped.

    Leaves ``trace.json``, for https://ui.perfetto.dev or chrome://tracing, and ``profile.txt``,
    the operators that took most. See https://docs.pytorch.org/docs/stable/profiler.html.
    """

    def write(done: profile) -> None:
        with whole_file(folder / "trace.json") as scratch:
            done.export_chrome_trace(str(scratch))
        by = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        operators = done.key_averages().table(sort_by=by, row_limit=25)
        write_whole(folder / "profile.txt", operators)
        log.info("traced: %s (open it in https://ui.perfetto.dev)", folder / "trace.json")

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    # The first steps load, compile and capture.
    steps = schedule(skip_first=3, wait=0, warmup=1, active=8, repeat=1)
    return profile(activities=activities, schedule=steps, on_trace_ready=write)


def add_hparams(
    writer: SummaryWriter, hparams: Mapping[str, Any], final: Mapping[str, float]
) -> None:
    """Add a row to TensorBoard's HPARAMS: settings and final metrics, by name."""
    plain = {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in hparams.items()
    }
    # The domain gives TensorBoard a tick box for each mode.
    domain = {"model.mode": list(MODES)} if "model.mode" in plain else None
    writer.add_hparams(plain, dict(final), domain, run_name=".", global_step=0)


def _without_many(value: Any) -> Any:
    """Return the metrics of a split without those of single classes, if there are very many."""
    if isinstance(value, Mapping) and len(value["per_class"]) > MAX_KEPT_CLASSES:
        return {key: of_all for key, of_all in value.items() if key not in OF_CLASSES}
    return value


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"
