"""Collating samples and converting single ones: containers, types, and what is refused."""

from __future__ import annotations

from collections import OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau.utils.data import default_collate
from flambeau.utils.data._utils.collate import collate, default_collate_fn_map
from tests.utils.data.both import Run, assert_same

Point = namedtuple("Point", ["x", "y"])


class Immutable(tuple):
    """A sequence that is neither a list nor made of several arguments."""


class Stubborn(list):
    """A list that cannot be copied."""

    def __copy__(self) -> Any:
        raise TypeError("no")


def _with_gradient(t: Any) -> Any:
    leaf = t.ones(2, requires_grad=True)
    batch = t.utils.data.default_collate([leaf, 2 * leaf])
    batch.sum().backward()
    return leaf.grad, batch.requires_grad, type(batch.grad_fn).__name__


SAMPLES: dict[str, Run] = {
    "tensors": lambda t: [t.arange(3), t.arange(3) + 5],
    "tensors without dimensions": lambda t: [t.tensor(1.5), t.tensor(2.5)],
    "empty tensors": lambda t: [t.zeros(0, 3), t.zeros(0, 3)],
    "strided tensors": lambda t: list(t.arange(24).reshape(4, 3, 2).transpose(1, 2)),
    "bfloat16": lambda t: [t.ones(2, dtype=t.bfloat16)] * 3,
    "bool": lambda t: [t.tensor([True, False])] * 2,
    "complex": lambda t: [t.tensor([1 + 2j])] * 2,
    "mixed dtypes": lambda t: [t.ones(2), t.ones(2, dtype=t.float64)],
    "mixed shapes": lambda t: [t.ones(2), t.ones(3)],
    "parameters": lambda t: [t.nn.Parameter(t.ones(2)).detach()] * 2,
    "floats": lambda t: [0.5, 1.5],
    "floats and integers": lambda t: [0.5, 1],
    "integers and floats": lambda t: [1, 0.5],
    "integers": lambda t: [1, 2, 2**40],
    "huge integers": lambda t: [1, 2**70],
    "bools": lambda t: [True, False],
    "integers and bools": lambda t: [1, True],
    "text": lambda t: ["a", "bc"],
    "bytes": lambda t: [b"a", b"bc"],
    "arrays": lambda t: [np.arange(3), np.arange(3) + 1],
    "arrays without dimensions": lambda t: [np.array(1.5), np.array(2.5)],
    "arrays of float16": lambda t: [np.ones(2, np.float16)] * 2,
    "arrays of uint16": lambda t: [np.ones(2, np.uint16)] * 2,
    "arrays of several dtypes": lambda t: [np.ones(2, np.float32), np.ones(2)],
    "strided arrays": lambda t: list(np.arange(24).reshape(4, 3, 2).swapaxes(1, 2)),
    "arrays of several shapes": lambda t: [np.ones(2), np.ones(3)],
    "arrays of text": lambda t: [np.array("a"), np.array("b")],
    "arrays of objects": lambda t: [np.array([None]), np.array([None])],
    "reversed arrays": lambda t: [np.arange(3)[::-1]] * 2,
    "numbers of NumPy": lambda t: [np.float32(1.5), np.float32(2.5)],
    "integers of NumPy": lambda t: [np.int16(1), np.int16(2)],
    "doubles of NumPy": lambda t: [np.float64(1.5), np.float64(2.5)],
    "bools of NumPy": lambda t: [np.bool_(True), np.bool_(False)],
    "dicts": lambda t: [{"a": 1, "b": t.ones(2)}, {"b": t.zeros(2), "a": 2}],
    "dicts with a key more": lambda t: [{"a": 1}, {"a": 2, "b": 3}],
    "dicts with a key less": lambda t: [{"a": 1, "b": 3}, {"a": 2}],
    "ordered dicts": lambda t: [OrderedDict(a=1, b=2), OrderedDict(b=1, a=2)],
    "default dicts": lambda t: [defaultdict(int, a=1), defaultdict(int, a=2)],
    "user dicts": lambda t: [UserDict(a=1), UserDict(a=2)],
    "mapping proxies": lambda t: [MappingProxyType({"a": 1}), MappingProxyType({"a": 2})],
    "empty dicts": lambda t: [{}, {}],
    "tuples": lambda t: [(1, "a"), (2, "b")],
    "empty tuples": lambda t: [(), ()],
    "named tuples": lambda t: [Point(1, 2.0), Point(3, 4.0)],
    "lists": lambda t: [[1, "a"], [2, "b"]],
    "lists of several lengths": lambda t: [[1], [1, 2]],
    "tuples of several lengths": lambda t: [(1, 2), (1,)],
    "user lists": lambda t: [UserList([1, 2]), UserList([3, 4])],
    "tuple subclasses": lambda t: [Immutable((1, 2)), Immutable((3, 4))],
    "lists that cannot be copied": lambda t: [Stubborn([1]), Stubborn([2])],
    "ranges": lambda t: [range(2), range(2, 4)],
    "deques": lambda t: [deque([1, 2]), deque([3, 4])],
    "nested": lambda t: [{"a": [(1, t.ones(1)), Point("x", {"b": 2.0})]} for _ in range(2)],
    "none": lambda t: [None, None],
    "sets": lambda t: [{1}, {2}],
    "objects in a list": lambda t: [[1, object], [2, object]],
    "nothing": lambda t: [],
    "complex numbers": lambda t: [complex(1, 2)],
}


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLES)
def test_collate(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: t.utils.data.default_collate(SAMPLES[name](t)))


@pytest.mark.parity
@pytest.mark.parametrize("name", SAMPLES)
def test_convert(name: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: t.utils.data.default_convert(SAMPLES[name](t)))


@pytest.mark.parity
@pytest.mark.parametrize("value", [1, "a", None, np.float32(2), np.str_("a"), np.array(["a"]),
                                   np.array([None]), Point(np.zeros(1), 1)], ids=repr)
def test_convert_single(value: Any, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: t.utils.data.default_convert(value))


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("convert", ["to_sparse", "to_sparse_csr"])
def test_sparse_tensors(convert: str, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: t.utils.data.default_collate(
        [getattr(t.eye(3), convert)()] * 2))


@pytest.mark.parity
def test_gradients_pass(torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, _with_gradient)


def _own_types(t: Any) -> Any:
    module = t.utils.data._utils.collate

    class Sentence(str):
        pass

    own = {**module.default_collate_fn_map,
           Sentence: lambda batch, *, collate_fn_map: " ".join(batch),
           (set, frozenset): lambda batch, *, collate_fn_map: sorted(set().union(*batch))}
    samples = [(Sentence("a"), {1}, t.ones(1)), (Sentence("b"), {2}, t.ones(1))]
    return [module.collate(samples, collate_fn_map=own),
            module.collate([frozenset([3]), frozenset([1])], collate_fn_map=own)]


@pytest.mark.parity
def test_own_types(torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, _own_types)


@pytest.mark.parity
@pytest.mark.parametrize("functions", [None, {}])
def test_without_a_map(functions: Any, torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: t.utils.data._utils.collate.collate(
        [{"a": t.ones(1)}], collate_fn_map=functions))


def test_the_default_map_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_collate_fn_map, fl.Tensor,
                        lambda batch, *, collate_fn_map: len(batch))
    assert default_collate([fl.ones(1)] * 3) == 3
    assert default_collate([np.ones(1)] * 4) == 4
    loader = fl.utils.data.DataLoader(fl.utils.data.TensorDataset(fl.ones(5)), batch_size=5)
    assert list(loader) == [[5]]


def test_a_batch_has_memory_of_its_own() -> None:
    sample = np.zeros(3, np.float32)
    batch = default_collate([sample])
    batch += 1
    assert sample.tolist() == [0, 0, 0]


def test_collate_asks_for_a_map() -> None:
    with pytest.raises(TypeError, match="default_collate: batch must contain tensors"):
        collate([object()])
