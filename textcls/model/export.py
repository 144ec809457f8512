"""Trained models for where textcls is not: an ONNX file, a torch.export file, a NumPy folder.

What is exported is data and arithmetic: the ONNX and the torch file take token ids, so that texts
are tokenized outside; the NumPy folder takes texts.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as shape_options
from torch.nn import functional as F

import textcls
from textcls.errors import InputError
from textcls.files import filled_folder, whole_file
from textcls.model import numpy_predictor
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.folder import FILES, save_model
from textcls.model.numpy_predictor import TOKENIZERS
from textcls.model.onnx_graph import graph_of, padding_of, table_of
from textcls.model.parts import ModelParts
from textcls.task.base import Task
from textcls.task.multi import EVEN, THRESHOLDS
from textcls.task.of_fasttext import TreeLabel

Float32 = npt.NDArray[np.float32]

# Protobuf's limit for a message, less what is no weight.
ONNX_BYTES = 2**31 - 2**20
# Labels of a tree, of which a graph has two matrices of labels by labels.
MOST_OF_TREE = 4_096
# What the NumPy export has besides the model.
PREDICTOR = "predict.py"


# --- ONNX ----------------------------------------------------------------------------------------


def export_onnx(parts: ModelParts, path: Path) -> None:
    """Write the model as one ONNX file.

    Its inputs are ``indices``, int64 ``[num_tokens]``, and ``offsets``, int64 ``[num_bags + 1]``,
    first 0, last ``num_tokens``, as :class:`textcls.data.bags.Bags` describes them, and where the
    model's texts have weighted tokens ``weights``, float32 ``[num_tokens]``; its outputs are
    ``probabilities`` and ``logits``, float32 ``[num_bags, num_classes]``. The numbers of tokens and
    of bags are free, 0 included. The file's metadata has ``labels`` (a JSON list, by class),
    ``mode`` and ``textcls_version``; where a text has any number of labels, also ``task``,
    ``multi``, and ``thresholds`` (a JSON list): a label is predicted from this probability on.

    All tokens are worked on at once, in 20 bytes per token and class (or dimension, if fewer), for
    max in 4 per token and dimension: give a million tokens or so at a time.
    See https://onnx.ai/onnx/operators/ for what the operators do.

    Raises:
        InputError: onnx is not installed, or the model is larger than an ONNX file may be, or has
            too large a tree of labels.
        OSError: the file cannot be written; what was there stays.
    """
    try:
        import onnx
        from onnx import checker, helper, numpy_helper, parser
    except ImportError:
        raise InputError("exporting to ONNX needs onnx: pip install 'textcls[onnx]'") from None

    if isinstance(parts.task, TreeLabel) and len(parts.label_names) > MOST_OF_TREE:
        raise InputError(
            f"{path}: a tree of {len(parts.label_names):,} labels takes their square in ONNX: "
            "export it with --to torch"
        )
    text, tensors = graph_of(parts.model, _is_weighted(parts), parts.task)
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > ONNX_BYTES:
        raise InputError(
            f"{path}: the model's {size / 1e9:.1f} GB of weights are more than the 2 GB of an "
            "ONNX file: train with a smaller model.dim, tokenizer.max_size or tokenizer.buckets, "
            "or export it in another format"
        )
    model: onnx.ModelProto = parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(tensors[name], name) for name in tensors)
    model.producer_name, model.producer_version = "textcls", textcls.__version__
    helper.set_model_props(model, _metadata(parts))
    content = model.SerializeToString()
    checker.check_model(content, full_check=True)
    with whole_file(path) as scratch:
        scratch.write_bytes(content)


def _metadata(parts: ModelParts) -> dict[str, str]:
    """Return what a file says of its model."""
    metadata = {
        "labels": json.dumps(parts.label_names, ensure_ascii=False),
        "mode": parts.model.embedding.mode,
        "textcls_version": textcls.__version__,
    }
    if parts.task.several:
        even = torch.full((len(parts.label_names),), EVEN)
        thresholds = parts.task.tensors().get(THRESHOLDS, even)
        metadata |= {"task": parts.task.name, "thresholds": json.dumps(thresholds.tolist())}
    return metadata


def _is_weighted(parts: ModelParts) -> bool:
    """Say whether the tokens of the model's texts have weights."""
    return parts.encoder.has_weights


# --- torch.export ----------------------------------------------------------------------------


class _Inference(nn.Module):
    """The network as torch's own operators, without a look at the data to decide by."""

    def __init__(self, model: EmbeddingBagClassifier, task: Task) -> None:
        super().__init__()
        self.task = task
        self.weight = nn.Parameter(table_of(model), requires_grad=False)
        self.linear = copy.deepcopy(model.linear).cpu().float().requires_grad_(False)
        self.parts = model.embedding.pooling.parts
        self.padding = padding_of(model)

    def forward(self, indices: Tensor, offsets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the probabilities, float32 ``[num_bags, num_classes]``."""
        pooled = [self._pool(part, indices, offsets, weights) for part in self.parts]
        scores: Tensor = self.linear(torch.cat(pooled, 1))
        return self.task.probabilities(scores)

    def _pool(self, part: str, indices: Tensor, offsets: Tensor, weights: Tensor | None) -> Tensor:
        if part == "max":
            padding = None if self.padding < 0 else self.padding
            return F.embedding_bag(
                indices,
                self.weight,
                offsets,
                mode="max",
                include_last_offset=True,
                padding_idx=padding,
            )
        # Padding's row is zero: a sum need not look for it, which takes torch's kernel long.
        sums = F.embedding_bag(
            indices,
            self.weight,
            offsets,
            mode="sum",
            include_last_offset=True,
            per_sample_weights=weights,
        )
        if part == "sum":
            return sums
        counts = (indices != self.padding).double()
        if weights is not None:
            counts = counts * (weights if part == "mean" else weights.double().square())
        before = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        divisors = before[offsets].diff().unsqueeze(1)
        divisors = divisors.where(divisors > 0, 1)
        return (sums / (divisors if part == "mean" else divisors.sqrt())).float()


def export_torch(parts: ModelParts, path: Path) -> None:
    """Write the model as a file of ``torch.export``, by convention named ``.pt2``.

    ``torch.export.load(path).module()(indices, offsets)`` returns the probabilities, float32
    ``[num_bags, num_classes]``; the inputs are those of :func:`export_onnx`, on the CPU, with
    ``weights`` as a third where there are such. The metadata of an ONNX file are its
    ``extra_files``.

    The file is a zip archive of JSON and of bare numbers; there is no pickle in it. Reading one
    asks for trust all the same: a file that says that a part of it is a pickle has torch load that
    part with ``weights_only=False``, which runs whatever is in it. So load only files of your own.
    See https://docs.pytorch.org/docs/stable/export.html.

    Raises:
        OSError: the file cannot be written; what was there stays.
    """
    # Never run: only shapes and dtypes are taken from it.
    example = [torch.tensor([0, 0, 0]), torch.tensor([0, 1, 3])]
    if _is_weighted(parts):
        example.append(torch.ones(3))
    free = [{0: torch.export.Dim.DYNAMIC} for _ in example]
    # Else torch takes it that there are two tokens and two bags at least, and says no to one text.
    with shape_options.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        program = torch.export.export(
            _Inference(parts.model, parts.task).eval(), tuple(example), dynamic_shapes=tuple(free)
        )
    program.example_inputs = None  # it would be a pickle
    with whole_file(path) as scratch, scratch.open("wb") as file:
        torch.export.save(program, file, extra_files=dict(_metadata(parts)))


# --- NumPy -----------------------------------------------------------------------------------


def export_numpy(parts: ModelParts, folder: Path) -> None:
    """Write a model folder with ``predict.py`` in it, which needs Python and NumPy alone.

    ``python FOLDER/predict.py < texts.txt`` prints a label and its probability per line, or all
    labels that reach their threshold; its ``Predictor`` is for programs. It needs the package
    ``tokenizers`` where the model's tokenizer is of that package, and ``xxhash`` where n-grams are
    hashed; both are named where they lack.

    Raises:
        InputError: a tokenizer that needs more.
        OSError: the folder cannot be written; what was there stays.
    """
    name = parts.encoder.config.name
    if name not in TOKENIZERS:
        raise InputError(
            f"tokenizer.name={name}: its package is no part of the NumPy export, which has "
            f"{', '.join(TOKENIZERS)}: train with one of these, or export to "
            + ("fasttext, which textcls.fasttext predicts with" if name == "fasttext" else "ONNX")
        )
    with filled_folder(folder, (*FILES, PREDICTOR)) as scratch:
        save_model(parts, scratch)
        shutil.copyfile(Path(numpy_predictor.__file__), scratch / PREDICTOR)
