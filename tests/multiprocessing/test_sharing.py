"""Tensors in shared memory, sent through queues, pipes and process arguments."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import sys
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl
import flambeau.multiprocessing as mp
from flambeau.backends.shared_memory import Segment
from tests.utils.data.both import assert_same

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="descriptors are passed on POSIX only"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")]


def _add_one(queue: Any, answers: Any) -> None:
    tensor = queue.get()
    tensor += 1
    answers.put((tensor.dtype, tensor.stride(), tensor.is_shared()))


def _train(rank: int, weight: fl.Tensor, lock: Any, steps: int) -> None:
    for _ in range(steps):
        with lock:
            weight += 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_queues_send_memory(method: str) -> None:
    context = mp.get_context(method)
    queue, answers = context.Queue(), context.Queue()
    base = fl.zeros(4, 6, dtype=fl.bfloat16)
    process = context.Process(target=_add_one, args=(queue, answers))
    process.start()
    queue.put(base[1:, ::2])
    assert answers.get(timeout=60) == (fl.bfloat16, (6, 2), True)
    process.join()
    assert base.is_shared()
    assert base.float().sum() == 9 and base[1:, ::2].float().min() == 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_change_one_weight(method: str) -> None:
    context = mp.get_context(method)
    weight, lock = fl.nn.Parameter(fl.zeros(3)), context.Lock()
    weight.data.share_memory_()
    processes = [context.Process(target=_train, args=(rank, weight.detach(), lock, 50))
                 for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert weight.tolist() == [100, 100, 100]


def test_pipes_send_memory() -> None:
    ours, theirs = mp.Pipe()
    sent = fl.ones(3)
    ours.send({"a": sent, "b": [sent[1:], fl.nn.Parameter(fl.ones(2))]})
    got = theirs.recv()
    got["a"][2] = 5
    assert sent.tolist() == [1, 1, 5] and got["b"][0].tolist() == [1, 5]
    assert got["a"].data_ptr() + 4 == got["b"][0].data_ptr()
    assert type(got["b"][1]) is fl.nn.Parameter and got["b"][1].requires_grad


def test_what_is_sent_may_be_dropped_at_once() -> None:
    queue = mp.get_context("fork").SimpleQueue()
    for at in range(5):
        queue.put(fl.full((2,), float(at)))
    gc.collect()
    assert [queue.get().tolist() for _ in range(5)] == [[at] * 2 for at in range(5)]


TENSORS: dict[str, Any] = {
    "plain": lambda t: t.arange(6.0),
    "matrix": lambda t: t.arange(6).reshape(2, 3),
    "view": lambda t: t.arange(24).reshape(4, 6)[1::2, 2:],
    "transposed": lambda t: t.arange(6).reshape(2, 3).t(),
    "expanded": lambda t: t.arange(3).reshape(3, 1).expand(3, 4),
    "scalar": lambda t: t.tensor(2.5),
    "empty": lambda t: t.zeros(0, 3),
    "bfloat16": lambda t: t.ones(3, dtype=t.bfloat16),
    "complex": lambda t: t.ones(3, dtype=t.complex64),
    "bool": lambda t: t.tensor([True, False]),
    "leaf": lambda t: t.ones(2, requires_grad=True),
    "parameter": lambda t: t.nn.Parameter(t.ones(2)),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", TENSORS)
def test_as_torch_sends_them(name: str, torch_oracle: ModuleType) -> None:
    def sent(t: Any) -> list:
        t.multiprocessing  # noqa: B018
        x = TENSORS[name](t)
        y = pickle.loads(ForkingPickler.dumps(x))
        y2 = y.detach()
        y2 += 1 if y2.dtype != t.bool else True
        return [x.detach(), y.detach(), y.stride(), y.storage_offset(), y.requires_grad,
                y.is_shared(), x.is_shared(), y.untyped_storage().nbytes(), type(y).__name__]

    assert_same(torch_oracle, sent)


@pytest.mark.parity
@pytest.mark.parametrize("name", TENSORS)
def test_moving(name: str, torch_oracle: ModuleType) -> None:
    def moved(t: Any) -> list:
        x = TENSORS[name](t)
        before = x.is_shared()
        assert x.share_memory_() is x
        return [before, x.is_shared(), x.detach(), x.stride(), x.storage_offset(),
                x.is_leaf, x.requires_grad]

    assert_same(torch_oracle, moved)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("convert", ["to_sparse", "to_sparse_csr"])
def test_sparse_tensors(convert: str, torch_oracle: ModuleType) -> None:
    def sent(t: Any) -> Any:
        t.multiprocessing  # noqa: B018
        return pickle.loads(ForkingPickler.dumps(getattr(t.eye(3), convert)())).to_dense()

    assert_same(torch_oracle, sent)


def test_a_sparse_tensor_has_no_storage_to_move() -> None:
    with pytest.raises(NotImplementedError, match="Cannot access storage of SparseTensorImpl"):
        fl.eye(3).to_sparse().share_memory_()


@pytest.mark.parity
def test_what_is_not_sent(torch_oracle: ModuleType) -> None:
    assert_same(torch_oracle, lambda t: ForkingPickler.dumps(t.ones(2, requires_grad=True) * 2))


def test_hooks_are_left_behind_with_a_warning() -> None:
    leaf = fl.ones(2, requires_grad=True)
    leaf.register_hook(lambda g: g)
    with pytest.warns(UserWarning, match="backward hook .* on tensor will not be serialized"):
        ForkingPickler.dumps(leaf)


def test_every_tensor_of_a_storage_moves_along() -> None:
    x = fl.zeros(6, requires_grad=True)
    with fl.no_grad():
        aliases = [x.detach(), x.data, x[1:], x.view(2, 3).t(), x.detach()[2:], x]
    x.share_memory_()
    for at, alias in enumerate(aliases):
        assert alias.is_shared(), at
    with fl.no_grad():
        x += 1
        x.view(2, 3)[1, 2] = 9
    assert [alias.sum().item() for alias in aliases] == [14, 14, 13, 14, 12, 14]
    (x * 2).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2] * 6


def test_a_view_moves_its_base() -> None:
    base = fl.arange(12.0).reshape(3, 4)
    base[1].share_memory_()
    assert base.is_shared()
    base[1, 0] = -1
    assert base.tolist()[1] == [-1, 5, 6, 7]


def test_moving_again_changes_nothing() -> None:
    x = fl.ones(3).share_memory_()
    place = x.data_ptr()
    assert x.share_memory_().data_ptr() == place
    assert x[1:].is_shared() and not x.clone().is_shared()


def test_received_memory_is_mapped_once_and_given_back() -> None:
    x = fl.ones(1000).share_memory_()
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(50):
        y = pickle.loads(ForkingPickler.dumps(x))
        assert y.data_ptr() == x.data_ptr()
        z = pickle.loads(ForkingPickler.dumps(fl.ones(10)))
        assert z.sum() == 10
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_segments() -> None:
    segment = Segment.create(100)
    memory = segment.array()
    memory[:] = 7
    other = Segment.attach(os.dup(segment.fd), 100)
    segment.close_fd()
    assert segment.fd == -1 and len(other) == 100
    assert other.array().sum() == 700
    del segment
    assert memory.sum() == 700
    with pytest.raises(OSError):
        Segment.create(1 << 62)


def test_names() -> None:
    for name in multiprocessing.__all__:
        if name != "spawn":
            assert getattr(mp, name) == getattr(multiprocessing, name)
    assert mp.context is multiprocessing.context
    with pytest.raises(AttributeError, match="Queue"):
        mp.Queu  # noqa: B018
    strategy = mp.get_sharing_strategy()
    assert strategy in mp.get_all_sharing_strategies()
    mp.set_sharing_strategy("file_system")
    assert mp.get_sharing_strategy() == "file_system"
    mp.set_sharing_strategy(strategy)
    with pytest.raises(AssertionError, match="invalid sharing strategy 'none', expected one of"):
        mp.set_sharing_strategy("none")


def test_plain_pickles_are_copies() -> None:
    x = fl.ones(3).share_memory_()
    y = pickle.loads(pickle.dumps(x))
    y += 1
    assert x.tolist() == [1, 1, 1] and not y.is_shared()
    assert np.shares_memory(x.numpy(), x.numpy())
