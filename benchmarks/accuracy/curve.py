"""Forecasts of learning curves against what was measured: ``python -m benchmarks.accuracy.curve``.

On each data set (of large ones 20,000 rows of train and 3,000 of validation) the curve is measured
as ``textcls curve`` does. Then each form forecasts the full size from a half and below, the half
from a quarter, and the quarter from an eighth.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.accuracy.settings import DATA_SETS
from benchmarks.corpora import PROJECT
from benchmarks.figures import table
from benchmarks.peers.ours import configure
from textcls.corpus.corpus import Source
from textcls.corpus.splits import Split
from textcls.curve.design import drawn, num_draws, sizes_of
from textcls.curve.forecast import FEWEST_SIZES, Means, forecast
from textcls.curve.forms import Form, fitted
from textcls.curve.measuring import Subsets

SETS = (
    "cr", "emotion", "trec", "sms_spam", "jrte_pn", "germeval2018_coarse", "chn_hotel", "r52",
    "banking77", "wisesight", "sst2", "ag_news", "semeval2018_ec",
)  # fmt: skip
MOST = {"train": 20_000, "validation": 3_000}
SEVERAL = {f"data.{split}": f"{split}.jsonl" for split in ("train", "validation", "test")}


def measure(name: str, data: Path) -> Means:
    """Return the learning curve of a data set."""
    one = DATA_SETS.get(name)
    files = SEVERAL if one is None else {f"data.{k}": v for k, v in one.files(Path()).items()}
    config = configure(["data=local", *(f"{k}={data / name / v}" for k, v in files.items())])
    corpus = Source(config.data, tested=False).read()
    cut = {split: _some(corpus.splits[split], most) for split, most in MOST.items()}
    subsets = Subsets(config, dataclasses.replace(corpus, **cut))  # type: ignore[arg-type]
    sizes = sizes_of(subsets.num_rows, subsets.num_classes)
    return Means.of([subsets.measure(n, draw) for n in sizes for draw in range(num_draws(n))])


def _some(split: Split, most: int) -> Split:
    return split if len(split) <= most else split.cut(drawn(len(split), most, 0, 0))[0]


def compared(curves: list[Means]) -> str:
    """Return the mean absolute errors of all forms, in points, by what is left out."""
    rows = []
    for form in get_args(Form):
        for name in ("all sizes alike", "by rows"):
            errors: list[list[float]] = []
            for left_out in (1, 2, 3):
                errors.append([])
                for means in curves:
                    known = means.up_to(len(means.sizes) - left_out)
                    if len(known.sizes) >= FEWEST_SIZES:
                        truth = float(means.scores[-left_out])
                        errors[-1].append(_forecast(known, form, name == "by rows") - truth)
            cells = [f"{100 * np.mean(np.abs(some)):.2f}" for some in errors]
            rows.append([form, name, *cells, f"{100 * np.mean(errors[0]):+.2f}"])
    return table(["form", "weights", "N", "N/2", "N/4", "bias at N"], rows)


def _forecast(known: Means, form: Form, weighted: bool) -> float:
    """Return the forecast of twice the largest size."""
    sizes = known.sizes
    curve = fitted(form, sizes, known.scores, sizes if weighted else np.ones_like(sizes))
    last, more = curve(np.array([sizes[-1], 2 * sizes[-1]]))
    return float(known.scores[-1] + more - last)


def covered(curves: list[Means]) -> list[float]:
    """Return the share of measured scores that the band has, by what is left out."""
    shares = []
    for left_out in (1, 2, 3):
        held = []
        for means in curves:
            known = means.up_to(len(means.sizes) - left_out)
            if len(known.sizes) >= FEWEST_SIZES:
                found = forecast(known, int(means.sizes[-left_out]))
                held.append(found.low <= means.scores[-left_out] <= found.high)
        shares.append(float(np.mean(held)))
    return shares


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    data = parser.parse_args().data
    curves = [measure(name, data) for name in SETS if (data / name).exists()]
    print(compared(curves))
    print("in the band:", ", ".join(f"{share:.0%}" for share in covered(curves)))


if __name__ == "__main__":
    main()
