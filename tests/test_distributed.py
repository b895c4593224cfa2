"""torch.distributed: a group of one process, and DistributedDataParallel in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flambeau as torch
from flambeau import distributed as dist


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def test_a_group_of_one(group: None) -> None:
    t, into = torch.arange(2.0), [torch.zeros(2)]
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
    assert dist.all_reduce(t) is None and dist.broadcast(t, 0) is None and dist.barrier() is None
    assert dist.all_reduce(t, dist.ReduceOp.MAX, async_op=True).wait()
    dist.all_gather(into, t)
    assert t.tolist() == into[0].tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="initialize the default process group twice!"):
        dist.init_process_group("gloo", rank=0, world_size=1)
    with pytest.raises(TypeError, match="Expected parameter `tensor` of type torch.Tensor"):
        dist.all_reduce(3)
    with pytest.raises(ValueError, match="rank 1 is not in the group"):
        dist.broadcast(t, 1)
    dist.destroy_process_group()
    assert not dist.is_initialized()


def test_without_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    for call in (dist.get_rank, dist.get_world_size, dist.barrier,
                 lambda: dist.all_reduce(torch.ones(1)),
                 lambda: torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            call()
    with pytest.raises(AssertionError, match="Process group cannot be None"):
        dist.destroy_process_group()
    with pytest.raises(ValueError, match="environment variable RANK expected, but not set"):
        dist.init_process_group("gloo")
    with pytest.raises(NotImplementedError, match="rank 0 of 2 processes"):
        dist.init_process_group("gloo", rank=0, world_size=2)
    assert not dist.is_initialized()


def test_a_module_in_the_group(group: None) -> None:
    inner = torch.nn.Linear(2, 1)
    model = torch.nn.parallel.DistributedDataParallel(inner, device_ids=None)
    x = torch.ones(3, 2)
    assert torch.equal(model(x), inner(x)) and list(model.state_dict()) == ["module.weight",
                                                                            "module.bias"]
    with model.no_sync():
        assert not model.require_backward_grad_sync
    model(x).sum().backward()
    assert inner.weight.grad.tolist() == [[3.0, 3.0]] and model.require_backward_grad_sync
    with pytest.raises(RuntimeError, match="not needed when a module doesn't have any parameters"):
        torch.nn.parallel.DistributedDataParallel(torch.nn.ReLU())
