"""What the user sees of a search: a line per trial, a table, a picture and a CSV of all trials."""

from __future__ import annotations

import csv
import io

from matplotlib.figure import Figure
from optuna.trial import FrozenTrial
from rich.table import Table
from rich.text import Text

from textcls.tuning.settings import as_word
from textcls.tuning.study import Study, end_of

SHOWN_TRIALS = 5


def line_of(study: Study, number: int) -> str:
    """Return a line on a trial that has ended: how, how long it took, and what it set."""
    trial = study.trials()[number]
    notes, score = trial.user_attrs, study.score(trial)
    what = "" if score is None or notes["end"] == "failed" else f"{study.monitor} {score:.4f} "
    if notes["end"] == "pruned":
        what += f"pruned in epoch {notes['epochs']}"
    elif notes["end"] == "cut":
        what += f"cut in epoch {notes['epochs'] + 1}"
    elif notes["end"] == "failed":
        what += "failed"
    elif study.ranked()[0].number == number:
        what += "best"
    reason = f": {notes['reason']}" if notes["reason"] else ""
    seconds = f"{notes['seconds']:6.1f} s"
    return f"trial {number:3d}  {what:<34} {seconds}  {_in_words(study, trial)}{reason}"


def table_of(study: Study) -> Table:
    """Return a table of the best trials, below how many trials ended in what way."""
    ends = [end_of(trial) or "killed" for trial in study.trials()]
    counts = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
    title = f"{len(ends)} trials: {counts}; the best of them:"
    table = Table(title=title, title_justify="left")
    for column in ("trial", study.monitor, "seconds"):
        table.add_column(column, justify="right")
    table.add_column("settings")
    for trial in study.ranked()[:SHOWN_TRIALS]:
        table.add_row(
            str(trial.number),
            f"{study.score(trial):.4f}",
            f"{trial.user_attrs['seconds']:.1f}",
            Text(_in_words(study, trial)),
        )
    return table


def _in_words(study: Study, trial: FrozenTrial) -> str:
    """Return a trial's settings by the last part of their names."""
    settings = study.settings(trial)
    words = (f"{name.rpartition('.')[2]}={as_word(value)}" for name, value in settings.items())
    return " ".join(words) + (" (as given)" if settings == study.space.given else "")


def picture_of(study: Study, title: str) -> Figure:
    """Draw every trial's score, and the best so far.

    (Optuna has a picture of importances as well; it counts unpruned trials only, and so makes
    little of a setting whose bad values are pruned.)
    """
    scores: dict[str, list[tuple[int, float]]] = {"done": [], "pruned": [], "cut": []}
    best: list[tuple[int, float]] = []
    for trial in study.trials():
        end, score = end_of(trial), study.score(trial)
        if score is not None and end in scores:
            scores[end].append((trial.number, score))
    for number, score in scores["done"]:
        if not best or study.sign * score > study.sign * best[-1][1]:
            best.append((number, score))
    best += [(trial.number, score) for _, score in best[-1:]]  # to the end of the picture
    figure = Figure(figsize=(7, 4), layout="constrained", dpi=110)
    axes = figure.add_subplot(xlabel="trial", ylabel=f"validation {study.monitor}")
    if best:
        axes.step(*zip(*best, strict=True), where="post", color="tab:orange", label="best so far")
    for (end, points), marker in zip(scores.items(), "ox+", strict=True):
        if points:
            colour = "tab:blue" if end == "done" else "tab:gray"
            axes.scatter(*zip(*points, strict=True), marker=marker, color=colour, label=end)
    axes.set_title(title)
    axes.legend(loc="lower right" if study.sign > 0 else "upper right")
    axes.grid(alpha=0.3)
    return figure


def csv_of(study: Study) -> str:
    """Return ``trials.csv``: a row per trial, those of other processes as well."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    options = study.space.distributions.keys()
    writer.writerow(["trial", "end", study.monitor, "epochs", "seconds", "reason", *options])
    for trial in study.trials():
        if trial.params.keys() == options:
            notes = trial.user_attrs
            end = end_of(trial) or ("killed" if trial.state.is_finished() else "running")
            figures = [notes.get(key) for key in ("epochs", "seconds", "reason")]
            words = map(as_word, study.settings(trial).values())
            writer.writerow([trial.number, end, study.score(trial), *figures, *words])
    return out.getvalue()
