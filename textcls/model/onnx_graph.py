"""The network as a graph of ONNX's operators, of which none is an embedding bag."""

from __future__ import annotations

from string import Template

import numpy as np
import numpy.typing as npt
from torch import Tensor

from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import WEIGHT_SCALE
from textcls.task.base import Task
from textcls.task.of_fasttext import TreeLabel

Float32 = npt.NDArray[np.float32]

# The first opset whose ReduceMax takes its axes as an input, as ReduceSum does, and the IR version
# that came with it: onnxruntime 1.14 and later read both.
OPSET = 18
IR_VERSION = 8
# Tokens that one step of max pools. Of 8 to 64, which take about as long, the one with which short
# bags waste little.
GROUP = 16

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
  $probabilities
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

# Of a tree, whose scores are of nodes: sums of logarithms over the way to each class.
_OF_TREE = """minus_logits = Neg(logits)
  cost_of_right = Softplus(minus_logits)
  cost_of_left = Softplus(logits)
  costs_of_right = MatMul(cost_of_right, ways_right)
  costs_of_left = MatMul(cost_of_left, ways_left)
  costs = Sum(costs_of_right, costs_of_left)
  logs = Neg(costs)
  probabilities = Exp(logs)"""

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


def graph_of(
    model: EmbeddingBagClassifier, is_weighted: bool, task: Task
) -> tuple[str, dict[str, Float32]]:
    """Return the graph in ONNX's text format, and the tensors that it names.

    Args:
        model: the network.
        is_weighted: whether the tokens of its texts have weights.
        task: that makes probabilities of scores.
    """
    table = table_of(model).numpy()
    num_embeddings, dim = table.shape
    num_classes = model.linear.out_features
    parts = model.embedding.pooling.parts
    linears = np.split(model.linear.weight.detach().cpu().numpy().T, len(parts))
    values: dict[str, object] = {
        "ir_version": IR_VERSION,
        "opset": OPSET,
        "num_classes": num_classes,
        "num_embeddings": num_embeddings,
        "padding": padding_of(model),
        "group": GROUP,
        "group_less_1": GROUP - 1,
        "more_inputs": ", float[num_tokens] weights" if is_weighted else "",
        "weights": _WEIGHTS if is_weighted else "",
        "probabilities": _probabilities_by(task),
    }
    how = "Mul({}_exact, weight_columns)" if is_weighted else "Identity({}_exact)"
    tensors = {"bias": model.linear.bias.detach().cpu().numpy()}
    if isinstance(task, TreeLabel):
        tensors["ways_right"], tensors["ways_left"] = (way.numpy() for way in task.ways())
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


def _probabilities_by(task: Task) -> str:
    if isinstance(task, TreeLabel):
        return _OF_TREE
    operator = "Softmax<axis = 1>" if task.by_softmax else "Sigmoid"
    return f"probabilities = {operator}(logits)"


def table_of(model: EmbeddingBagClassifier) -> Tensor:
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


def padding_of(model: EmbeddingBagClassifier) -> int:
    """Return the id of padding, -1 if there is none."""
    padding: int | None = model.embedding.padding_idx
    return -1 if padding is None else padding  # which no token has
