"""Samplers: PyTorch's order from the same seed, and what they refuse."""

from __future__ import annotations

from types import ModuleType

import pytest

from flambeau.utils.data import BatchSampler
from tests.utils.data.both import Run, assert_same

CASES: dict[str, Run] = {
    "sequential": lambda t: list(t.utils.data.SequentialSampler("abc")),
    "random": lambda t: [list(t.utils.data.RandomSampler(range(9))) for _ in range(2)],
    "random, large": lambda t: list(t.utils.data.RandomSampler(range(3000))),
    "random, fewer": lambda t: list(t.utils.data.RandomSampler(range(9), num_samples=4)),
    "random, more": lambda t: list(t.utils.data.RandomSampler(range(9), num_samples=23)),
    "random, replaced": lambda t: list(
        t.utils.data.RandomSampler(range(9), replacement=True, num_samples=70)),
    "random, replaced, one block": lambda t: list(
        t.utils.data.RandomSampler(range(9), replacement=True, num_samples=32)),
    "random, generator": lambda t: [
        list(t.utils.data.RandomSampler(range(9), generator=g)) + t.rand(1, generator=g).tolist()
        for g in [t.Generator().manual_seed(3)]],
    "random, generator, replaced": lambda t: [
        list(t.utils.data.RandomSampler(range(9), True, 40, g)) + t.rand(1, generator=g).tolist()
        for g in [t.Generator().manual_seed(3)]],
    "random, begun": lambda t: next(iter(t.utils.data.RandomSampler(range(9)))),
    "random, length": lambda t: len(t.utils.data.RandomSampler(range(9), num_samples=4)),
    "random, empty": lambda t: t.utils.data.RandomSampler([]),
    "random, nothing to draw from": lambda t: list(t.utils.data.RandomSampler([], num_samples=2)),
    "random, wrong count": lambda t: t.utils.data.RandomSampler(range(9), num_samples=0),
    "random, fractional count": lambda t: t.utils.data.RandomSampler(range(9), num_samples=1.5),
    "random, wrong flag": lambda t: t.utils.data.RandomSampler(range(9), replacement=1),
    "subset": lambda t: list(t.utils.data.SubsetRandomSampler([5, 7, 7, 1])),
    "subset, generator": lambda t: list(
        t.utils.data.SubsetRandomSampler("abcd", generator=t.Generator().manual_seed(1))),
    "subset, length": lambda t: len(t.utils.data.SubsetRandomSampler([5, 7])),
    "weighted": lambda t: list(t.utils.data.WeightedRandomSampler([0.1, 3, 0.5], 20)),
    "weighted, not replaced": lambda t: list(
        t.utils.data.WeightedRandomSampler([0.1, 3, 0.5, 2], 3, replacement=False)),
    "weighted, generator": lambda t: list(t.utils.data.WeightedRandomSampler(
        t.ones(6), 9, generator=t.Generator().manual_seed(2))),
    "weighted, weights": lambda t: t.utils.data.WeightedRandomSampler([1, 2], 2).weights,
    "weighted, wrong shape": lambda t: t.utils.data.WeightedRandomSampler([[1.0, 2.0]], 2),
    "weighted, wrong count": lambda t: t.utils.data.WeightedRandomSampler([1.0], True),
    "weighted, wrong flag": lambda t: t.utils.data.WeightedRandomSampler([1.0], 1, "no"),
    "weighted, too many": lambda t: list(
        t.utils.data.WeightedRandomSampler([1.0, 2.0], 3, replacement=False)),
    "batches": lambda t: list(t.utils.data.BatchSampler(range(10), 3, False)),
    "batches, dropped": lambda t: list(t.utils.data.BatchSampler(range(10), 3, True)),
    "batches, fitting": lambda t: list(t.utils.data.BatchSampler(range(9), 3, True)),
    "batches, length": lambda t: [
        len(t.utils.data.BatchSampler(range(n), 3, drop))
        for n in (0, 9, 10) for drop in (False, True)],
    "batches, unsized": lambda t: len(t.utils.data.BatchSampler(iter(range(3)), 3, True)),
    "batches, wrong size": lambda t: t.utils.data.BatchSampler(range(10), True, False),
    "batches, zero": lambda t: t.utils.data.BatchSampler(range(10), 0, False),
    "batches, wrong flag": lambda t: t.utils.data.BatchSampler(range(10), 3, None),
    "abstract": lambda t: list(t.utils.data.Sampler()),
}
SHARED: dict[str, dict] = {
    "shuffled": {}, "seeded": {"seed": 9}, "in order": {"shuffle": False},
    "dropped": {"drop_last": True}, "dropped in order": {"drop_last": True, "shuffle": False},
}


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_same_as_torch(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, CASES[name])


@pytest.mark.parity
@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize(("length", "replicas"), [(10, 3), (9, 3), (2, 5), (11, 1), (7, 4)])
def test_distributed(name: str, length: int, replicas: int, torch_oracle: ModuleType) -> None:
    def every_rank(t: ModuleType) -> list:
        found = []
        for rank in range(replicas):
            sampler = t.utils.data.DistributedSampler(range(length), replicas, rank,
                                                      **SHARED[name])
            found.append((len(sampler), list(sampler)))
            sampler.set_epoch(4)
            found.append(list(sampler))
        return found

    assert_same(torch_oracle, every_rank)


@pytest.mark.parity
@pytest.mark.parametrize("rank", [-1, 3])
def test_distributed_rank(rank: int, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: t.utils.data.DistributedSampler(range(9), 3, rank))


def test_batches_come_as_they_are_drawn() -> None:
    drawn = []

    def keys():  # type: ignore[no-untyped-def]
        for key in range(100):
            drawn.append(key)
            yield key

    batches = iter(BatchSampler(keys(), 4, False))
    assert next(batches) == [0, 1, 2, 3]
    assert len(drawn) == 4
