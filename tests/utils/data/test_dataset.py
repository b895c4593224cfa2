"""Datasets, and datasets made of others: PyTorch's samples, splits and errors."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from flambeau.utils import data
from tests.utils.data.both import Run, assert_same


def _squares(t: Any, n: int = 10) -> Any:
    class Squares(t.utils.data.Dataset):
        def __len__(self) -> int:
            return n

        def __getitem__(self, index: int) -> int:
            return index * index

    return Squares()


def _at_once(t: Any, extra: int = 0) -> Any:
    class AtOnce(t.utils.data.Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> int:
            return index

        def __getitems__(self, indices: list) -> list:
            return [-index for index in indices] + [0] * extra

    return AtOnce()


def _stream(t: Any, n: int) -> Any:
    class Stream(t.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(n))

        def __len__(self) -> int:
            return n

    return Stream()


def _overriding(t: Any, both: bool) -> Any:
    class Doubled(t.utils.data.Subset):
        def __getitem__(self, index: Any) -> Any:
            return 2 * super().__getitem__(index)

    if both:
        Doubled.__getitems__ = lambda self, indices: [self[i] for i in indices]
    return Doubled(range(10), [3, 4, 5])


CASES: dict[str, Run] = {
    "tensors": lambda t: list(t.utils.data.TensorDataset(t.arange(3), t.ones(3, 2))),
    "tensors, sliced": lambda t: t.utils.data.TensorDataset(t.arange(5), t.ones(5, 2))[1:4],
    "tensors, length": lambda t: len(t.utils.data.TensorDataset(t.arange(3))),
    "tensors, mismatch": lambda t: t.utils.data.TensorDataset(t.arange(3), t.ones(4)),
    "tensors, none": lambda t: len(t.utils.data.TensorDataset()),
    "tensors, out of range": lambda t: t.utils.data.TensorDataset(t.arange(3))[3],
    "abstract": lambda t: t.utils.data.Dataset()[0],
    "abstract length": lambda t: len(t.utils.data.Dataset()),
    "added": lambda t: list(_squares(t, 3) + _squares(t, 2)),
    "concat": lambda t: [t.utils.data.ConcatDataset([range(3), "ab"])[i] for i in (0, 3, -1, -5)],
    "concat, far back": lambda t: t.utils.data.ConcatDataset([range(3), "ab"])[-6],
    "concat, too far": lambda t: t.utils.data.ConcatDataset([range(3)])[3],
    "concat, empty": lambda t: t.utils.data.ConcatDataset([]),
    "concat, stream": lambda t: t.utils.data.ConcatDataset([_stream(t, 2)]),
    "concat, sizes": lambda t: t.utils.data.ConcatDataset([range(3), "ab"]).cumulative_sizes,
    "concat, old name": lambda t: t.utils.data.ConcatDataset([range(3)]).cummulative_sizes,
    "chain": lambda t: list(_stream(t, 3) + _stream(t, 2)),
    "chain, length": lambda t: len(t.utils.data.ChainDataset([_stream(t, 3), _stream(t, 2)])),
    "chain, not a stream": lambda t: list(t.utils.data.ChainDataset([_stream(t, 1), range(2)])),
    "chain, length of no stream": lambda t: len(t.utils.data.ChainDataset([range(2)])),
    "stack": lambda t: list(t.utils.data.StackDataset(range(3), "abc")),
    "stack, named": lambda t: t.utils.data.StackDataset(a=range(3), b="abc")[1],
    "stack, both": lambda t: t.utils.data.StackDataset(range(3), b="abc"),
    "stack, none": lambda t: t.utils.data.StackDataset(),
    "stack, mismatch": lambda t: t.utils.data.StackDataset(range(3), "ab"),
    "stack, named mismatch": lambda t: t.utils.data.StackDataset(a=range(3), b="ab"),
    "stack, items": lambda t: t.utils.data.StackDataset(
        _at_once(t), _squares(t, 6)).__getitems__([1, 5]),
    "stack, named items": lambda t: t.utils.data.StackDataset(
        a=_at_once(t), b=_squares(t, 6)).__getitems__([1, 5]),
    "stack, wrong items": lambda t: t.utils.data.StackDataset(
        _at_once(t, 1), _squares(t, 6)).__getitems__([1, 5]),
    "stack, named wrong items": lambda t: t.utils.data.StackDataset(
        a=_at_once(t, 1)).__getitems__([1, 5]),
    "subset": lambda t: list(t.utils.data.Subset("abcdef", [4, 0, 0])),
    "subset of tensors": lambda t: t.utils.data.Subset(t.arange(9), [4, 0])[[1, 0]],
    "subset, items": lambda t: t.utils.data.Subset(_at_once(t), [4, 3]).__getitems__([1, 0]),
    "subset, out of range": lambda t: t.utils.data.Subset("abc", [2])[1],
    "subset, own item": lambda t: _overriding(t, False),
    "subset, own item and items": lambda t: list(_overriding(t, True)),
    "split": lambda t: [p.indices for p in t.utils.data.random_split(range(10), [3, 7])],
    "split by fractions": lambda t: [
        p.indices for p in t.utils.data.random_split(range(11), [0.5, 0.3, 0.2])],
    "split, generator": lambda t: [p.indices for p in t.utils.data.random_split(
        range(10), [3, 7], generator=t.Generator().manual_seed(5))],
    "split, no generator": lambda t: [p.indices for p in t.utils.data.random_split(
        range(10), [10], generator=None)],
    "split of two by many": lambda t: [
        p.indices for p in t.utils.data.random_split(range(2), [0.25] * 4)],
    "split, one and none": lambda t: [len(p) for p in t.utils.data.random_split(range(5), [1, 0])],
    "split, wrong sum": lambda t: t.utils.data.random_split(range(10), [3, 6]),
    "split, wrong fractions": lambda t: t.utils.data.random_split(range(10), [0.5, 0.4]),
    "split, wrong fraction": lambda t: t.utils.data.random_split(range(10), [1.5, -0.5]),
    "split, empty": lambda t: len(t.utils.data.random_split([], [0, 0])),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_same_as_torch(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, CASES[name])


@pytest.mark.parity
def test_chunks(torch_oracle: ModuleType) -> None:
    def chunk(t: Any) -> list:
        found = t.utils.data.DataChunk(iter([1, "a", [2]]))
        return [list(found), len(found), found.as_str("> "), list(found.raw_iterator()),
                isinstance(found, list), found == [1, "a", [2]]]

    assert_same(torch_oracle, chunk)


def test_classes_take_type_arguments() -> None:
    assert issubclass(data.TensorDataset, data.Dataset)
    assert data.Dataset[int].__origin__ is data.Dataset
    assert data.DataLoader[int].__origin__ is data.DataLoader
    assert data.Sampler[int].__origin__ is data.Sampler


def test_split_covers_everything_once() -> None:
    parts = data.random_split(fl.arange(100), [0.6, 0.3, 0.1])
    seen = sorted(int(x) for part in parts for x in part)
    assert [len(part) for part in parts] == [60, 30, 10]
    assert seen == list(range(100))


def test_a_missing_name_is_said_so() -> None:
    with pytest.raises(AttributeError, match="TensorDataset"):
        data.TensorDatset  # noqa: B018
