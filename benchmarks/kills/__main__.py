"""Kill work at random moments, go on with it, and compare what comes of it with undisturbed work.

    python -m benchmarks.kills --times 100

Each kind of work is first done undisturbed. Then it is begun in an empty folder, killed with
SIGKILL, all of its processes at once, at a moment drawn from the time that it took undisturbed,
gone on with by the command that the documentation names, killed again by chance, and at last left
to its end. Its folder, cache included, must then hold what the undisturbed one holds, but for
times: the same bytes of weights and cache entries, the same metrics, each epoch and trial once, no
file more and none less.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.kills.cases import Kind, kinds, write_inputs
from benchmarks.kills.contents import LOST, Contents, contents, differences
from benchmarks.kills.processes import Process

# Longer than any of it takes, even on a busy machine.
PATIENCE = 600.0
# Names that files have while they are written: see textcls/files.py.
SCRATCH = re.compile(r"\..+(\.\d+|-[0-9a-f]{8}(-old)?)")


class Case:
    """Work of one kind in a folder, again and again.

    Args:
        kind: of work.
        folder: is made anew for each.

    Attributes:
        expected: what it leaves undisturbed.
        seconds: that this took.
        counts: ``kills``; ``in writing``, those that left a file half written; ``works``, that
            were killed; ``pictures lost``, those whose result had no pictures yet.
        wrong: what was found amiss.
    """

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        began = time.perf_counter()
        self.expected = self._to_the_end()
        self.seconds = time.perf_counter() - began

    def disturb(self, times: int, chance: random.Random) -> None:
        """Begin, kill and go on, until so many kills have struck."""
        while self.counts["kills"] < times and not self.wrong:
            self._begin()
            lost = set[str]()
            struck = 0
            while self.counts["kills"] < times:
                process = self._go_on()
                if process.ends_within(chance.uniform(0, self.seconds)) is not None:
                    break
                process.kill()
                struck += 1
                self.counts["kills"] += 1
                self.counts["in writing"] += any(
                    SCRATCH.fullmatch(path.name) for path in self.folder.rglob(".*")
                )
                lost |= self._without_pictures()
                if chance.random() < 0.5:
                    break
            if struck:
                self.counts["works"] += 1
                self._check(self._to_the_end(), lost)

    def _check(self, found: Contents, lost: set[str]) -> None:
        self.counts["pictures lost"] += any(found.get(at) != self.expected[at] for at in lost)
        found, expected = (
            {place: of for place, of in them.items() if place not in lost}
            for them in (found, self.expected)
        )
        self.wrong += differences(found, expected)

    def _without_pictures(self) -> set[str]:
        """Return the places of pictures of runs that have their result already."""
        runs = [path.parent.relative_to(self.folder) for path in self.folder.rglob("metrics.json")]
        return {
            place
            for place in self.expected
            for run in runs
            if Path(place).is_relative_to(run) and LOST.match(str(Path(place).relative_to(run)))
        }

    def _begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def _go_on(self) -> Process:
        log = self.folder.with_suffix(".log")
        return Process(self.kind.command(self.folder), self.folder, log)

    def _to_the_end(self) -> Contents:
        if not self.folder.exists():
            self._begin()
        status = self._go_on().ends_within(PATIENCE)
        if status != 0:
            log = self.folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
            self.wrong.append(f"ended with status {status}: {log.strip().splitlines()[-1:]}")
        return contents(self.folder)


def main() -> None:
    """Parse the command line, kill, and print what came of it."""
    options = _parse()
    chance = random.Random(options.seed)
    wrong = []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name).resolve()
        train = write_inputs(folder)
        assert Process(train, folder, folder / "model.log").ends_within(PATIENCE) == 0
        chosen = [one for one in kinds(folder, options.options) if one.name in options.kinds]
        print("| work | seconds | kills | in the middle of a file | works | wrong |")
        print("|---|---|---|---|---|---|", flush=True)
        for number, kind in enumerate(chosen):
            times = options.times // len(chosen) + (number < options.times % len(chosen))
            case = Case(kind, folder / kind.name)
            case.disturb(times, chance)
            counts = case.counts
            print(
                f"| {kind.name} | {case.seconds:.1f} | {counts['kills']} | {counts['in writing']} "
                f"| {counts['works']} | {len(case.wrong)} |", flush=True
            )  # fmt: skip
            if counts["pictures lost"]:
                print(f"{kind.name}: {counts['pictures lost']} without pictures", file=sys.stderr)
            wrong += [f"{kind.name}: {line}" for line in case.wrong]
    if wrong:
        sys.exit("\n".join(wrong))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kills", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = [kind.name for kind in kinds(Path(), [])]
    parser.add_argument("--times", type=int, default=100, help="kills, over all kinds of work")
    parser.add_argument("--kinds", nargs="+", default=names, choices=names, metavar="KIND",
                        help=f"of {', '.join(names)}; default: all")  # fmt: skip
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE",
                        help="of textcls train, for all kinds but scoring")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    return parser.parse_args()


if __name__ == "__main__":
    main()
