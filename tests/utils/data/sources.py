"""Datasets for tests of loaders, made for one framework or the other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np


def numbers(t: Any, n: int = 10, bad: int | None = None, error: Any = ValueError) -> Any:
    """n samples of several types; the one with number ``bad`` raises."""

    class Numbers(t.utils.data.Dataset):
        def __len__(self) -> int:
            return n

        def __getitem__(self, index: int) -> Any:
            if index == bad:
                raise error(f"bad sample {index}")
            return t.full((2,), float(index)), index, str(index), {"half": index / 2}

    return Numbers()


def draws(t: Any, n: int = 8) -> Any:
    """n samples that are random numbers of three libraries."""

    class Draws(t.utils.data.Dataset):
        def __len__(self) -> int:
            return n

        def __getitem__(self, index: int) -> Any:
            return index, random.random(), float(np.random.rand()), t.rand(1)

    return Draws()


def stream(t: Any, n: int = 7, claimed: int | None = None, split: bool = False) -> Any:
    """0 to n - 1 in order; a worker's part of it where they split it; its length as claimed."""

    class Stream(t.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[int]:
            info = t.utils.data.get_worker_info()
            if info is None or not split:
                return iter(range(n))
            return iter(range(info.id, n, info.num_workers))

    if claimed is not None:
        Stream.__len__ = lambda self: claimed  # type: ignore[attr-defined]
    Stream.__repr__ = lambda self: "a stream"  # type: ignore[method-assign]
    return Stream()


def images(t: Any, n: int = 12, side: int = 100) -> Any:
    """n samples of 3 x side x side floats, large enough to be shared."""

    class Images(t.utils.data.Dataset):
        def __len__(self) -> int:
            return n

        def __getitem__(self, index: int) -> Any:
            return t.full((3, side, side), float(index)), index

    return Images()
