"""``torch.distributed`` as programs ask for it before they use it: there is one process here."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["get_rank", "get_world_size", "is_available", "is_gloo_available", "is_initialized",
           "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "is_ucc_available",
           "is_xccl_available"]

NOT_INITIALIZED = ("Default process group has not been initialized, please make sure to call "
                   "init_process_group.")


def is_available() -> bool:
    """False: processes that work together are not supported (yet).

    >>> import flambeau as torch
    >>> torch.distributed.is_available()
    False
    """
    return False


def is_initialized() -> bool:
    """False: there is no group of processes."""
    return False


def is_torchelastic_launched() -> bool:
    """False: no launcher started this process as one of several."""
    return False


def is_nccl_available() -> bool:
    """False."""
    return False


is_gloo_available = is_mpi_available = is_ucc_available = is_xccl_available = is_nccl_available


def get_rank(group: Any = None) -> int:
    """ValueError: there is no group of processes to have a rank in."""
    raise ValueError(NOT_INITIALIZED)


def get_world_size(group: Any = None) -> int:
    """ValueError: there is no group of processes to count."""
    raise ValueError(NOT_INITIALIZED)


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
