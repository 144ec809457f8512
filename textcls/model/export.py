"""Trained models for where textcls is not: an ONNX file, a torch.export file, a NumPy folder.

What is exported is data and arithmetic: the ONNX and the torch file take token ids, so that texts
are tokenized outside; the NumPy folder takes texts.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from string import Template

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
from textcls.model.folder import FILES, ModelParts, save_model
from textcls.model.numpy_predictor import TOKENIZERS
from textcls.model.pooling import WEIGHT_SCALE

Float32 = npt.NDArray[np.float32]

# The first opset whose ReduceMax takes its axes as an input, as ReduceSum does, and the IR version
# that came with it: onnxruntime 1.14 and later read both.
OPSET = 18
IR_VERSION = 8
# Protobuf's limit for a message, less what is no weight.
ONNX_BYTES = 2**31 - 2**20
# What the NumPy export has besides the model.
PREDICTOR = "predict.py"
# Tokens that one step of max pools. Of 8 to 64, which take about as long, the one with which short
# bags waste little.
GROUP = 16


# --- ONNX ------------------------------------------------------------------------------------
# onnxruntime adds up and compares in ScatterND by several threads at once, and loses what two of
# them write to one bag: with duplicates its reductions are wrong, now and then. So there is none.
#
# Sums are differences of running sums at the offsets, in double: after a million rows ten digits of
# the next one still count, and a float has seven. Where there are fewer classes than dimensions,
# each row of the table is multiplied with the linear layer here, once: the running sum is then of
# class scores, shorter rows, and says the same, as both are linear.

_GRAPH = Template("""
<ir_version: $ir_version, opset_import: ["": $opset]>
textcls (int64[num_tokens] indices, int64[num_offsets] offsets$more_inputs)
  => (float[num_bags, $num_classes] probabilities, float[num_bags, $num_classes] logits)
<int64 zero = {0}, int64[1] at_0 = {0}, int64[1] at_1 = {1}, int64[1] at_last = {-1},
 int64[1] at_end = {9223372036854775807}, int64[1] padding = {$padding}>
{
  ids = Concat<axis = 0>(indices, at_0)
  is_padding = Equal(ids, padding)
  is_counted = Not(is_padding)
  counted = Cast<to = 7>(is_counted)
  counted_before = CumSum<exclusive = 1>(counted, zero)
  counted_at = Gather(counted_before, offsets)
  counted_first = Slice(counted_at, at_0, at_last)
  counted_last = Slice(counted_at, at_1, at_end)
  lengths_flat = Sub(counted_last, counted_first)
  lengths = Unsqueeze(lengths_flat, at_last)
  $weights
  $poolings
  logits = Sum($scores, bias)
  probabilities = Softmax<axis = 1>(logits)
}""")

# A running sum that begins with 0 and leaves out the last row, the one of the id that was added.
_SUM = Template("""
  ${part}_rows = Gather($table, ids)
  ${part}_exact = Cast<to = 11>(${part}_rows)
  $weighted
  ${part}_before = CumSum<exclusive = 1>(${part}_entries, zero)
  ${part}_at = Gather(${part}_before, offsets)
  ${part}_first = Slice(${part}_at, at_0, at_last)
  ${part}_last = Slice(${part}_at, at_1, at_end)
  ${part}_sums = Sub(${part}_last, ${part}_first)""")

_OF_SUM = Template("""
  ${part}_$result = Cast<to = 1>(${part}_sums)""")

# Of weights, as of rows, the sums are differences of running sums. An empty bag's are 0 by 1.
_WEIGHTS = """
  no_weight = Constant<value_floats = [0.0]>()
  all_weights = Concat<axis = 0>(weights, no_weight)
  is_counted_number = Cast<to = 1>(is_counted)
  own_weights = Mul(all_weights, is_counted_number)
  exact_weights = Cast<to = 11>(own_weights)
  weight_columns = Unsqueeze(exact_weights, at_last)
  least = Constant<value = double[1] {1e-300}>()"""

_DIVISORS = {
    False: Template("""
  ${part}_lengths = Max(lengths, at_1)
  ${part}_divisors = Cast<to = 11>(${part}_lengths)"""),
    True: Template("""
  ${part}_counts = $counts
  ${part}_counts_before = CumSum<exclusive = 1>(${part}_counts, zero)
  ${part}_counts_at = Gather(${part}_counts_before, offsets)
  ${part}_counts_first = Slice(${part}_counts_at, at_0, at_last)
  ${part}_counts_last = Slice(${part}_counts_at, at_1, at_end)
  ${part}_counts_sums = Sub(${part}_counts_last, ${part}_counts_first)
  ${part}_counts_least = Max(${part}_counts_sums, least)
  ${part}_divisors = Unsqueeze(${part}_counts_least, at_last)"""),
}

_DIVIDED = Template("""
  ${part}_norms = $norms(${part}_divisors)
  ${part}_quotients = Div(${part}_sums, ${part}_norms)
  ${part}_$result = Cast<to = 1>(${part}_quotients)""")
# Of those that are divided: what is summed up of the weights, and what is made of the sums.
_NORMS = {
    "mean": {"counts": "Identity(exact_weights)", "norms": "Identity"},
    "sqrtn": {"counts": "Mul(exact_weights, exact_weights)", "norms": "Sqrt"},
}

# Each step turns bags of rows into bags of a sixteenth of them, the largest numbers of up to 16
# rows each, until every bag has one. A last row that nothing is smaller than fills up.
_MAX = Template("""
  lowest_id = Constant<value_ints = [$num_embeddings]>()
  own_ids = Where(is_padding, lowest_id, ids)
  known_ids = Slice(own_ids, at_0, at_last)
  first_ids = Concat<axis = 0>(known_ids, lowest_id)
  forever = Squeeze(at_end)
  true = Constant<value = bool {1}>()
  one = Constant<value_int = 1>()
  group = Constant<value_int = $group>()
  group_less_1 = Constant<value_int = $group_less_1>()
  within_group = Range(zero, group, one)
  num_bags = Size(lengths_flat)
  last_offsets, last_ids, last_rows = Loop<body = step (
      int64 step_number, bool step_condition,
      int64[step_offsets_size] step_offsets, int64[step_ids_size] step_ids,
      float[step_num_rows, step_dim] step_rows
    ) => (
      bool go_on, int64[next_offsets_size] next_offsets, int64[next_ids_size] next_ids,
      float[next_num_rows, next_dim] next_rows
    ) {
      starts = Slice(step_offsets, at_0, at_last)
      stops = Slice(step_offsets, at_1, at_end)
      step_lengths = Sub(stops, starts)
      rounded_up = Add(step_lengths, group_less_1)
      full_groups = Div(rounded_up, group)
      groups_per_bag = Max(full_groups, one)
      group_ends = CumSum(groups_per_bag, zero)
      next_offsets = Concat<axis = 0>(at_0, group_ends)
      num_groups_1 = Gather(next_offsets, at_last)
      num_groups = Squeeze(num_groups_1)
      other_starts = Slice(next_offsets, at_1, at_last)
      num_other_starts = Shape(other_starts)
      marks = Expand(one, num_other_starts)
      no_marks = Expand(zero, num_groups_1)
      marked = ScatterElements<axis = 0>(no_marks, other_starts, marks)
      bag = CumSum(marked, zero)
      number = Range(zero, num_groups, one)
      first_number = Gather(next_offsets, bag)
      number_within_bag = Sub(number, first_number)
      begins_within_bag = Mul(number_within_bag, group)
      bag_start = Gather(starts, bag)
      group_start = Add(bag_start, begins_within_bag)
      group_start_2d = Unsqueeze(group_start, at_last)
      bag_stop = Gather(stops, bag)
      bag_stop_2d = Unsqueeze(bag_stop, at_last)
      places = Add(group_start_2d, within_group)
      is_inside = Less(places, bag_stop_2d)
      num_step_ids = Shape(step_ids)
      place_of_lowest = Sub(num_step_ids, at_1)
      filled_up = Where(is_inside, places, place_of_lowest)
      which = Gather(step_ids, filled_up)
      grouped = Gather(step_rows, which)
      largest = ReduceMax<keepdims = 0>(grouped, at_1)
      next_rows = Concat<axis = 0>(largest, lowest)
      num_next_ids = Add(num_groups, one)
      next_ids = Range(zero, num_next_ids, one)
      go_on = Greater(num_groups, num_bags)
    }>(forever, true, offsets, first_ids, table)
  largest_or_lowest = Slice(last_rows, at_0, at_last)
  is_empty = Equal(lengths, at_0)
  of_empty = CastLike(zero, largest_or_lowest)
  ${part}_pooled = Where(is_empty, of_empty, largest_or_lowest)""")

_LINEAR = Template("""
  ${part}_scores = MatMul(${part}_pooled, ${part}_linear)""")


def export_onnx(parts: ModelParts, path: Path) -> None:
    """Write the model as one ONNX file.

    Its inputs are ``indices``, int64 ``[num_tokens]``, and ``offsets``, int64 ``[num_bags + 1]``,
    first 0, last ``num_tokens``, as :class:`textcls.data.bags.Bags` describes them, and where the
    model's texts have weighted tokens ``weights``, float32 ``[num_tokens]``; its outputs are
    ``probabilities`` and ``logits``, float32 ``[num_bags, num_classes]``. The numbers of tokens and
    of bags are free, 0 included. The file's metadata has ``labels`` (a JSON list, by class),
    ``mode`` and ``textcls_version``.

    All tokens are worked on at once, in 20 bytes per token and class (or dimension, if fewer), for
    max in 4 per token and dimension: give a million tokens or so at a time.
    See https://onnx.ai/onnx/operators/ for what the operators do.

    Raises:
        InputError: onnx is not installed, or the model is larger than an ONNX file may be.
        OSError: the file cannot be written; what was there stays.
    """
    try:
        import onnx
        from onnx import checker, helper, numpy_helper, parser
    except ImportError:
        raise InputError("exporting to ONNX needs onnx: pip install 'textcls[onnx]'") from None

    text, tensors = _graph_of(parts.model, _is_weighted(parts))
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
    helper.set_model_props(
        model,
        {
            "labels": json.dumps(parts.label_names, ensure_ascii=False),
            "mode": parts.model.embedding.mode,
            "textcls_version": textcls.__version__,
        },
    )
    content = model.SerializeToString()
    checker.check_model(content, full_check=True)
    with whole_file(path) as scratch:
        scratch.write_bytes(content)


def _is_weighted(parts: ModelParts) -> bool:
    """Say whether the tokens of the model's texts have weights."""
    return parts.encoder.has_weights


def _graph_of(model: EmbeddingBagClassifier, is_weighted: bool) -> tuple[str, dict[str, Float32]]:
    """Return the graph in ONNX's text format, and the tensors that it names."""
    table = _table_of(model).numpy()
    num_embeddings, dim = table.shape
    num_classes = model.linear.out_features
    parts = model.embedding.pooling.parts
    linears = np.split(model.linear.weight.detach().cpu().numpy().T, len(parts))
    values: dict[str, object] = {
        "ir_version": IR_VERSION,
        "opset": OPSET,
        "num_classes": num_classes,
        "num_embeddings": num_embeddings,
        "padding": _padding_of(model),
        "group": GROUP,
        "group_less_1": GROUP - 1,
        "more_inputs": ", float[num_tokens] weights" if is_weighted else "",
        "weights": _WEIGHTS if is_weighted else "",
    }
    how = "Mul({}_exact, weight_columns)" if is_weighted else "Identity({}_exact)"
    tensors = {"bias": model.linear.bias.detach().cpu().numpy()}
    poolings = []
    for part, linear in zip(parts, linears, strict=True):
        if part != "max" and num_classes < dim:
            tensors[f"{part}_folded"] = table @ linear
            steps, names = [], {"table": f"{part}_folded", "result": "scores"}
        else:
            tensors["table"], tensors[f"{part}_linear"] = table, linear
            steps, names = [_LINEAR], {"table": "table", "result": "pooled"}
        if part == "max":
            steps = [_MAX, *steps]
        elif part == "sum":
            steps = [_SUM, _OF_SUM, *steps]
        else:
            steps = [_SUM, _DIVISORS[is_weighted], _DIVIDED, *steps]
            names |= _NORMS[part]
        names["weighted"] = f"{part}_entries = {how.format(part)}"
        poolings += [step.substitute(values, part=part, **names) for step in steps]
    if "max" in parts:
        tensors["lowest"] = np.full((1, dim), -np.inf, np.float32)
        tensors["table"] = np.concatenate([table, tensors["lowest"]])
    scores = ", ".join(f"{part}_scores" for part in parts)
    return _GRAPH.substitute(values, poolings="".join(poolings), scores=scores), tensors


def _table_of(model: EmbeddingBagClassifier) -> Tensor:
    """Return a row per token id, float32 ``[num_embeddings, dim]``, for its bare sum to be right.

    The row of padding is zero, and in a weighted sum each row is multiplied by its weight.
    """
    embedding = model.embedding
    table = embedding.weight.detach().cpu().float().clone()
    if embedding.weighing is not None:
        table *= 1 + WEIGHT_SCALE * embedding.weighing.detach().cpu().float()
    if embedding.padding_idx is not None:
        table[embedding.padding_idx] = 0
    return table


def _padding_of(model: EmbeddingBagClassifier) -> int:
    padding: int | None = model.embedding.padding_idx
    return -1 if padding is None else padding  # which no token has


# --- torch.export ----------------------------------------------------------------------------


class _Inference(nn.Module):
    """The network as torch's own operators, without a look at the data to decide by."""

    def __init__(self, model: EmbeddingBagClassifier) -> None:
        super().__init__()
        self.weight = nn.Parameter(_table_of(model), requires_grad=False)
        self.linear = copy.deepcopy(model.linear).cpu().float().requires_grad_(False)
        self.parts = model.embedding.pooling.parts
        self.padding = _padding_of(model)

    def forward(self, indices: Tensor, offsets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the probabilities, float32 ``[num_bags, num_classes]``."""
        pooled = [self._pool(part, indices, offsets, weights) for part in self.parts]
        scores: Tensor = self.linear(torch.cat(pooled, 1))
        return scores.softmax(1)

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
    ``weights`` as a third where there are such.

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
            _Inference(parts.model).eval(), tuple(example), dynamic_shapes=tuple(free)
        )
    program.example_inputs = None  # it would be a pickle
    with whole_file(path) as scratch, scratch.open("wb") as file:
        torch.export.save(program, file)


# --- NumPy -----------------------------------------------------------------------------------


def export_numpy(parts: ModelParts, folder: Path) -> None:
    """Write a model folder with ``predict.py`` in it, which needs Python and NumPy alone.

    ``python FOLDER/predict.py < texts.txt`` prints a label and its probability per line; its
    ``Predictor`` is for programs. It needs the package ``tokenizers`` where the model's tokenizer
    is of that package, and ``xxhash`` where n-grams are hashed; both are named where they lack.

    Raises:
        InputError: a tokenizer that needs more.
        OSError: the folder cannot be written; what was there stays.
    """
    name = parts.encoder.config.name
    if name not in TOKENIZERS:
        raise InputError(
            f"tokenizer.name={name}: its package is no part of the NumPy export, which has "
            f"{', '.join(TOKENIZERS)}: train with one of these, or export to ONNX"
        )
    with filled_folder(folder, (*FILES, PREDICTOR)) as scratch:
        save_model(parts, scratch)
        shutil.copyfile(Path(numpy_predictor.__file__), scratch / PREDICTOR)
