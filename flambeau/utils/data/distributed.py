"""The part of a dataset that one of several training processes reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from flambeau.core.generator import Generator
from flambeau.ops.random import randperm
from flambeau.utils.data.sampler import Sampler, _T_co

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[_T_co]):
    """Every ``num_replicas``-th key, from ``rank`` on, of an order that all processes agree on.

    The order is shuffled by ``seed`` plus the epoch that ``set_epoch`` gave. Keys from the
    beginning are repeated so that each process gets as many, or, with ``drop_last``, the rest is
    left out. Without ``num_replicas`` and ``rank`` the process group says them.

    >>> from flambeau.utils.data import DistributedSampler
    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(self, dataset: Any, num_replicas: int | None = None, rank: int | None = None,
                 shuffle: bool = True, seed: int = 0, drop_last: bool = False) -> None:
        if num_replicas is None:
            num_replicas = int(_process_group().get_world_size())
        if rank is None:
            rank = int(_process_group().get_rank())
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval "
                             f"[0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.seed = seed
        count = len(dataset)
        if drop_last and count % num_replicas:
            count -= num_replicas
        self.num_samples = math.ceil(count / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[Any]:
        count, total = len(self.dataset), self.total_size
        order = list(range(count))
        if self.shuffle:
            shuffled: Any = randperm(count, generator=Generator().manual_seed(
                self.seed + self.epoch))
            order = shuffled.tolist()
        if not self.drop_last and count < total:
            order *= math.ceil(total / count)
        del order[total:]
        if len(order) != total:
            raise AssertionError(f"Number of indices ({len(order)}) does not match total_size "
                                 f"({total})")
        return iter(order[self.rank::self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, so that each is shuffled differently."""
        self.epoch = epoch


def _process_group() -> Any:
    try:
        # Most programs train in one process.
        from flambeau import distributed
    except ImportError:
        raise RuntimeError("Requires distributed package to be available") from None
    if not distributed.is_available():
        raise RuntimeError("Requires distributed package to be available")
    return distributed
