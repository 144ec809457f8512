"""Label many documents in each engine, while workers are killed; check all rows, and measure.

    pip install -c constraints.txt fasttext-community psutil pyspark 'ray[data]'
    python -m benchmarks.scale --rows 10000000 --kills 4 --work FOLDER
    python -m benchmarks.scale --rows 1000000 --kills 0 --systems textcls,fasttext --work FOLDER2

The folder of work gets the documents and the models, which are made once, and ``scale.json`` and
``scale.md``; the engines' answers are removed when they are checked. It takes some 6 GB for 10
million rows. Programs are those of docs/scoring.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.__main__ import chosen
from benchmarks.corpora import PROJECT
from benchmarks.figures import table
from benchmarks.measure import Record, Results
from benchmarks.scale.checking import check
from benchmarks.scale.documents import SHARDS, train_models, write_documents
from benchmarks.scale.programs import ENGINES, OURS, PEER, Engine, environment
from benchmarks.scale.watching import Usage, watch
from textcls.files import write_whole

# Something is killed, on average, after so many rows.
_ROWS_BETWEEN = 1_200_000
_ROWS_A_SECOND = 40_000
# A command that names files which it could not label, or is killed, is given again.
_COMMANDS = 5


def main() -> None:
    """Parse the command line, label, check, report."""
    options = _parse()
    work: Path = options.work.resolve()
    systems = chosen(options.systems, (OURS, PEER), "--systems")
    engines = chosen(options.engines, tuple(ENGINES), "--engines")
    work.mkdir(parents=True, exist_ok=True)
    write_documents(options.data, work / SHARDS, options.rows)
    train_models(options.data, work, PEER in systems)
    results = Results(work / "scale.json")
    results.begin({"part": "scale", "rows": options.rows, "processes": options.processes})
    for system, name in itertools.product(systems, engines):
        missing = ENGINES[name].missing()
        if missing is not None:
            print(f"{name} is skipped: {missing} is not installed")
            continue
        kills = options.kills if system == OURS else 0
        print(f"{system} in {name}, {kills} kills", flush=True)
        record = measure(ENGINES[name], system, work, options.rows, options.processes, kills)
        results.add({"system": system, "engine": name, "kills": kills}, record)
        write_whole(work / "scale.md", report(results))
    print(report(results))
    if any(fault_of(record, results) for record in results.records):
        sys.exit("error: not every row came out once with the same answer everywhere")


def measure(
    engine: Engine, system: str, work: Path, rows: int, processes: int, kills: int
) -> Record:
    """Label all documents; return what that took, and what came out."""
    out, log, usage = work / engine.out, work / f"{engine.out}.log", Usage()
    shutil.rmtree(out, ignore_errors=True)
    log.unlink(missing_ok=True)
    command, variables = engine.command(work, system, processes), environment(PROJECT)
    waits = _kills(rows, kills, whole=engine.block is None)
    commands = _COMMANDS if engine.block is None else 1
    for _ in range(commands):
        status = watch(command, work, variables, engine.is_worker, usage, waits, log)
        if status == 0:
            break
    if status:
        return {"error": f"exit status {status}: see {log}"}
    found = check(out, rows)
    shutil.rmtree(out)
    cpu = sum(usage.cpu.values())
    record: Record = {
        "seconds": round(usage.seconds, 1),
        "cpu": round(cpu, 1),
        "rows_a_cpu_second": round(rows / cpu),
        "killed": usage.killed,
        "commands": usage.commands,
        "own": usage.own,
        **dataclasses.asdict(found),
    }
    if found.lost or found.doubled:
        record["error"] = f"{found.lost:,} rows lost, {found.doubled:,} doubled"
    return record


def _kills(rows: int, count: int, whole: bool) -> Iterator[tuple[float, bool]]:
    """Yield after how many seconds something is killed, and whether it is all of the command.

    Args:
        rows: of the documents.
        count: so many workers, and, after half of them, the command.
        whole: whether the command is one that goes on where it was.
    """
    moments = random.Random(count)
    mean = min(_ROWS_BETWEEN, rows / (count + 2)) / _ROWS_A_SECOND
    for number in range(count):
        yield moments.uniform(0.3, 1.7) * mean, False
        if whole and number == count // 2:
            yield moments.uniform(0.3, 1.7) * mean, True


def fault_of(record: Record, results: Results) -> str:
    """Return what is wrong with a measurement beside the others; nothing: ""."""
    if "error" in record:
        return str(record["error"])
    system = record["key"]["system"]
    of_system = (other for other in results.records if other["key"]["system"] == system)
    first = next(other for other in of_system if "digest" in other)
    return "" if record["digest"] == first["digest"] else "other answers than the first"


def report(results: Results) -> str:
    """Return the table of all measurements."""
    lines = []
    for record in results.records:
        key, fault = record["key"], fault_of(record, results)
        title = f"{key['system']}: {ENGINES[key['engine']].title}"
        if "rows" not in record:
            lines.append([title, *[""] * 8, fault])
            continue
        killed = f"{record['killed']}" + (" and the command" if record["commands"] > 1 else "")
        names = ("rows", "lost", "doubled", "seconds", "cpu", "rows_a_cpu_second")
        own = max((megabytes for _, megabytes in record["own"]), default=0)
        numbers = [*(record[name] for name in names), own]
        shown = [f"{number:,.0f}" for number in numbers]
        lines.append([title, killed, *shown, fault or record["digest"]])
    heads = (
        "", "killed", "rows", "lost", "doubled", "s", "CPU s", "rows per CPU second",
        "MB of a worker", "answers",
    )  # fmt: skip
    return table(heads, lines) + "\n"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, required=True, help="folder that it works in")
    parser.add_argument("--rows", type=int, default=10_000_000, help="documents")
    parser.add_argument("--kills", type=int, default=4, help="workers killed in each engine")
    parser.add_argument("--processes", type=int, default=2, help="of the shell")
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--engines", help=f"some of {', '.join(ENGINES)}")
    parser.add_argument("--systems", default=OURS, help=f"of {OURS}, {PEER}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
