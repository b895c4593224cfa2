"""``torch.distributed``: there is one process here; as a group of one it does all it is told."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute
from flambeau.distributed.group import (
    ReduceOp,
    Work,
    all_gather,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object_list,
    destroy_process_group,
    get_backend,
    get_rank,
    get_world_size,
    init_process_group,
    is_initialized,
    reduce,
)

__all__ = ["ReduceOp", "Work", "all_gather", "all_gather_object", "all_reduce", "barrier",
           "broadcast", "broadcast_object_list", "destroy_process_group", "get_backend",
           "get_rank", "get_world_size", "init_process_group", "is_available", "is_gloo_available",
           "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched",
           "is_ucc_available", "is_xccl_available", "reduce"]


def is_available() -> bool:
    """False: processes that work together are not supported (yet), beyond a group of one.

    >>> import flambeau as torch
    >>> torch.distributed.is_available()
    False
    """
    return False


def is_torchelastic_launched() -> bool:
    """False: no launcher started this process as one of several."""
    return False


def is_nccl_available() -> bool:
    """False."""
    return False


is_gloo_available = is_mpi_available = is_ucc_available = is_xccl_available = is_nccl_available


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
