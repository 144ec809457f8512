"""A comparison in TensorBoard: a run of its own, beside those that it compares."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2, metadata
from torch.utils.tensorboard import SummaryWriter

from textcls.report.page import Section
from textcls.report.plots import curve


def write_events(folder: Path, sections: Sequence[Section], table: str) -> None:
    """Write an event file: the plots, the table, and validation by epoch over the seeds.

    The scalars are ``accuracy/max`` for the mean of the seeds; their range goes to ``range/…``,
    which the charts under "custom scalars" show as bands. With several datasets the dataset's name
    comes in front of the setting's.

    Args:
        folder: where to.
        sections: one for each dataset.
        table: in markdown.
    """
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("comparison", table)
        events = writer._get_file_writer()
        lines: dict[str, dict[str, list[str]]] = {}
        for section in sections:
            prefix = f"{_tag(section.dataset.name)}/" if len(sections) > 1 else ""
            for plot in section.plots:
                events.add_summary(_picture(f"{prefix}{plot.name}", plot.png))
            for metric, title_of in section.dataset.metrics.items():
                title = f"{title_of}, validation"
                tags = lines.setdefault(section.dataset.name, {}).setdefault(title, [])
                for setting in section.compared:
                    tag = f"{metric}/{prefix}{_tag(setting.name)}"
                    values = curve(setting, metric)
                    for name, means in (
                        (tag, np.nanmean(values, 0)),
                        (f"range/{tag}/low", np.nanmin(values, 0)),
                        (f"range/{tag}/high", np.nanmax(values, 0)),
                    ):
                        for epoch, value in enumerate(means, 1):
                            writer.add_scalar(name, value, epoch)
                    tags.append(tag)
        events.add_summary(_layout(lines))


def _tag(name: str) -> str:
    """Return a name in characters that TensorBoard takes: ``max, dim=8`` as ``max_dim_8``."""
    return re.sub(r"[^\w.+-]+", "_", name).replace("+", "_and_")


def _picture(tag: str, png: bytes) -> Summary:
    """Return a PNG file as it is; ``SummaryWriter.add_image`` would encode it once more."""
    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _layout(lines: dict[str, dict[str, list[str]]]) -> Summary:
    """Return the layout of the custom scalars: by dataset and metric, all settings in one chart.

    ``SummaryWriter.add_custom_scalars`` would make a chart with a band for each setting alone.
    """
    categories = []
    for dataset, charts in lines.items():
        shown = []
        for title, tags in charts.items():
            exact = [f"^{re.escape(tag)}$" for tag in tags]
            shown.append(
                layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=exact))
            )
            bands = [
                layout_pb2.MarginChartContent.Series(
                    value=tag, lower=f"range/{tag}/low", upper=f"range/{tag}/high"
                )
                for tag in tags
            ]
            shown.append(
                layout_pb2.Chart(
                    title=f"{title}, with the range of the seeds",
                    margin=layout_pb2.MarginChartContent(series=bands),
                )
            )
        categories.append(layout_pb2.Category(title=dataset, chart=shown))
    layout = layout_pb2.Layout(category=categories)
    about = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME)
    )
    tensor = TensorProto(
        dtype="DT_STRING",
        string_val=[layout.SerializeToString()],
        tensor_shape=TensorShapeProto(),
    )
    value = Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=about)
    return Summary(value=[value])
