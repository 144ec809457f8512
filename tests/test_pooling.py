from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import MODES, make_config, python_calls, seed_cpu
from textcls.data.transpose import Transpose, _transpose_on_device, transpose
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import WEIGHT_SCALE, TransposedEmbeddingBag
from textcls.training.optimizer import Optimizer
from textcls.values import Mode

ROWS, DIM = 9, 5
LISTS = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=7), min_size=1, max_size=8)
Lists = list[list[int]]


def flat(lists: Lists, dtype: torch.dtype = torch.int32) -> tuple[Tensor, Tensor]:
    indices = torch.tensor([token for row in lists for token in row], dtype=dtype)
    return indices, torch.tensor([0] + [len(row) for row in lists], dtype=dtype).cumsum(0)


# --- the transpose -----------------------------------------------------------------------------


def expected_transpose(lists: Lists) -> list[tuple[int, list[int]]]:
    bags_of: dict[int, list[int]] = {}
    for bag, row in enumerate(lists):
        for token in row:
            bags_of.setdefault(token, []).append(bag)
    return sorted(bags_of.items())


def lists_of(t: Transpose) -> list[tuple[int, list[int]]]:
    bags = t.bags.tolist()
    bounds = t.offsets.tolist()
    spans = itertools.pairwise(bounds)
    return [(row, bags[a:b]) for row, (a, b) in zip(t.rows.tolist(), spans, strict=True)]


@pytest.mark.parametrize("make", [transpose, _transpose_on_device])
@pytest.mark.parametrize("with_positions", [False, True])
@given(lists=LISTS, shift=st.sampled_from([0, 2**22, 2**31 - ROWS]))  # keys of 32 and of 64 bits
def test_transpose_is_a_dictionary_of_lists(
    make: Any, with_positions: bool, lists: Lists, shift: int
) -> None:
    lists = [[token + shift for token in row] for row in lists]
    indices, offsets = flat(lists)
    found = make(indices, offsets, with_positions)
    assert lists_of(found) == expected_transpose(lists)
    if with_positions:
        # Each pair stood where it says, and all of them are there.
        rows = found.rows.repeat_interleave(found.offsets.diff())
        assert torch.equal(indices[found.positions].long(), rows)
        assert sorted(found.positions.tolist()) == list(range(len(indices)))
    else:
        assert found.positions is None


# --- gradients ---------------------------------------------------------------------------------


class Plain(nn.Module):
    """The oracle: the same parameters, pooled by torch's own functions and their gradients."""

    def __init__(self, module: TransposedEmbeddingBag, dtype: torch.dtype) -> None:
        super().__init__()
        self.mode, self.padding = module.mode, module.padding_idx
        for name, parameter in module.named_parameters():
            self.register_parameter(name, nn.Parameter(parameter.detach().to(dtype, copy=True)))

    def forward(self, indices: Tensor, offsets: Tensor, weights: Tensor | None = None) -> Tensor:
        table = self.get_parameter("weight")
        counts = torch.ones(len(indices)) if weights is None else weights.detach().float()
        counts = counts * (indices != self.padding)
        factors = weights
        if self.mode.startswith("weighted_"):
            factors = 1 + WEIGHT_SCALE * self.get_parameter("weighing")[indices.long(), 0]
            factors = factors if weights is None else factors * weights

        def pool(part: str, factors: Tensor | None) -> Tensor:
            return F.embedding_bag(
                indices, table, offsets, mode=part, per_sample_weights=factors,
                include_last_offset=True, padding_idx=self.padding,
            )  # fmt: skip

        pooled = []
        for part in self.mode.removeprefix("weighted_").split("+"):
            if part == "max" or (part == "mean" and factors is None):
                pooled.append(pool(part, None))
                continue
            pooled.append(pool("sum", factors))
            if part != "sum":
                counted = counts if part == "mean" else counts.square()
                of_bags = [one.sum() for one in torch.split(counted, offsets.diff().tolist())]
                norms = torch.stack(of_bags)[:, None].to(table.dtype)
                norms = norms if part == "mean" else norms.sqrt()
                pooled[-1] = pooled[-1] / torch.where(norms > 0, norms, 1)
        return torch.cat(pooled, 1)


def gradients(
    module: nn.Module, indices: Tensor, offsets: Tensor, weights: Tensor | None, **more: Any
) -> dict[str, Tensor]:
    """Return the pooled vectors, and the gradients by name of what they were pooled with."""
    learns_weights = weights is not None and weights.requires_grad
    if weights is not None:
        weights = weights.detach().clone().requires_grad_(learns_weights)
    module.zero_grad()
    pooled = module(indices, offsets, weights, **more)
    seed_cpu(5)
    # The same numbers in every dtype.
    pooled.backward(torch.randn(pooled.shape).bfloat16().to(pooled.dtype))
    learned = dict(module.named_parameters())
    if learns_weights:
        learned["weights"] = weights  # type: ignore[assignment]
    found = {"pooled": pooled.detach()}
    for name, parameter in learned.items():
        assert parameter.grad is not None
        found[name] = parameter.grad.to_dense()
    return found


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.bfloat16, pytest.param(torch.float64, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("mode", [*MODES, "per_sample_weights"])
@given(
    lists=LISTS,
    integers=st.sampled_from([torch.int32, torch.int64]),
    padding=st.sampled_from([None, 0, 3]),
    sparse=st.booleans(),
    ahead=st.booleans(),
    weighted=st.booleans(),
)
def test_gradients_are_those_of_torch(
    dtype: torch.dtype,
    mode: str,
    lists: Lists,
    integers: torch.dtype,
    padding: int | None,
    sparse: bool,
    ahead: bool,
    weighted: bool,
) -> None:
    seed_cpu(2)
    indices, offsets = flat(lists, integers)
    plain_mode: Any = "sum" if mode == "per_sample_weights" else mode
    weights = None
    if mode == "per_sample_weights":
        weights = torch.randn(len(indices), dtype=dtype, requires_grad=True)
    elif weighted:
        # Some weigh nothing; and a half can say what all weigh.
        weights = torch.randint(0, 9, (len(indices),)).float() / 4
    module = TransposedEmbeddingBag(ROWS, DIM, plain_mode, padding, sparse)
    if module.weighing is not None:
        nn.init.normal_(module.weighing)
    module.to(dtype)
    # Against halves the oracle computes in full: torch's own gradient of halves is further off.
    full = torch.float32 if dtype == torch.bfloat16 else dtype
    turned = transpose(indices, offsets, weights is not None) if ahead else None
    found = gradients(module, indices, offsets, weights, transposed=turned)
    expected = gradients(
        Plain(module, full), indices, offsets, None if weights is None else weights.to(full)
    )
    close: dict[str, Any] = {"rtol": 2e-2, "atol": 1e-2} if dtype == torch.bfloat16 else {}
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.dtype == dtype
        torch.testing.assert_close(value.to(full), expected[name], **close, msg=name)
    if sparse:
        for parameter in module.parameters():
            assert parameter.grad is not None
            rows = parameter.grad._indices()[0].tolist()
            assert rows == sorted(set(rows) & {token for row in lists for token in row})


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("mode", [*MODES, "per_sample_weights"])
def test_gradcheck(mode: str, padding: int | None) -> None:
    seed_cpu(0)
    plain_mode: Any = "sum" if mode == "per_sample_weights" else mode
    module = TransposedEmbeddingBag(6, 3, plain_mode, padding).double()
    indices, offsets = flat([[1, 2, 2], [], [5], [0, 5, 1, 1, 2]])
    names = [name for name, _ in module.named_parameters()]
    inputs = [torch.rand_like(value).requires_grad_() for value in module.parameters()]
    if mode == "per_sample_weights":
        inputs.append(torch.rand(len(indices), dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(
        lambda *values: torch.func.functional_call(
            module,
            dict(zip(names, values, strict=False)),
            (indices, offsets, *values[len(names) :]),
        ),
        inputs,
    )


def test_a_batch_of_nothing() -> None:
    for mode in MODES:
        module = TransposedEmbeddingBag(4, 2, mode, sparse=True)
        pooled = module(torch.zeros(0, dtype=torch.int32), torch.zeros(3, dtype=torch.int32))
        assert pooled.tolist() == [[0] * module.pooled_dim] * 2
        pooled.sum().backward()
        assert module.weight.grad is not None
        assert not module.weight.grad.to_dense().any()


@pytest.mark.parametrize("mode", MODES)
def test_the_state_dict_is_that_of_torch(mode: Mode) -> None:
    ours, theirs = TransposedEmbeddingBag(4, 2, mode), nn.EmbeddingBag(4, 2)
    state = ours.state_dict()
    if mode.startswith("weighted_"):
        assert not state.pop("weighing").any()
    theirs.load_state_dict(state)
    assert list(state) == list(theirs.state_dict())


def test_what_it_refuses() -> None:
    indices, offsets = flat([[1, 2]])
    with pytest.raises(ValueError, match="offsets say where bags begin"):
        TransposedEmbeddingBag(4, 2)(indices)
    with pytest.raises(ValueError, match="have no gradient with mode='mean'"):
        TransposedEmbeddingBag(4, 2)(indices, offsets, torch.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match=r"mode='max\+mean': take one of mean, sum, sqrtn, max,"):
        TransposedEmbeddingBag(4, 2, "max+mean")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_has_the_same_bits_on_any_number_of_threads(mode: Mode) -> None:
    seed_cpu(0)
    module = TransposedEmbeddingBag(300, 16, mode)
    lengths = torch.randint(0, 300, (200,))
    indices = torch.randint(0, 300, (int(lengths.sum()),), dtype=torch.int32)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 3, 1):
            torch.set_num_threads(number)
            found.append(gradients(module, indices, offsets, None))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(again[name], found[0][name]) for again in found for name in again)


# --- optimizers --------------------------------------------------------------------------------

TORCHS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
BATCHES = [[[1, 2, 2], [3]], [[3, 4]], [[], [1]], [[2, 3, 1, 4], [1, 1]], [[5]]]


def steps(sparse: bool, make: Any, mode: Mode = "weighted_sum") -> dict[str, Tensor]:
    """Train a few steps at changing rates; ``make`` gives what is called with each rate."""
    seed_cpu(3)
    model = EmbeddingBagClassifier(7, 4, 2, mode)
    model.embedding.sparse = sparse
    step = make(model)
    for number, lists in enumerate(BATCHES):
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(*flat(lists)), torch.arange(len(lists)) % 2)
        loss.backward()  # type: ignore[no-untyped-call]
        step(0.1 / (number + 1))
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def ours(*overrides: str) -> Any:
    config = make_config(
        *(one.replace("=adagrad", "=plain_adagrad") for one in overrides)
    ).optimizer

    def make(model: nn.Module) -> Any:
        return Optimizer(config, model.named_parameters()).step

    return make


def torchs(*kinds: tuple[Any, str, dict[str, Any]]) -> Any:
    """Return a maker of torch's optimizers: (class, prefix of the parameters' names, options)."""

    def make(model: nn.Module) -> Any:
        optimizers = [
            kind([p for name, p in model.named_parameters() if name.startswith(prefix)], **options)
            for kind, prefix, options in kinds
        ]

        def step(lr: float) -> None:
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = lr
                optimizer.step()

        return step

    return make


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=name)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam", "adamw"])
def test_dense_updates_are_those_of_torch(name: str, decay: float) -> None:
    options: dict[str, Any] = {"weight_decay": decay}
    overrides = [f"optimizer={name}", f"optimizer.weight_decay={decay}"]
    if name == "sgd" and decay:
        options["momentum"] = 0.9
        overrides.append("optimizer.momentum=0.9")
    assert_close(steps(False, ours(*overrides)), steps(False, torchs((TORCHS[name], "", options))))


@pytest.mark.parametrize(
    ("name", "options"),
    [("sgd", {}), ("adagrad", {}), ("adagrad", {"initial_accumulator_value": 1e-4})],
)
def test_touched_rows_get_the_dense_update(name: str, options: dict[str, Any]) -> None:
    expected = steps(False, torchs((TORCHS[name], "", options)))
    overrides = [f"optimizer.{key}={value}" for key, value in options.items()]
    assert_close(steps(True, ours(f"optimizer={name}", *overrides)), expected)


def test_adam_on_touched_rows_is_torchs_sparse_adam() -> None:
    expected = steps(
        True,
        torchs((torch.optim.SparseAdam, "embedding", {}), (torch.optim.Adam, "linear", {})),
        "sum",  # with the small gradients of weights it would show that SparseAdam's eps is larger
    )
    assert_close(steps(True, ours("optimizer=adam"), "sum"), expected)


def test_decay_and_momentum_stand_still_for_untouched_rows() -> None:
    before = steps(True, lambda model: lambda lr: None)["embedding.weight"]
    for overrides in (["optimizer=adamw"], ["optimizer=sgd", "optimizer.momentum=0.9"]):
        after = steps(True, ours(*overrides))["embedding.weight"]
        assert torch.equal(after[[0, 6]], before[[0, 6]])  # no batch has them
        assert (after[1:6] != before[1:6]).any(1).all()
    # All rows, by contrast, decay where the user asks for that.
    dense = steps(False, ours("optimizer=adamw"))["embedding.weight"]
    assert (dense[[0, 6]] != before[[0, 6]]).all()


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam", "adamw"])
def test_optimizer_state_goes_round(name: str) -> None:
    config = make_config(f"optimizer={name}").optimizer
    momentum = make_config("optimizer=sgd", "optimizer.momentum=0.5").optimizer
    for options in (config, momentum):

        def make(model: nn.Module, options: Any = options) -> Any:
            state = {"optimizer": Optimizer(options, model.named_parameters())}

            def step(lr: float) -> None:
                state["optimizer"].step(lr)
                fresh = Optimizer(options, model.named_parameters())
                fresh.load_state_dict(state["optimizer"].state_dict())
                state["optimizer"] = fresh

            return step

        plain = steps(True, lambda m, o=options: Optimizer(o, m.named_parameters()).step)
        assert_close(steps(True, make), plain)


# --- work, counted -----------------------------------------------------------------------------


class LargestNew(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the size of the largest tensor that any operation makes."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            is_dense = isinstance(tensor, Tensor) and not tensor.is_sparse
            if is_dense and tensor.untyped_storage().data_ptr() not in self.known:
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam", "adamw"])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_costs_what_it_touches(name: str, mode: Mode) -> None:
    """A table of 100,000 rows, a batch of 7 tokens: nothing of the table's size is ever made."""
    model = EmbeddingBagClassifier(100_000, 4, 2, mode, padding_id=1)
    model.embedding.sparse = True
    optimizer = Optimizer(make_config(f"optimizer={name}").optimizer, model.named_parameters())
    known = [*model.parameters(), *optimizer.state_dict().values()]
    with LargestNew(*known) as dense_free:
        for _ in range(2):
            optimizer.zero_grad()
            model(*flat([[99_999, 5, 5], [], [7, 8, 9, 10]])).sum().backward()
            optimizer.clip_norm(1.0)
            optimizer.step(0.1)
    assert 0 < dense_free.numel < 200
    # The guard itself: a dense gradient is noticed.
    model.embedding.sparse = False
    with LargestNew(*known) as dense:
        model(*flat([[99_999, 5, 5]])).sum().backward()
    assert dense.numel == 400_000


@pytest.mark.parametrize("mode", MODES)
def test_python_does_not_walk_the_documents(mode: Mode) -> None:
    """A step calls as many Python functions for a thousand documents as for ten."""
    from textcls.data.bags import Bags
    from textcls.data.batches import batches
    from textcls.data.sampler import Sampler
    from textcls.data.windows import windows

    model = EmbeddingBagClassifier(ROWS, DIM, 2, mode, padding_id=0)
    optimizer = Optimizer(make_config().optimizer, model.named_parameters())

    def step(number: int) -> None:
        indices, offsets = flat([[1, 2, 3], [], [4]] * number)
        bags = Bags(indices, offsets.long(), torch.zeros(3 * number, dtype=torch.int64))

        def epoch() -> None:
            order = Sampler(bags.sizes, 3 * number, 1).epoch(0)
            for batch in batches(windows(bags, order)):
                optimizer.zero_grad()
                bags_of = batch.bags
                logits = model(bags_of.indices, bags_of.offsets, None, batch.transposed)
                logits.sum().backward()
                optimizer.step(0.1)

        epoch()  # what is imported or made at first use
        counts.append(python_calls(epoch))

    counts: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        # In this thread, where the calls are counted.
        patch.setattr("textcls.data.batches.usable_cpus", lambda: 1)
        step(3)
        step(1000)
    assert 30 < counts[0] == counts[1]
