"""The path of a GPU: on one where there is one, else the same code in Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import PROJECT, bags_of, make_config
from tests.interpreter import DEVICE, HAS_GPU
from tests.test_training import NAMES, TRAIN, VALIDATION, Recorder, make_model
from textcls.config import Config
from textcls.data.bags import Bags
from textcls.data.resident import LAYOUT_BYTES, NO_BAG, Resident
from textcls.data.sampler import Sampler, epoch_order
from textcls.data.transpose import transpose
from textcls.errors import Interrupted
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import WEIGHT_SCALE, TransposedEmbeddingBag
from textcls.pooling import KERNEL_MODES
from textcls.task.objective import Objective
from textcls.training import choice, loop
from textcls.training.checkpoint import Checkpoints, Progress
from textcls.training.optimizer import Optimizer
from textcls.training.steps import Steps
from textcls.values import Mode

if sys.platform != "linux":
    pytest.skip("Triton is for Linux", allow_module_level=True)

from textcls.model import resident_bag
from textcls.model.kernels import TILE
from textcls.model.resident_bag import ResidentEmbeddingBag
from textcls.training.captured import CapturedSteps, rates_of

PLENTY = 1 << 30  # bytes
# Two whole batches an epoch, and half of one: the interpreter takes its time for each row. Some
# have more entries than a tile, others fewer, and there are empty bags.
SMALL_TRAIN, BATCH = TRAIN.slice(12, 37), 10


# --- The layout -----------------------------------------------------------------------------------


@given(
    rows=st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=1, max_size=30),
    batch_size=st.integers(1, 9),
    tokens_at_once=st.integers(0, 60),
    is_whole=st.booleans(),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=50)
def test_the_layout_holds_each_batch_and_its_transpose(
    rows: list[list[int]],
    batch_size: int,
    tokens_at_once: int,
    is_whole: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    bags = bags_of(rows, 10)
    layout = make_layout(bags, batch_size, tokens_at_once, is_whole)
    first_step = data.draw(st.integers(0, layout.num_steps - 1))
    order = epoch_order(len(bags), seed, 0)
    seen = []
    for chunk, counts in layout.chunks(order, first_step):
        for step, tokens in enumerate(counts):
            seen.append(chunk[step])
            numbers = order[chunk[step] * batch_size :][:batch_size]
            batch = bags.select(numbers)
            assert tokens == batch.num_tokens <= layout.max_tokens
            slots = slice(step * batch_size, (step + 1) * batch_size)
            missing = batch_size - len(batch)
            assert layout.labels[slots].tolist() == batch.labels.tolist() + missing * [NO_BAG]
            found = [
                layout.indices[start : start + length].tolist()
                for start, length in zip(layout.starts[slots], layout.lengths[slots], strict=True)
            ]
            assert found == [rows[i] for i in numbers.tolist()] + missing * [[]]

            turned = transpose(batch.indices, batch.offsets)
            first, last = layout.step_entries[step], layout.step_entries[step + 1]
            first_row, last_row = layout.step_rows[step], layout.step_rows[step + 1]
            assert layout.bags[first:last].tolist() == turned.bags.tolist()
            assert layout.row_tokens[first_row:last_row].tolist() == turned.rows.tolist()
            starts = layout.row_starts[first_row : last_row + 1] - first
            assert starts.tolist() == turned.offsets.tolist() or not tokens
            row_of = torch.repeat_interleave(turned.offsets.diff()) + first_row.cpu()
            assert layout.rows[first:last].tolist() == row_of.tolist()
    assert seen == list(range(first_step, layout.num_steps))


def make_layout(bags: Bags, batch_size: int, tokens_at_once: int, is_whole: bool) -> Resident:
    """Lay out with so little memory that an epoch takes many chunks; or the split does not fit."""
    whole = 4 * bags.num_tokens + 16 * len(bags)
    free_bytes = 2 * whole + LAYOUT_BYTES * tokens_at_once if is_whole else whole
    layout = Resident(bags, 10, batch_size, DEVICE, free_bytes)
    assert layout.is_whole == is_whole
    return layout


# --- The kernels ----------------------------------------------------------------------------------


def pooled_by_loops(
    embedding: TransposedEmbeddingBag,
    weight: Tensor,
    weighing: Tensor | None,
    rows: list[list[int]],
) -> Tensor:
    """Pool bag by bag, in plain float64."""
    vectors = []
    for row in rows:
        ids = torch.tensor([i for i in row if i != embedding.padding_idx], dtype=torch.int64)
        found = weight[ids]
        if weighing is not None:
            found = found * (1 + WEIGHT_SCALE * weighing[ids])
        empty = weight.new_zeros(weight.shape[1])
        parts = {
            "mean": found.mean(0) if len(ids) else empty,
            "sum": found.sum(0),
            "weighted_sum": found.sum(0),
            "max": found.max(0).values if len(ids) else empty,
        }
        vectors.append(torch.cat([parts[part] for part in embedding.mode.split("+")]))
    return torch.stack(vectors)


# Rows that reach over two tiles and over many, and some that are in one bag only.
JOINED = 4  # parts that are added at a time, here: so that a row has more of them
LONG = [[2] * (TILE * (JOINED + 3)) + [3] * TILE, [2, 4, 3, 3], [], [4] * 3 * TILE + [1, 5, 2, 6]]


# The interpreter takes seconds for each: these two have all branches of the kernels.
MODES = [
    mode if mode in ("mean+sum+max", "weighted_sum") else pytest.param(mode, marks=pytest.mark.slow)
    for mode in KERNEL_MODES
]


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rows", "dim"), [(LONG, 5), ([[3], [2, 7, 2, 1], [], [5, 6, 3]], 70)])
def test_pooling_and_gradient_against_float64(
    mode: Mode, dense: bool, rows: list[list[int]], dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident_bag, "JOINED", JOINED)
    torch.manual_seed(1)
    embedding = TransposedEmbeddingBag(8, dim, mode, padding_idx=1, sparse=not dense)
    torch.nn.init.normal_(embedding.weight)
    if embedding.weighing is not None:
        torch.nn.init.normal_(embedding.weighing)
    embedding.to(DEVICE)
    layout = Resident(bags_of(rows, 8), 8, 5, DEVICE, PLENTY)  # the fifth slot has no bag
    counter = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    bag = ResidentEmbeddingBag(embedding, layout, counter, num_programs=3)
    assert len(list(layout.chunks(torch.arange(len(rows))))) == 1
    for buffer in (bag.pooled, bag._parts, bag._scales, bag.grad_weight, bag.grad_weighing):
        if buffer is not None:
            buffer.fill_(float("nan"))

    pooled = bag.forward()
    weight = embedding.weight.detach().cpu().double().requires_grad_()
    weighing = None if embedding.weighing is None else embedding.weighing.detach().cpu().double()
    if weighing is not None:
        weighing.requires_grad_()
    expected = pooled_by_loops(embedding, weight, weighing, [*rows, []])
    torch.testing.assert_close(pooled.cpu().double(), expected.detach(), rtol=1e-5, atol=1e-5)

    grad = torch.randn(expected.shape)
    bag.backward(grad.to(DEVICE))
    wanted = torch.autograd.grad(expected, [weight] + ([] if weighing is None else [weighing]),
                                 grad.double())  # fmt: skip
    touched = sorted({token for row in rows for token in row})
    squares = 0.0
    for found, exact in zip((bag.grad_weight, bag.grad_weighing), wanted, strict=False):
        assert found is not None
        exact[1] = 0  # padding
        squares += float(exact.square().sum())
        by_row = exact if dense else exact[touched]
        error = (found[: len(by_row)].cpu().double() - by_row).norm() / by_row.norm()
        assert error < 1e-5
    assert float(bag.squares.sum()) == pytest.approx(squares, rel=1e-4)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_tables_of_halves_are_pooled_and_updated_in_float32(kind: torch.dtype) -> None:
    rows = [[3, 4, 5] * 50, [2, 7, 2], []]
    embedding = TransposedEmbeddingBag(8, 4, "mean+sum+max", sparse=True)
    torch.nn.init.normal_(embedding.weight)
    embedding.to(DEVICE, kind)
    layout = Resident(bags_of(rows, 8), 8, 3, DEVICE, PLENTY)
    counter = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    bag = ResidentEmbeddingBag(embedding, layout, counter, num_programs=2)
    list(layout.chunks(torch.arange(len(rows))))
    weight = embedding.weight.detach().cpu().double()
    expected = pooled_by_loops(embedding, weight, None, rows)
    torch.testing.assert_close(bag.forward().cpu().double(), expected, rtol=1e-5, atol=1e-5)


# --- The steps ------------------------------------------------------------------------------------


def train_steps(
    kind: type[Any],
    mode: Mode,
    config: Config,
    sparse: bool,
    objective: Objective,
    free_bytes: int = PLENTY,
) -> tuple[EmbeddingBagClassifier, Optimizer, list[Any]]:
    torch.manual_seed(0)
    model = EmbeddingBagClassifier(32, 8, 3, mode, padding_id=1).to(DEVICE)
    model.embedding.sparse = sparse
    optimizer = Optimizer(config.optimizer, model.named_parameters())
    args = (model, optimizer, SMALL_TRAIN, BATCH, objective, lambda step: 0.1 - 0.01 * step)
    if kind is Steps:
        args = (model, optimizer, SMALL_TRAIN.to(DEVICE), *args[3:])
        taken: Any = Steps(*args)
    else:
        taken = CapturedSteps(*args, total_steps=6, free_bytes=free_bytes)
    heard = []
    for epoch in range(2):
        sampled = Sampler(SMALL_TRAIN.sizes, BATCH, 0).epoch(epoch)
        tokens = list(taken.epoch(sampled, Progress(epoch=epoch)))
        heard.append((tokens, taken.loss_sum.item(), taken.tally.tolist()))
    return model, optimizer, heard


def assert_same_training(mode: Mode, config: Config, sparse: bool, objective: Objective) -> None:
    model, optimizer, heard = train_steps(Steps, mode, config, sparse, objective)
    ours, our_optimizer, our_heard = train_steps(CapturedSteps, mode, config, sparse, objective)
    for plain, captured in zip(heard, our_heard, strict=True):
        assert captured[0] == plain[0]
        assert captured[1] == pytest.approx(plain[1], rel=1e-5)
        assert captured[2] == plain[2]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    for name, value in optimizer.state_dict().items():
        torch.testing.assert_close(
            our_optimizer.state_dict()[name], value, rtol=1e-4, atol=1e-6, check_device=False
        )


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_captured_steps_train_as_the_plain_ones_do(mode: Mode, sparse: bool) -> None:
    config = make_config()
    assert_same_training(mode, config, sparse, Objective())


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam", "adamw"])
def test_every_optimizer_is_torchs(name: str) -> None:
    decay = "optimizer.weight_decay=0.1"
    more = ["optimizer.momentum=0.9"] if name == "sgd" else []
    config = make_config(f"optimizer={name}", decay, *more)
    assert_same_training("mean", config, False, Objective())


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_every_optimizer_is_torchs_on_touched_rows(name: str) -> None:
    config = make_config(f"optimizer={name}", "optimizer.weight_decay=0")
    assert_same_training("sum", config, True, Objective())


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("values", [(0.5, 2.0, 1.0), (0.0, 0.0, 0.0)])
def test_every_objective_is_torchs(values: tuple[float, ...], sparse: bool) -> None:
    config = make_config()
    weights = torch.tensor(values, device=DEVICE)
    adjustment = torch.tensor([0.0, -1.0, 2.0], device=DEVICE)
    objective = Objective(weights, label_smoothing=0.1, clip_norm=0.05, adjustment=adjustment)
    assert_same_training("weighted_sum", config, sparse, objective)


def test_how_much_memory_is_free_changes_no_bit() -> None:
    config = make_config()
    whole, _, heard = train_steps(CapturedSteps, "mean+max", config, True, Objective())
    streamed, _, again = train_steps(CapturedSteps, "mean+max", config, True, Objective(), 0)
    assert again == heard
    for name, value in whole.state_dict().items():
        assert torch.equal(streamed.state_dict()[name], value)


def test_rates_are_the_learning_rate_and_adams_corrections() -> None:
    config = make_config("optimizer=adam").optimizer
    rates = rates_of(config, lambda step: 0.1 * (step + 1), 3)
    beta1, beta2 = config.betas
    for step, row in enumerate(rates.tolist()):
        lr = 0.1 * (step + 1)
        expected = [lr, lr / (1 - beta1 ** (step + 1)), (1 - beta2 ** (step + 1)) ** -0.5]
        assert row == pytest.approx(expected, rel=1e-6)


# --- The whole training ---------------------------------------------------------------------------


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any device train by captured steps."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * PLENTY, 4 * PLENTY))
    monkeypatch.setattr(loop, "steps_on", lambda *args, **_: CapturedSteps(*args[:7]))


def fit(config: Config, folder: Path, recorder: Recorder) -> EmbeddingBagClassifier:
    model = make_model(config).to(DEVICE)
    loop.fit(
        model, SMALL_TRAIN, VALIDATION.slice(0, 20), NAMES, config, Checkpoints(folder),
        recorder,
    )  # fmt: skip
    return model


@pytest.mark.usefixtures("captured")
@pytest.mark.parametrize(
    "stop_at", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)]
)
def test_an_interrupted_training_ends_as_if_it_had_not(stop_at: int, tmp_path: Path) -> None:
    config = make_config("trainer.epochs=2", f"trainer.batch_size={BATCH}", "model.dropout=0.3")
    whole, parted = Recorder(), Recorder(signal_at=stop_at)
    expected = fit(config, tmp_path / "whole", whole)
    with pytest.raises(Interrupted):
        fit(config, tmp_path / "parted", parted)
    found = fit(config, tmp_path / "parted", parted)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    for record, again in zip(whole.records, parted.records, strict=True):
        assert again["train"] == record["train"]
        assert again["validation"] == record["validation"]


@pytest.mark.usefixtures("captured")
def test_a_whole_training_is_that_of_the_plain_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("trainer.epochs=2", f"trainer.batch_size={BATCH}", "model.dropout=0")
    recorder, plain = Recorder(), Recorder()
    fit(config, tmp_path / "captured", recorder)
    monkeypatch.setattr(
        loop, "steps_on", lambda m, o, train, *args, **_: Steps(m, o, train.to(DEVICE), *args[:3])
    )
    fit(config, tmp_path / "plain", plain)
    for record, expected in zip(recorder.records, plain.records, strict=True):
        assert record["train"]["loss"] == pytest.approx(expected["train"]["loss"], rel=1e-5)
        for metric in ("loss", "accuracy", "macro_f1"):
            found = record["validation"][metric]
            assert found == pytest.approx(expected["validation"][metric], rel=1e-5)
        assert record["learning_rate"] == expected["learning_rate"]


# --- With and without what a GPU needs ------------------------------------------------------------


def test_why_the_kernels_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choice.no_triton(DEVICE) is None

    class Broken:
        def __getitem__(self, grid: Any) -> Any:
            raise RuntimeError("Failed to find C compiler.\nPlease install one.")

    monkeypatch.setattr("textcls.model.kernels.probe_kernel", Broken())
    reason = choice.no_triton(DEVICE)
    assert reason == "Triton cannot be used here (Failed to find C compiler.)"
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert choice.no_triton(DEVICE) == "Triton is not installed"


@pytest.mark.slow
def test_the_kernels_compile_for_gpus_without_atomics_or_spills() -> None:
    """A GPU is not needed to compile for one; how each kernel came out is read off its code."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, str(PROJECT / "tests" / "compile_kernels.py")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=PROJECT, check=False
    )
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(report["arch"], report["dim"]) for report in reports} == {
        (80, 32),
        (90, 32),
        (90, 300),
    }
    assert {report["kernel"] for report in reports} == {
        "pool_kernel", "credit_kernel", "join_kernel", "settle_kernel", "update_kernel"
    }  # fmt: skip
    for report in reports:
        assert report["local"] == report["stack"] == 0, report
        assert not report["atomics"], report
        # Four numbers at a time: the widest load there is.
        assert report["wide_loads"] > 0, report


class NoWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operators that make the host wait for a GPU, on any device."""

    WAITING = (
        "_local_scalar_dense", "nonzero", "masked_select", "unique", "unique_consecutive",
        "unique_dim", "_unique2", "equal", "bincount", "histc",
    )  # fmt: skip

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        kwargs = kwargs or {}
        assert name not in self.WAITING, f"{name} waits for the device"
        if name == "repeat_interleave":
            assert kwargs.get("output_size") is not None, "it waits to count what it gives"
        if name in ("index", "index_put", "index_put_"):
            assert all(i is None or i.dtype != torch.bool for i in args[1]), "it counts a mask"
        return func(*args, **kwargs)


@pytest.mark.parametrize("mode", ["mean+sum+max", "weighted_sum"])
@pytest.mark.parametrize("fits", [True, False])
def test_no_operator_of_an_epoch_makes_the_host_wait(mode: Mode, fits: bool) -> None:
    """Rows are touched ones; losses are weighted and smoothed; gradients are clipped."""
    config = make_config("optimizer=adam").optimizer
    model = EmbeddingBagClassifier(32, 8, 3, mode, padding_id=1, dropout=0.5).to(DEVICE)
    model.embedding.sparse = True
    optimizer = Optimizer(config, model.named_parameters())
    objective = Objective(torch.tensor([0.5, 2.0, 1.0], device=DEVICE), 0.1, 1.0)
    taken = CapturedSteps(
        model, optimizer, SMALL_TRAIN, BATCH, objective, lambda step: 0.1, 3, PLENTY if fits else 0
    )
    assert taken.layout.is_whole == fits
    epoch = Sampler(SMALL_TRAIN.sizes, BATCH, 0).epoch(0)
    with NoWaiting():  # type: ignore[no-untyped-call]
        for _ in taken.epoch(epoch, Progress()):
            pass


def test_the_refusal_refuses() -> None:
    tensor = torch.arange(4)
    with NoWaiting():  # type: ignore[no-untyped-call]
        for waits in (tensor.sum().item, tensor.nonzero, lambda: tensor[tensor > 2], tensor.unique):
            with pytest.raises(AssertionError):
                waits()


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU: the host waits for nothing in an epoch")
def test_nothing_in_an_epoch_waits_for_the_device() -> None:
    config = make_config()
    torch.manual_seed(0)
    model = EmbeddingBagClassifier(32, 8, 3, "mean+max", padding_id=1, dropout=0.5).to(DEVICE)
    model.embedding.sparse = True
    optimizer = Optimizer(config.optimizer, model.named_parameters())
    taken = CapturedSteps(model, optimizer, TRAIN, 16, Objective(), lambda step: 0.1, 100)
    sampler = Sampler(TRAIN.sizes, 16, 0)
    list(taken.epoch(sampler.epoch(0), Progress()))
    epoch = sampler.epoch(1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        list(taken.epoch(epoch, Progress(epoch=1)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert taken._graph is not None
