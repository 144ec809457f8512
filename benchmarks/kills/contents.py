"""What a folder holds, but for what differs from one undisturbed run to the next: times."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every restart
Contents = dict[str, Any]
# In JSON, in tables and in TensorBoard: seconds, and what is divided by them.
_TIMES = re.compile(r"(.*_|^)seconds|tokens_per_second")
# Files of which only that they are there is compared: logs, and what shows times.
_SHOWN = re.compile(
    r".*\.(log|lock)|README\.md|study\.db|environment\.json|multirun\.yaml|history\.png"
    r"|compare/.*\.(html|md|csv|png)"
)
# Drawn after a run has its result: a kill in that moment loses them.
LOST = re.compile(r"(confusion_matrix|calibration)\.png|projector.*|test events")


def contents(work: Path) -> Contents:
    """Return what is below a folder, by place.

    TensorBoard's files are one item for each folder and kind; the trials of a search one item.
    """
    found: Contents = {}
    for path in sorted(path for path in work.rglob("*") if not path.is_dir()):
        place = path.relative_to(work)
        if "trials" in place.parts or place.name == "trials.csv":
            continue
        if place.name.startswith("events.out.tfevents"):
            found |= _events(path.parent, place.parent)
        else:
            found[str(place)] = _content(path, place, str(work))
    for table in work.rglob("trials.csv"):
        found[str(table.relative_to(work))] = _trials(table)
    return found


def _content(path: Path, place: Path, work: str) -> Any:
    if _SHOWN.fullmatch(place.name) or _SHOWN.fullmatch("/".join(place.parts[-2:])):
        return None
    text = path.read_bytes().replace(work.encode(), b"WORK")
    if path.suffix == ".json":
        return _timeless(json.loads(text))
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in text.splitlines()]
    return hashlib.sha256(text).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(of) for key, of in value.items() if not _TIMES.fullmatch(key)}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _events(folder: Path, place: Path) -> Contents:
    """Return the points that TensorBoard shows of a folder; of what has no points, the names."""
    events = EventAccumulator(str(folder), {"scalars": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in tags["scalars"]
        if not _TIMES.fullmatch(name)
    }
    others = {kind: sorted(tags[kind]) for kind in ("images", "tensors")}
    of_test = {name: points for name, points in scalars.items() if name.startswith("test/")}
    of_epochs = {name: points for name, points in scalars.items() if name not in of_test}
    found: Contents = {f"{place}/events": of_epochs}
    return found | ({f"{place}/test events": of_test | others} if of_test else {})


def _trials(path: Path) -> list[tuple[Any, ...]]:
    """Return the trials that came to their end: what they set, and how well they did.

    Their numbers count those as well that were killed.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["end"] == "done"]
    trials = []
    for row in rows:
        epochs = path.parent / "trials" / f"{int(row['trial']):04d}" / "epochs.jsonl"
        records = [_timeless(json.loads(line)) for line in epochs.read_text("utf-8").splitlines()]
        values = {key: value for key, value in row.items() if key not in ("trial", "seconds")}
        trials.append((tuple(values.items()), json.dumps(records)))
    return sorted(trials)


def differences(found: Contents, expected: Contents) -> list[str]:
    """Return what is wrong with each place that has not what is expected there."""
    wrong = []
    for place in sorted(found.keys() | expected.keys()):
        if place not in found:
            wrong.append(f"{place} is missing")
        elif place not in expected:
            wrong.append(f"{place} is left over")
        elif found[place] != expected[place]:
            wrong.append(f"{place} is another")
    return wrong
