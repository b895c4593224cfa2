"""Modules on several devices. flambeau computes on one, where DataParallel calls its module."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.nn.parallel.data_parallel import DataParallel, data_parallel
from flambeau.nn.parallel.distributed import DistributedDataParallel
from flambeau.nn.parallel.parallel_apply import parallel_apply
from flambeau.nn.parallel.replicate import replicate
from flambeau.nn.parallel.scatter_gather import gather, scatter

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel", "gather", "parallel_apply",
           "replicate", "scatter"]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
