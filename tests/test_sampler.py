from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.test_sharded import KINDS, make_bags, sharded
from textcls.data.bags import Bags
from textcls.data.batches import batches
from textcls.data.sampler import WINDOW_TOKENS, Epoch, Sampler, epoch_order
from textcls.data.shard import shard_name
from textcls.data.sharded import ShardedBags, Split
from textcls.data.windows import windows

Sizes = Sequence[tuple[int, int]]
SIZES = st.lists(
    st.integers(0, 8).flatmap(lambda bags: st.tuples(st.just(bags), st.integers(0, 9 * bags))),
    min_size=1,
    max_size=6,
).filter(lambda sizes: any(num_bags for num_bags, _ in sizes))


def samplers() -> st.SearchStrategy[Sampler]:
    return st.builds(
        Sampler,
        sizes=SIZES,
        batch_size=st.integers(1, 20),
        seed=st.integers(0, 2**63 - 1),
        window_tokens=st.integers(0, 120),
    )


def steps_of(sampler: Sampler, epoch: int = 0) -> list[list[int]]:
    of_epoch = sampler.epoch(epoch)
    return [of_epoch.batch(step).tolist() for step in range(of_epoch.num_steps)]


@given(samplers(), st.integers(0, 3))
def test_an_epoch_has_every_bag_once(sampler: Sampler, epoch: int) -> None:
    steps, size = steps_of(sampler, epoch), sampler.batch_size
    num_bags = sum(bags for bags, _ in sampler.sizes)
    assert sorted(number for step in steps for number in step) == list(range(num_bags))
    assert len(steps) == -(-num_bags // size)
    assert all(len(step) == size for step in steps[:-1])
    assert 0 < len(steps[-1]) <= size
    assert steps_of(sampler, epoch) == steps


@given(samplers(), st.integers(1, 4))
def test_what_processes_have_is_together_what_one_has(sampler: Sampler, world_size: int) -> None:
    parts = [
        steps_of(dataclasses.replace(sampler, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    joined = [list(chain(*of_step)) for of_step in zip(*parts, strict=True)]
    assert joined == steps_of(sampler)
    for of_step in zip(*parts, strict=True):
        lengths = [len(part) for part in of_step]
        assert max(lengths) - min(lengths) <= 1


@given(samplers())
def test_a_window_has_no_more_tokens_than_it_may(sampler: Sampler) -> None:
    starts = accumulate((bags for bags, _ in sampler.sizes), initial=0)
    tokens_of = {
        range(start, start + bags): tokens
        for start, (bags, tokens) in zip(starts, sampler.sizes, strict=False)
        if bags
    }
    seen = []
    for span in sampler.epoch(0).spans:
        numbers = span.numbers.tolist()
        assert numbers == sorted(numbers)
        tokens = [tokens_of[shard] for shard in span.bags if shard]
        assert sampler.window_tokens is not None
        assert len(tokens) <= 1 or sum(tokens) <= sampler.window_tokens
        seen += numbers
    assert sorted(seen) == list(range(sum(bags for bags, _ in sampler.sizes)))


@given(st.integers(1, 50), st.integers(1, 10), st.integers(0, 2**63 - 1), st.integers(0, 3))
def test_one_shard_is_taken_in_the_order_of_the_epoch(
    num_bags: int, batch_size: int, seed: int, epoch: int
) -> None:
    order = epoch_order(num_bags, seed, epoch)
    sampler = Sampler([(num_bags, 100)], batch_size, seed)
    assert steps_of(sampler, epoch) == [part.tolist() for part in torch.split(order, batch_size)]
    # So are several that are in one window.
    several = dataclasses.replace(sampler, sizes=[(num_bags - 1, 50), (1, 50)], window_tokens=100)
    assert steps_of(several, epoch) == steps_of(sampler, epoch)


def test_windows_are_of_a_size_with_the_shards() -> None:
    for tokens, wanted in ((1000, 8), (WINDOW_TOKENS // 2 - 1, 2)):
        spans = Sampler([(3, tokens)] * 40, 4, 0).epoch(0).spans
        assert len(spans[0].bags) == wanted


def test_orders_do_not_change() -> None:
    """Recorded runs go on in the order in which they began."""
    assert epoch_order(10, 1, 0).tolist() == [8, 1, 4, 2, 9, 7, 0, 6, 3, 5]
    sampler = Sampler([(3, 30), (4, 40), (3, 30)], 4, 1, window_tokens=70)
    assert steps_of(sampler) == [[4, 3, 6, 7], [9, 5, 8, 1], [0, 2]]


def test_shards_meet_others_in_each_epoch() -> None:
    sampler = Sampler([(5, 1)] * 6, 5, 0, window_tokens=2)
    together = {sampler.epoch(number).spans[0].bags for number in range(20)}
    assert len(together) > 5
    # Nor is what is drawn for one window what is drawn for another.
    epoch = sampler.epoch(0)
    assert len({tuple(epoch.places(window).tolist()) for window in range(3)}) == 3


def brought(split: Split, epoch: Epoch, first_step: int = 0) -> Iterator[tuple[list[int], Bags]]:
    """Yield the numbers of the bags of each step, and these bags."""
    for window in windows(split, epoch, first_step):
        assert len(window.tokens) == len(window.cuts) - 1
        for (start, stop), tokens in zip(pairwise(window.cuts), window.tokens, strict=True):
            places = window.order[start:stop]
            bags = window.bags.select(places)
            assert bags.num_tokens == tokens
            yield window.numbers_of(places).tolist(), bags


@pytest.mark.parametrize("kind", KINDS)
def test_windows_bring_the_bags_of_each_step(kind: str, tmp_path: Path) -> None:
    bags = make_bags(kind)
    found = sharded(bags, tmp_path, [3, 11, 1, 8, 8, 0, 9])
    for world_size, batch_size, window_tokens in ((1, 4, 50), (2, 7, 40), (3, 16, 30), (1, 40, 0)):
        for rank in range(world_size):
            sampler = Sampler(found.sizes, batch_size, 3, rank, world_size, window_tokens)
            epoch = sampler.epoch(1)
            for first_step in range(epoch.num_steps + 1):
                steps = list(brought(found, epoch, first_step))
                assert len(steps) == epoch.num_steps - first_step
                for step, (numbers, of_step) in enumerate(steps, first_step):
                    expected = epoch.batch(step)
                    assert numbers == expected.tolist()
                    assert of_step == bags.select(expected)


def test_processes_take_their_part_of_bags_in_memory() -> None:
    bags = make_bags("weighted")
    for rank in range(3):
        epoch = Sampler(bags.sizes, 7, 5, rank, 3).epoch(0)
        for step, (numbers, of_step) in enumerate(brought(bags, epoch, 2), 2):
            assert numbers == epoch.batch(step).tolist()
            assert of_step == bags.select(epoch.batch(step))


def test_shards_before_the_first_step_are_not_read(tmp_path: Path) -> None:
    bags = make_bags("plain")
    found = sharded(bags, tmp_path, [10, 10, 10, 10])
    assert len(found.targets.ids) == 40
    epoch = Sampler(found.sizes, 5, 0, window_tokens=0).epoch(0)
    expected = list(brought(found, epoch, 5))
    first = epoch.spans[epoch.first_window(5)]
    assert first.start == 20
    gone = {span.bags[0].start // 10 for span in epoch.spans if span.start < 20} - {0}
    for number in gone:  # (of the first shard the header is read)
        (tmp_path / shard_name("train", number)).unlink()
    assert gone
    assert list(brought(found, epoch, 5)) == expected


def test_no_more_than_two_windows_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sharded(make_bags("plain"), tmp_path, [5] * 8)
    alive: list[weakref.ref[Bags]] = []
    most = 0
    real = ShardedBags.read

    def read(self: ShardedBags, rows: torch.Tensor, after: Bags | None = None) -> Bags:
        nonlocal most
        bags = real(self, rows, after)
        alive.append(weakref.ref(bags))
        most = max(most, sum(one() is not None for one in alive))
        return bags

    monkeypatch.setattr(ShardedBags, "read", read)
    epoch = Sampler(found.sizes, 2, 0, window_tokens=0).epoch(0)
    for batch in batches(windows(found, epoch)):
        assert len(batch.rows) == 2
    assert len(alive) == 8
    assert most <= 2
    # Nor is there a thread when the rest is not wanted.
    for _ in batches(windows(found, epoch)):
        break
    assert not any(thread.name.startswith("made-ahead") for thread in threading.enumerate())
