"""``textcls doctor``: what there is to train on, and whether a GPU does it right."""

from __future__ import annotations

from pathlib import Path

import click

from textcls.cli.cache import DIR, folder_of
from textcls.cli.options import DEVICE


@click.command()
@DEVICE
@DIR
def doctor(device: str, folder: Path | None) -> None:
    """Report the machine and its speed, to be pasted into an issue.

    On a GPU, Triton's kernels are tried anew beside torch's own operators, for a plain training and
    for what trainings have tried before; what comes of it holds for trainings from then on.
    """
    import torch

    from textcls.device import to_device
    from textcls.machine import report

    found = to_device(device, "--device")
    torch.set_num_threads(1)  # as trainings have it
    click.echo(report(found, folder_of(folder)), nl=False)
