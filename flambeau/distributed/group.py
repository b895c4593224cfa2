"""The group of one process: what several processes would do together, done by the one there is."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Any

from flambeau.core.tensor import Tensor

__all__ = ["ReduceOp", "Work", "all_gather", "all_gather_object", "all_reduce", "barrier",
           "broadcast", "broadcast_object_list", "destroy_process_group", "get_backend", "get_rank",
           "get_world_size", "init_process_group", "is_initialized", "reduce"]

NOT_INITIALIZED = ("Default process group has not been initialized, please make sure to call "
                   "init_process_group.")


class ReduceOp(IntEnum):
    """How values of several processes become one; of one process' values every one is the same."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4


class Work:
    """A communication under way; here it has ended already."""

    def wait(self, timeout: Any = None) -> bool:
        """True: it has ended."""
        return True

    def is_completed(self) -> bool:
        """True."""
        return True


class _Group:
    """The default group: the name of its backend while there is one."""

    backend: str | None = None


def init_process_group(backend: str | None = None, init_method: str | None = None,
                       timeout: Any = None, world_size: int = -1, rank: int = -1,
                       store: Any = None, group_name: str = "", pg_options: Any = None,
                       device_id: Any = None) -> None:
    """Make this process the only member of the default group.

    ``rank`` and ``world_size`` come from the environment where they are not given, as a launcher
    sets it. ValueError: neither says so, or there is a group already; NotImplementedError: more
    than one process.

    >>> import flambeau as torch
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> torch.distributed.get_world_size()
    1
    >>> torch.distributed.destroy_process_group()
    """
    if _Group.backend is not None:
        raise ValueError("trying to initialize the default process group twice!")
    rank, world_size = _found("RANK", rank), _found("WORLD_SIZE", world_size)
    if world_size != 1 or rank != 0:
        raise NotImplementedError(f"rank {rank} of {world_size} processes: flambeau computes in "
                                  "one process (yet); start the program without a launcher")
    _Group.backend = (backend or "gloo").lower()


def _found(name: str, given: int) -> int:
    if given >= 0:
        return given
    if name not in os.environ:
        raise ValueError("Error initializing torch.distributed using env:// rendezvous: "
                         f"environment variable {name} expected, but not set")
    return int(os.environ[name])


def destroy_process_group(group: Any = None) -> None:
    """Leave the group. AssertionError: there is none."""
    assert _Group.backend is not None, "Process group cannot be None"
    _Group.backend = None


def is_initialized() -> bool:
    """Whether ``init_process_group`` was called."""
    return _Group.backend is not None


def _require_group() -> None:
    if _Group.backend is None:
        raise ValueError(NOT_INITIALIZED)


def get_rank(group: Any = None) -> int:
    """0. ValueError: there is no group of processes to have a rank in."""
    _require_group()
    return 0


def get_world_size(group: Any = None) -> int:
    """1. ValueError: there is no group of processes to count."""
    _require_group()
    return 1


def get_backend(group: Any = None) -> str:
    """The name that ``init_process_group`` was given."""
    _require_group()
    return str(_Group.backend)


def _check(tensor: Any, name: str = "tensor") -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type "
                        f"torch.Tensor\n             but got {type(tensor)} instead.")
    _require_group()


def _check_rank(rank: int | None) -> None:
    if rank not in (0, None):
        raise ValueError(f"rank {rank} is not in the group, whose only rank is 0")


def _ended(async_op: bool) -> Work | None:
    return Work() if async_op else None


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
               ) -> Work | None:
    """Combine the tensor over all processes: over one it stays as it is."""
    _check(tensor)
    return _ended(async_op)


def reduce(tensor: Tensor, dst: int | None = None, op: Any = ReduceOp.SUM, group: Any = None,
           async_op: bool = False) -> Work | None:
    """Combine the tensor over all processes into that of rank ``dst``."""
    _check(tensor)
    _check_rank(dst)
    return _ended(async_op)


def broadcast(tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False
              ) -> Work | None:
    """Give the tensor of rank ``src`` to all: it has it."""
    _check(tensor)
    _check_rank(src)
    return _ended(async_op)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait for all processes: for none."""
    _require_group()
    return _ended(async_op)


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
               ) -> Work | None:
    """Write every process' tensor into the list: one tensor, its only item."""
    _check(tensor)
    if len(tensor_list) != 1:
        raise ValueError(f"tensor_list has {len(tensor_list)} items for a group of 1")
    tensor_list[0].detach().copy_(tensor.detach())
    return _ended(async_op)


def all_gather_object(object_list: list, obj: Any, group: Any = None) -> None:
    """Put every process' object into the list."""
    _require_group()
    object_list[0] = obj


def broadcast_object_list(object_list: list, src: int | None = None, group: Any = None,
                          device: Any = None) -> None:
    """Give the objects of rank ``src`` to all: it has them."""
    _require_group()
    _check_rank(src)
