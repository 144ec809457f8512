"""What is shown of scores where a text may have several labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text


def label_summary(metrics: Mapping[str, Any], split: str = "test") -> RenderableType:
    """Return the scores of a split."""
    lines = [
        f"{split} micro F1 {metrics['micro_f1']:.4f}   macro F1 {metrics['macro_f1']:.4f}   "
        f"all labels right {metrics['accuracy']:.4f}   loss {metrics['loss']:.4f}",
        "   ".join(
            f"{short}@{k} {metrics[f'{name}_at_{k}']:.4f}"
            for k in (1, 3, 5)
            for short, name in (("P", "precision"), ("R", "recall"), ("nDCG", "ndcg"))
        ),
        f"LRAP {metrics['lrap']:.4f}   ECE {metrics['ece']:.4f}",
    ]
    return Group(*map(Text, lines))
