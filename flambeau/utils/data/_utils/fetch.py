"""From keys to a batch: asking the dataset for samples and collating them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flambeau.core.tensor import Tensor, wrap
from flambeau.utils.data._utils.collate import default_collate, is_default_map, new_array
from flambeau.utils.data.dataset import Subset, TensorDataset

__all__ = ["fetcher", "gathered"]

_TENSOR_ITEM = TensorDataset.__getitem__
_SUBSET_ITEMS = Subset.__getitems__


def fetcher(dataset: Any, iterable: bool, batched: bool, collate_fn: Callable,
            drop_last: bool) -> Callable[[Any], Any]:
    """A function from a key (a list of keys, where ``batched``) to what the loader yields.

    For an iterable dataset the keys only count; it raises StopIteration at the end.
    """
    if iterable:
        return _Stream(iter(dataset), batched, collate_fn, drop_last).fetch
    if not batched:
        return lambda key: collate_fn(dataset[key])
    if collate_fn is default_collate and isinstance(dataset, (TensorDataset, Subset)):
        return lambda keys: _whole(dataset, keys)
    return lambda keys: collate_fn(_samples(dataset, keys))


def _samples(dataset: Any, keys: list) -> Any:
    at_once = getattr(dataset, "__getitems__", None)
    return at_once(keys) if at_once else [dataset[key] for key in keys]


class _Stream:
    """The samples of an iterable dataset, batch by batch."""

    def __init__(self, samples: Iterator, batched: bool, collate_fn: Callable,
                 drop_last: bool) -> None:
        self.samples = samples
        self.batched = batched
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def fetch(self, keys: Any) -> Any:
        if self.ended:
            raise StopIteration
        return self.collate_fn(self._batch(keys) if self.batched else next(self.samples))

    def _batch(self, keys: Sequence) -> list:
        batch = []
        for _ in keys:
            try:
                batch.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not batch or self.drop_last and len(batch) < len(keys):
            raise StopIteration
        return batch


def _whole(dataset: Any, keys: list) -> Any:
    batch = gathered(dataset, keys)
    return default_collate(_samples(dataset, keys)) if batch is None else batch


def gathered(dataset: Any, keys: list) -> list[Tensor] | None:
    """The collated batch of a TensorDataset, or a Subset of one, read row by row in one go.

    None where that would differ from collating single samples: subclasses with a way of their own,
    tensors with history, keys that are not plain numbers in range, a changed collation map.
    """
    if set(map(type, keys)) != {int} or not is_default_map():
        return None
    while isinstance(dataset, Subset) and type(dataset).__getitems__ is _SUBSET_ITEMS:
        if hasattr(dataset.dataset, "__getitems__") and not isinstance(dataset.dataset, Subset):
            return None
        try:
            keys = [dataset.indices[key] for key in keys]
        except IndexError:
            return None
        dataset = dataset.dataset
        if set(map(type, keys)) != {int}:
            return None
    kind = type(dataset)
    if not isinstance(dataset, TensorDataset) or kind.__getitem__ is not _TENSOR_ITEM:
        return None
    if hasattr(dataset, "__getitems__"):
        return None
    return _rows(dataset.tensors, np.array(keys))


def _rows(tensors: Sequence[Any], at: np.ndarray) -> list[Tensor] | None:
    if at.dtype != np.int64 or not tensors:
        return None
    low, high = int(at.min()), int(at.max())
    for t in tensors:
        if type(t) is not Tensor or t._node is not None or type(t._a) is not np.ndarray:
            return None
        if not t._a.ndim or low < -len(t._a) or high >= len(t._a):
            return None
    return [wrap(_take(t._a, at)) for t in tensors]


def _take(a: np.ndarray, at: np.ndarray) -> np.ndarray:
    out = new_array((len(at), *a.shape[1:]), a.dtype)
    if a.flags.c_contiguous:
        # Negative keys wrap around once, as they are checked; no other mode writes straight to out.
        return a.take(at, 0, out, "wrap")
    out[...] = a[at]
    return out
