"""Measure everything, or only what is asked for, and write the tables and plots."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import corpora
from benchmarks.accuracy.settings import SYSTEMS
from benchmarks.corpora import PROJECT
from benchmarks.measure import Results
from benchmarks.parts import Benchmark
from benchmarks.settings import COMPRESS_RATES, PEERS, TUNE_CORPORA, TUNE_SECONDS

# Those measured without --parts. "accuracy" takes hours and "fasttext" needs packages that exclude
# each other: only when they are asked for.
PARTS = ("corpora", "bags", "size", "tune", "serve", "compress")
ASKED = ("accuracy", "fasttext")


def chosen(given: str | None, known: Sequence[str], option: str) -> list[str]:
    """Return the names of a comma-separated option, in our order; all without one."""
    if given is None:
        return list(known)
    names = [name.strip() for name in given.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = ", ".join(unknown) or "nothing"
        sys.exit(f"error: {option}: {wrong}: choose from {', '.join(known)}")
    return [name for name in known if name in names]


def numbers(text: str) -> list[int]:
    """Parse whole numbers from one up, separated by commas."""
    values = [int(part) for part in text.split(",")]
    if min(values) < 1:
        raise ValueError(text)
    return values


def installed(needs: Mapping[str, str]) -> list[str]:
    """Leave out the names whose module is missing, and say so.

    Args:
        needs: the module of each name.
    """
    found = []
    for name, module in needs.items():
        if importlib.util.find_spec(module) is None:
            print(
                f"{name} is skipped: {module} is not installed; try pip install -e '.[benchmarks]'"
            )
        else:
            found.append(name)
    return found


def main() -> None:
    """Parse the command line, measure, report."""
    options = _parse()
    parts = chosen(options.parts, [*PARTS, *ASKED], "--parts") if options.parts else PARTS
    others = [part for part in parts if part not in ASKED]
    results, accuracies, models = (
        _earlier(options.out / name) for name in ("results.json", "accuracy.json", "fasttext.json")
    )
    if not options.report:
        if "accuracy" in parts:
            _measure_accuracy(options, accuracies)
        if "fasttext" in parts:
            from benchmarks import fasttext_models

            fasttext_models.run(models, options)
        if others:
            _measure(options, others, results)
    elif not (results.records or accuracies.records or models.records):
        sys.exit(f"error: {options.out / 'results.json'}: there are no results to report")

    # Only now: the measuring process must stay small.
    if results.records and (options.report or others):
        from benchmarks import report

        print(report.write(results, options.out))
    if accuracies.records and (options.report or "accuracy" in parts):
        from benchmarks.accuracy import report as accuracy_report

        print(accuracy_report.write(accuracies, options.out))
    if models.records and (options.report or "fasttext" in parts):
        from benchmarks import fasttext_models

        print(fasttext_models.report(models, options.out))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=PROJECT.parent / "shared" / "data",
        help="folder of the corpora; where it is absent, the demo corpora",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=PROJECT / "benchmarks" / "results",
        help="folder of the results, tables and plots",
    )
    parser.add_argument("--seeds", type=numbers, default=[1, 2, 3])
    parser.add_argument("--corpora", help="default: all")
    parser.add_argument("--peers", help=f"default: all of {', '.join(PEERS)}")
    parser.add_argument("--parts", help=f"default: {','.join(PARTS)}; {' and '.join(ASKED)} "
                        "have to be asked for")  # fmt: skip
    parser.add_argument("--sizes", type=numbers, default=[1, 2, 4, 8, 16],
                        help="multiples of the first corpus")  # fmt: skip
    parser.add_argument("--seconds", type=int, default=TUNE_SECONDS, help="of each search")
    parser.add_argument("--sets", help="data sets of the part accuracy; default: all")
    parser.add_argument(
        "--systems", help=f"of the part accuracy; default: all of {', '.join(SYSTEMS)}"
    )
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER",
                        help="of the part fasttext: a package of fastText in a folder")  # fmt: skip
    parser.add_argument("--lid", type=Path, help="of the part fasttext: lid.176.ftz")
    parser.add_argument("--pairs", type=Path, help="of the part fasttext: a model of word pairs")
    parser.add_argument("--times", type=int, default=5, help="that the part fasttext is measured")
    parser.add_argument("--report", action="store_true",
                        help="measure nothing: only draw the tables and plots")  # fmt: skip
    return parser.parse_args()


def _earlier(file: Path) -> Results:
    try:
        return Results(file)
    except (ValueError, KeyError) as error:
        sys.exit(f"error: {file}: is damaged ({error}): move it away")


def _measure_accuracy(options: argparse.Namespace, results: Results) -> None:
    from benchmarks.accuracy import measuring  # torch with it, which the other parts are without

    data, found = options.data, measuring.find(options.data)
    if not found:
        print(f"no data sets in {data}: these are the demo corpora, small and easy")
        data = PROJECT / "data"
        found = measuring.find(data)
    names = chosen(options.sets, list(found), "--sets")
    systems = chosen(options.systems, list(SYSTEMS), "--systems")
    systems = installed({name: SYSTEMS[name].needs for name in systems})
    results.begin({"seeds": options.seeds, "sets": names, "systems": systems})
    measuring.run(results, data, {name: found[name] for name in names}, systems, options.seeds)


def _measure(options: argparse.Namespace, parts: list[str], results: Results) -> None:
    found = corpora.find(options.data, corpora.REAL | corpora.DEMO)
    if not found:
        print(f"no corpora in {options.data}: these are the demo corpora, small and easy")
        found = corpora.find(PROJECT / "data", corpora.DEMO)
    names = chosen(options.corpora, list(found), "--corpora")
    peers = chosen(options.peers, list(PEERS), "--peers")
    peers = installed({name: PEERS[name].needs for name in peers})
    results.begin({"seeds": options.seeds, "corpora": names, "peers": peers, "parts": parts})
    with tempfile.TemporaryDirectory(prefix="textcls-benchmarks-") as work:
        benchmark = Benchmark(results, options.seeds, peers, Path(work))
        if "bags" in parts:
            benchmark.text_to_bags(found[names[0]])
        if "corpora" in parts:
            for name in names:
                benchmark.corpus(found[name], first=name == names[0])
        if "size" in parts:
            benchmark.size(found[names[0]], options.sizes)
        if "serve" in parts:
            for name in names[:2]:  # one of long texts, one of short ones
                benchmark.serve(found[name], first=name == names[0])
        if "tune" in parts:
            for name in names:
                if name in TUNE_CORPORA:
                    benchmark.tune(found[name], options.seconds)
        if "compress" in parts:
            for name in names:
                if name in COMPRESS_RATES:
                    benchmark.compress(found[name])


if __name__ == "__main__":
    main()
