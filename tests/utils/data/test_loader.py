"""DataLoader in one process: batches, lengths, random streams, arguments and warnings."""

from __future__ import annotations

import multiprocessing
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from flambeau.utils.data import DataLoader, Subset, TensorDataset
from flambeau.utils.data._utils.fetch import gathered
from tests.utils.data.both import Run, assert_same
from tests.utils.data.sources import numbers, stream


def _epochs(t: Any, dataset: Any, **options: Any) -> list:
    loader = t.utils.data.DataLoader(dataset, **options)
    return [list(loader), list(loader), t.rand(1)]


def _tensors(t: Any, n: int = 10) -> Any:
    return t.utils.data.TensorDataset(t.arange(n), t.arange(2.0 * n).reshape(n, 2))


def _split(t: Any, **options: Any) -> list:
    parts = t.utils.data.random_split(_tensors(t), [0.6, 0.4])
    return [list(t.utils.data.DataLoader(part, batch_size=4, **options)) for part in parts]


PASSES: dict[str, Run] = {
    "in order": lambda t: _epochs(t, numbers(t), batch_size=4),
    "one by one": lambda t: _epochs(t, numbers(t)),
    "shuffled": lambda t: _epochs(t, numbers(t), batch_size=4, shuffle=True),
    "shuffled, dropped": lambda t: _epochs(t, numbers(t), batch_size=4, shuffle=1, drop_last=True),
    "generator": lambda t: _epochs(t, numbers(t), batch_size=4, shuffle=True,
                                   generator=t.Generator().manual_seed(1)),
    "sampler": lambda t: _epochs(t, numbers(t), batch_size=2, sampler=[3, 1, 4, 1, 5]),
    "batch sampler": lambda t: _epochs(t, numbers(t), batch_sampler=[[3], [1, 4], (1, 5)]),
    "weighted": lambda t: _epochs(t, numbers(t), batch_size=3, sampler=(
        t.utils.data.WeightedRandomSampler(range(10), 7))),
    "not batched": lambda t: _epochs(t, numbers(t), batch_size=None),
    "not batched, shuffled": lambda t: _epochs(t, numbers(t), batch_size=None, shuffle=True),
    "not batched, lists of keys": lambda t: _epochs(
        t, _tensors(t), batch_size=None,
        sampler=t.utils.data.BatchSampler(range(10), 4, drop_last=False)),
    "collated": lambda t: _epochs(t, numbers(t), batch_size=4, collate_fn=len),
    "a list": lambda t: _epochs(t, [1.5, 2.5, 3.5], batch_size=2),
    "a dict": lambda t: _epochs(t, {"a": 1, "b": 2}, sampler=["b", "a"]),
    "tensors": lambda t: _epochs(t, _tensors(t), batch_size=4, shuffle=True),
    "tensors, collated": lambda t: _epochs(t, _tensors(t), batch_size=4, collate_fn=list),
    "tensors, negative keys": lambda t: _epochs(t, _tensors(t), batch_sampler=[[-1, 3], [0, -10]]),
    "tensors, keys of bools": lambda t: _epochs(t, _tensors(t), batch_sampler=[[True, False]]),
    "tensors, keys of tensors": lambda t: _epochs(t, _tensors(t), batch_sampler=[
        t.tensor([1, 2])]),
    "tensors, far key": lambda t: _epochs(t, _tensors(t), batch_sampler=[[1, 10]]),
    "tensors, no keys": lambda t: _epochs(t, _tensors(t), batch_sampler=[[]]),
    "strided tensors": lambda t: _epochs(t, t.utils.data.TensorDataset(
        t.arange(24).reshape(4, 6).t()), batch_size=4, shuffle=True),
    "tensors in parts": lambda t: _split(t),
    "tensors in parts, shuffled": lambda t: _split(t, shuffle=True),
    "part of a part": lambda t: _epochs(t, t.utils.data.Subset(t.utils.data.Subset(
        _tensors(t), [5, 6, 7, -1]), [3, -1, 0]), batch_size=2),
    "part of a list": lambda t: _epochs(t, t.utils.data.Subset([1, 2, 3], [2, 0])),
    "part, far key": lambda t: _epochs(t, t.utils.data.Subset(_tensors(t), [5, 11]), batch_size=2),
    "stream": lambda t: _epochs(t, stream(t), batch_size=3),
    "stream, dropped": lambda t: _epochs(t, stream(t), batch_size=3, drop_last=True),
    "stream, not batched": lambda t: _epochs(t, stream(t), batch_size=None),
    "stream, shuffle off": lambda t: _epochs(t, stream(t), shuffle=False),
    "failing": lambda t: _epochs(t, numbers(t, bad=5), batch_size=4),
    "ending early": lambda t: _epochs(t, numbers(t, bad=5, error=StopIteration), batch_size=4),
}

LENGTHS: dict[str, Run] = {
    "batches": lambda t: [len(t.utils.data.DataLoader(range(n), batch_size=3, drop_last=drop))
                          for n in (3, 4) for drop in (False, True)],
    "not batched": lambda t: len(t.utils.data.DataLoader(range(5), batch_size=None)),
    "sampler": lambda t: len(t.utils.data.DataLoader(range(5), sampler=[1, 2])),
    "batch sampler": lambda t: len(t.utils.data.DataLoader(range(5), batch_sampler=[[1], [2]])),
    "stream": lambda t: len(t.utils.data.DataLoader(stream(t))),
    "stream, claimed": lambda t: [
        len(t.utils.data.DataLoader(stream(t, 7, 7), batch_size=size, drop_last=drop))
        for size in (2, 3) for drop in (False, True)],
    "iterator": lambda t: len(iter(t.utils.data.DataLoader(range(5), batch_size=2))),
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "workers": {"num_workers": -1}, "timeout": {"timeout": -1},
    "prefetch without workers": {"prefetch_factor": 2},
    "prefetch below zero": {"num_workers": 1, "prefetch_factor": -1},
    "persistent without workers": {"persistent_workers": True},
    "context without workers": {"multiprocessing_context": "fork"},
    "unknown context": {"num_workers": 1, "multiprocessing_context": "thread"},
    "wrong context": {"num_workers": 1, "multiprocessing_context": 5},
    "sampler and shuffle": {"sampler": [1], "shuffle": True},
    "batch sampler and size": {"batch_sampler": [[1]], "batch_size": 2},
    "batch sampler and shuffle": {"batch_sampler": [[1]], "shuffle": True},
    "batch sampler and sampler": {"batch_sampler": [[1]], "sampler": [1]},
    "batch sampler and drop": {"batch_sampler": [[1]], "drop_last": True},
    "no batches and drop": {"batch_size": None, "drop_last": True},
    "size": {"batch_size": 0}, "fractional size": {"batch_size": 2.5},
    "timeout in one process": {"timeout": 3},
    "pinned": {"pin_memory": True},
    "pinned by name": {"pin_memory": True, "pin_memory_device": "cuda"},
    "name alone": {"pin_memory_device": "cuda"},
    "many workers": {"num_workers": 4000},
}


@pytest.mark.parity
@pytest.mark.parametrize("name", PASSES)
def test_passes(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, PASSES[name])


@pytest.mark.parity
@pytest.mark.parametrize("name", LENGTHS)
def test_lengths(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, LENGTHS[name])


@pytest.mark.parity
@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name: str, torch_oracle: ModuleType) -> None:
    def use(t: Any) -> None:
        loader = t.utils.data.DataLoader(range(3), **ARGUMENTS[name])
        if loader.num_workers == 0:
            iter(loader)

    assert_same(torch_oracle, use)


@pytest.mark.parity
@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": [1]},
                                     {"batch_sampler": [[1]]}, {"shuffle": False}], ids=repr)
def test_arguments_of_streams(options: dict, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: len(t.utils.data.DataLoader(stream(t, 3, 3), **options)))


@pytest.mark.parity
def test_a_stream_longer_than_claimed_warns(torch_oracle: ModuleType) -> None:
    def too_long(t: Any) -> list:
        loader = t.utils.data.DataLoader(stream(t, 5, 3), batch_size=None)
        return [list(loader), len(loader), list(loader)]

    assert_same(torch_oracle, too_long)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset",
                                  "persistent_workers", "num_workers", "collate_fn"])
def test_attributes_that_are_fixed(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: setattr(t.utils.data.DataLoader(range(3)), name, None))


@pytest.mark.parity
def test_attributes(torch_oracle: ModuleType) -> None:
    names = ("batch_size", "drop_last", "num_workers", "prefetch_factor", "timeout", "pin_memory",
             "persistent_workers", "in_order", "generator", "worker_init_fn",
             "multiprocessing_context", "pin_memory_device")
    options: list[dict] = [{}, {"batch_sampler": [[1]]}, {"batch_size": None}, {"num_workers": 1}]
    assert_same(torch_oracle, lambda t: [
        [getattr(t.utils.data.DataLoader(range(3), **o), name) for name in names] for o in options])


@pytest.mark.parity
def test_interleaved_with_other_draws(torch_oracle: ModuleType) -> None:
    def interleaved(t: Any) -> list:
        loader = t.utils.data.DataLoader(range(6), batch_size=2, shuffle=True)
        seen = []
        for batch in loader:
            seen += [batch, t.rand(1), next(iter(loader))]
        return seen

    assert_same(torch_oracle, interleaved)


@pytest.mark.parity
def test_an_iterator_is_not_pickled(torch_oracle: ModuleType) -> None:
    import pickle

    assert_same(torch_oracle, lambda t: pickle.dumps(iter(t.utils.data.DataLoader(range(3)))))


def test_a_subclass_may_have_a_sampler_of_its_own() -> None:
    class Backwards(DataLoader):
        @property
        def _index_sampler(self) -> Any:
            return [[2], [1], [0]]

    assert [int(batch) for batch in Backwards(range(3))] == [2, 1, 0]


def test_contexts_are_kept() -> None:
    context = multiprocessing.get_context("spawn")
    loader = DataLoader(range(3), num_workers=1, multiprocessing_context=context)
    assert loader.multiprocessing_context is context
    assert DataLoader(range(3), num_workers=1, multiprocessing_context="spawn") \
        .multiprocessing_context.get_start_method() == "spawn"


class Doubling(TensorDataset):
    """A dataset whose samples are not the rows of its tensors."""

    def __getitem__(self, index: Any) -> tuple:
        return tuple(2 * x for x in super().__getitem__(index))


def test_rows_are_gathered_only_where_that_is_the_same() -> None:
    x = fl.arange(6.0).reshape(3, 2)
    plain = TensorDataset(x)
    assert gathered(plain, [2, 0])[0].tolist() == x[[2, 0]].tolist()
    assert gathered(Subset(plain, [2, 1]), [1])[0].tolist() == x[[1]].tolist()
    assert gathered(Doubling(x), [1]) is None
    assert gathered(TensorDataset(fl.ones(3, requires_grad=True)), [1]) is None
    assert gathered(TensorDataset(fl.nn.Parameter(fl.ones(3))), [1]) is None
    assert gathered(plain, [3]) is None
    assert gathered(plain, ["a"]) is None
    assert next(iter(DataLoader(Doubling(x), batch_size=2)))[0].tolist() == (2 * x[:2]).tolist()


def test_gathered_rows_have_memory_of_their_own() -> None:
    x = fl.zeros(4, 2)
    for (batch,) in DataLoader(TensorDataset(x), batch_size=2):
        batch += 1
    assert x.tolist() == fl.zeros(4, 2).tolist()
