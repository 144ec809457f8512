"""``textcls export``: a model for places without textcls."""

from __future__ import annotations

from pathlib import Path

import click

from textcls.cli.options import MODEL
from textcls.cli.shared import check_new


@click.command()
@MODEL
@click.option(
    "--to",
    "target",
    type=click.Choice(["onnx", "torch", "numpy", "fasttext"]),
    required=True,
    help="onnx: a .onnx file; torch: a .pt2 file of torch.export; numpy: a folder with a "
    "predict.py that needs nothing but NumPy; fasttext: a .bin file of fastText's, of a model "
    "trained with experiment=fasttext.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="File or folder to write."
)
def export(model: Path, target: str, out: Path) -> None:
    """Write a model for places without textcls.

    onnx and torch take token ids, offsets and, if tokens are weighted, their weights, as
    Classifier.bags gives them; numpy and fasttext take texts.
    """
    from textcls.model import export as exporting
    from textcls.model.folder import load_model
    from textcls.model.to_fasttext import export_fasttext

    parts = load_model(model)
    if target == "numpy":
        check_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write = {
        "onnx": exporting.export_onnx,
        "torch": exporting.export_torch,
        "numpy": exporting.export_numpy,
        "fasttext": export_fasttext,
    }[target]
    write(parts, out)
    click.echo(f"written to {out}")
