from __future__ import annotations

import dataclasses
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textcls.data import batches as batching
from textcls.data.bags import Bags
from textcls.data.batches import batches, runs_of_bags
from textcls.data.sampler import epoch_order
from textcls.data.transpose import transpose
from textcls.data.windows import Window, in_order

Lists = list[list[int]]
LISTS = st.lists(st.lists(st.integers(0, 99), max_size=7), min_size=1, max_size=12)


def make(lists: Lists) -> Bags:
    lengths = torch.tensor([0] + [len(row) for row in lists])
    return Bags(
        torch.tensor([i for row in lists for i in row], dtype=torch.int32),
        lengths.cumsum(0),
        torch.arange(len(lists)),
        num_embeddings=100,
        weights=torch.arange(sum(map(len, lists))) / 8,
    )


def lists_of(bags: Bags) -> Lists:
    pairs = zip(bags.offsets[:-1], bags.offsets[1:], strict=True)
    return [bags.indices[start:stop].tolist() for start, stop in pairs]


def weights_of(bags: Bags) -> list[list[float]]:
    assert bags.weights is not None
    return [one.tolist() for one in torch.split(bags.weights, bags.lengths.tolist())]


def test_equal_bags_hold_the_same() -> None:
    lists = [[1, 2, 4], [4, 3], []]
    assert make(lists) == make(lists)
    assert make(lists) != make([[1, 2], [4, 4, 3], []])
    assert make(lists) != make([[1, 2, 4], [4, 3, 9], []])
    assert make(lists) != make(lists[:2])
    assert make(lists) != dataclasses.replace(make(lists), labels=torch.tensor([0, 1, 1]))
    assert make(lists) != dataclasses.replace(make(lists), num_embeddings=101)
    assert make(lists) != dataclasses.replace(make(lists), weights=None)
    assert make(lists) != dataclasses.replace(make(lists), weights=torch.zeros(5))
    assert make(lists) != lists
    assert dataclasses.replace(make(lists)) == make(lists)


def test_lengths_count_empty_bags() -> None:
    bags = make([[1, 2, 4], [4, 3, 2, 9], []])
    assert bags.offsets.tolist() == [0, 3, 7, 7]
    assert bags.lengths.tolist() == [3, 4, 0]
    assert (len(bags), bags.num_tokens) == (3, 7)


INDICES = torch.tensor([1, 2, 4], dtype=torch.int32)


@pytest.mark.parametrize(
    ("indices", "offsets", "labels", "message"),
    [
        (INDICES.long(), [0, 3], [0], "indices must be torch.int32"),
        (INDICES, torch.tensor([0, 3], dtype=torch.int32), [0], "offsets must be torch.int64"),
        (INDICES[None], [0, 3], [0], "one dimension"),
        (INDICES, [0, 1, 3], [0], "1 labels need 2 offsets, not 3"),
        (INDICES, [1, 3], [0], "first offset must be 0, not 1"),
        (INDICES, [0, 2], [0], "last offset must be the number of indices, 3, not 2"),
        (INDICES, [0, 4, 3], [0, 0], "never fall"),
        (INDICES, [0, 3], [-1], "labels must not be negative"),
        (INDICES - 2, [0, 3], [0], "token ids -1 to 2 must lie in 0 to 4"),
        (INDICES + 1, [0, 3], [0], "token ids 2 to 5 must lie in 0 to 4"),
    ],
)
def test_what_breaks_the_layout_is_refused(
    indices: Tensor, offsets: list[int] | Tensor, labels: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Bags(indices, torch.as_tensor(offsets), torch.tensor(labels), num_embeddings=5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3).double(), "weights must be torch.float32"),
        (torch.ones(2), "3 indices need as many weights, not 2"),
        (torch.tensor([1, -0.5, 2]), "weights of -0.5 to 2.0 must be finite and not negative"),
        (torch.tensor([1, torch.nan, 2]), "weights of nan to nan must be finite"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bags(INDICES, torch.tensor([0, 3]), torch.tensor([0]), weights=weights)


@given(LISTS, st.data())
def test_select_is_indexing(lists: Lists, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=20))
    selected = make(lists).select(torch.tensor(rows, dtype=torch.int64))
    assert lists_of(selected) == [lists[row] for row in rows]
    assert selected.labels.tolist() == rows
    dataclasses.replace(selected)  # passes the checks
    weights = weights_of(make(lists))
    assert weights_of(selected) == [weights[row] for row in rows]


@given(LISTS, st.data())
def test_slice_is_slicing_and_concatenate_undoes_it(lists: Lists, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(lists)))
    bags = make(lists)
    left, right = bags.slice(0, cut), bags.slice(cut, len(lists))
    assert lists_of(left) == lists[:cut]
    assert lists_of(right) == lists[cut:]
    assert Bags.concatenate([left, right]) == bags


def test_slice_shares_memory_and_knows_its_limits() -> None:
    bags = make([[1, 2], [3]])
    assert bags.slice(1, 2).indices.data_ptr() == bags.indices[2:].data_ptr()
    with pytest.raises(ValueError, match="no bags 1 to 3 among 2"):
        bags.slice(1, 3)


def test_concatenate_refuses_what_does_not_belong_together() -> None:
    bags = make([[1]])
    other = Bags(bags.indices, bags.offsets, bags.labels, num_embeddings=7)
    with pytest.raises(ValueError, match="different vocabularies"):
        Bags.concatenate([bags, other])
    with pytest.raises(ValueError, match="bags with weights and bags without"):
        Bags.concatenate([bags, dataclasses.replace(bags, weights=None)])
    with pytest.raises(ValueError, match="nothing"):
        Bags.concatenate([])


def test_to_moves_all() -> None:
    moved = make([[1, 2], []]).to("meta")
    assert {one.device.type for one in moved._tensors if one is not None} == {"meta"}


@given(LISTS, st.integers(1, 5), st.integers(0, 1000))
def test_an_epoch_sees_every_bag_once(lists: Lists, batch_size: int, seed: int) -> None:
    bags = make(lists)
    order = epoch_order(len(bags), seed, epoch=3)
    seen = []
    for batch in batches(in_order(bags, order, batch_size)):
        rows = batch.rows.tolist()
        assert lists_of(batch.bags) == [lists[row] for row in rows]
        assert batch.bags.labels.tolist() == rows
        seen += rows
    assert sorted(seen) == list(range(len(lists)))
    assert seen == order.tolist()


def test_skipped_batches_are_the_first_ones() -> None:
    bags = make([[i] for i in range(10)])
    order = epoch_order(10, seed=1, epoch=0)
    whole = [batch.rows.tolist() for batch in batches(in_order(bags, order, 3))]
    assert [batch.rows.tolist() for batch in batches(in_order(bags, order, 3, 2))] == whole[2:]


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("group", [1, 3, 16])
def test_neither_groups_nor_threads_show(
    cpus: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bags = make([[i, i] for i in range(50)])
    order = epoch_order(50, seed=1, epoch=0)
    monkeypatch.setattr("textcls.data.batches.usable_cpus", lambda: cpus)
    monkeypatch.setattr("textcls.data.batches.GROUP", group)
    made = list(batches(in_order(bags, order, 4)))
    assert [lists_of(batch.bags) for batch in made] == [
        [[row, row] for row in rows.tolist()] for rows in torch.split(order, 4)
    ]
    for batch in made:
        expected = transpose(batch.bags.indices, batch.bags.offsets)
        assert batch.transposed is not None
        assert torch.equal(batch.transposed.rows, expected.rows)
        assert torch.equal(batch.transposed.bags, expected.bags)
    made = list(batches(in_order(bags, order, 4), transposed=False))
    assert all(batch.transposed is None for batch in made)


def test_an_epoch_left_early_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textcls.data.batches.usable_cpus", lambda: 2)
    monkeypatch.setattr("textcls.data.batches.GROUP", 1)
    epoch = batches(in_order(make([[i] for i in range(50)]), epoch_order(50, 1, 0), 2))
    next(epoch)
    assert any(thread.name.startswith("made-ahead") for thread in threading.enumerate())
    epoch.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("made-ahead") for thread in threading.enumerate())


def test_what_fails_in_the_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textcls.data.batches.usable_cpus", lambda: 2)
    window = Window(make([[1]]), torch.tensor([7]), [0, 1], [1])
    with pytest.raises(IndexError):
        list(batches([window]))


def test_orders_differ_by_seed_and_epoch_and_repeat() -> None:
    orders = [epoch_order(100, seed, epoch).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(100, 1, 0).tolist() == orders[0]


@given(LISTS, st.integers(1, 10), st.integers(1, 4))
def test_runs_cover_all_bags_within_bounds(lists: Lists, max_tokens: int, max_bags: int) -> None:
    runs = list(runs_of_bags(make(lists), max_tokens, max_bags))
    assert [row for run in runs for row in lists_of(run)] == lists
    assert all(len(run) <= max_bags for run in runs)
    assert all(run.num_tokens <= max_tokens or len(run) == 1 for run in runs)


@given(
    lists=LISTS,
    batch_size=st.integers(1, 5),
    at_most=st.integers(1, 20),
    batches_at_most=st.integers(1, 3),
    skip=st.integers(0, 2),
)
def test_batches_made_ahead_are_bounded_in_tokens(
    lists: Lists, batch_size: int, at_most: int, batches_at_most: int, skip: int
) -> None:
    bags = make(lists)
    order = epoch_order(len(bags), 1, 0)
    gathered: list[tuple[int, int]] = []
    real = Bags.select

    def select(self: Bags, rows: Tensor) -> Bags:
        found = real(self, rows)
        gathered.append((found.num_tokens, -(-len(found) // batch_size)))
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Bags, "select", select)
        patched.setattr(batching, "GROUP_TOKENS", at_most)
        patched.setattr(batching, "GROUP", batches_at_most)
        made = list(batches(in_order(bags, order, batch_size, skip)))
    expected = [bags.select(rows) for rows in torch.split(order[skip * batch_size :], batch_size)]
    assert [batch.bags for batch in made] == [one for one in expected if len(one)]
    for tokens, count in gathered:
        assert count == 1 or tokens <= at_most
        assert count <= batches_at_most
