"""Datasets: what a DataLoader reads from, and datasets made of other datasets."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, Iterable, TypeVar  # noqa: UP035  (a base beside Generic)

from flambeau.core.generator import Generator, default_generator
from flambeau.core.tensor import Tensor
from flambeau.ops.random import randperm

__all__ = ["ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset",
           "TensorDataset", "random_split"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Dataset(Generic[_T_co]):
    """Samples by key: subclasses write ``__getitem__`` and, for most uses, ``__len__``.

    Where a subclass has ``__getitems__(keys)``, a DataLoader asks it for the list of all samples
    of a batch at once. ``a + b`` is the ConcatDataset of both.
    """

    def __getitem__(self, index: Any) -> _T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[_T_co]) -> ConcatDataset[_T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[_T_co], Iterable[_T_co]):
    """Samples in the order that they come: subclasses write ``__iter__``.

    Each worker of a DataLoader iterates over a copy of its own; ``get_worker_info`` tells the
    copies apart. ``a + b`` is the ChainDataset of both.
    """

    def __add__(self, other: Dataset[_T_co]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors of equal first size; sample i is the tuple of their elements i.

    AssertionError where the sizes differ.

    >>> import flambeau as torch
    >>> data = torch.utils.data.TensorDataset(torch.arange(3), torch.zeros(3, 2))
    >>> len(data), data[1]
    (3, (tensor(1), tensor([0., 0.])))
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        if any(t.size(0) != tensors[0].size(0) for t in tensors):
            raise AssertionError("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([t[index] for t in self.tensors])  # type: ignore[index]

    def __len__(self) -> int:
        return self.tensors[0].size(0)  # type: ignore[return-value]


class StackDataset(Dataset):
    """Datasets of one length side by side: samples are tuples, or dicts for keyword arguments.

    ValueError where the lengths differ, both kinds of arguments are given, or none.

    >>> from flambeau.utils.data import StackDataset
    >>> StackDataset(a=range(3), b="xyz")[1]
    {'a': 1, 'b': 'y'}
    """

    datasets: tuple | dict

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("Supported either ``tuple``- (via ``args``) or"
                             "``dict``- (via ``kwargs``) like input/output, "
                             "but both types are given.")
        parts = args or tuple(kwargs.values())
        if not parts:
            raise ValueError("At least one dataset should be passed")
        self._length = len(parts[0])
        if any(len(part) != self._length for part in parts):
            raise ValueError("Size mismatch between datasets")
        self.datasets = args or kwargs

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: part[index] for name, part in self.datasets.items()}
        return tuple([part[index] for part in self.datasets])

    def __getitems__(self, indices: list) -> list:
        if isinstance(self.datasets, dict):
            columns = [_samples(part, indices) for part in self.datasets.values()]
            return [dict(zip(self.datasets, row)) for row in zip(*columns)]
        return list(zip(*[_samples(part, indices) for part in self.datasets]))

    def __len__(self) -> int:
        return self._length


def _samples(part: Any, indices: list) -> list:
    """The samples of a nested dataset, asked for at once where it can give them so."""
    if not callable(getattr(part, "__getitems__", None)):
        return [part[index] for index in indices]
    items = part.__getitems__(indices)
    if len(items) != len(indices):
        raise ValueError("Nested dataset's output size mismatch. "
                         f"Expected {len(indices)}, got {len(items)}")
    return items


class ConcatDataset(Dataset[_T_co]):
    """Datasets one after the other.

    >>> from flambeau.utils.data import ConcatDataset
    >>> both = ConcatDataset([range(3), "ab"])
    >>> len(both), both[3], both[-5]
    (5, 'a', 0)
    """

    datasets: list[Dataset[_T_co]]
    cumulative_sizes: list[int]

    @staticmethod
    def cumsum(sequence: Iterable) -> list[int]:
        """The running totals of the lengths of the datasets in ``sequence``."""
        return list(accumulate([len(part) for part in sequence]))

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        super().__init__()
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(part, IterableDataset) for part in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx: int) -> _T_co:
        if idx < 0:
            if -idx > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            idx += len(self)
        at = bisect_right(self.cumulative_sizes, idx)
        before = self.cumulative_sizes[at - 1] if at else 0
        return self.datasets[at][idx - before]

    @property
    def cummulative_sizes(self) -> list[int]:
        """The old, misspelt name of ``cumulative_sizes``; it warns."""
        warnings.warn("`cummulative_sizes` attribute is renamed to `cumulative_sizes`",
                      FutureWarning, stacklevel=2)
        return self.cumulative_sizes


class ChainDataset(IterableDataset):
    """IterableDatasets one after the other; AssertionError at one that is something else."""

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        super().__init__()
        self.datasets = datasets

    def _parts(self) -> Iterator[Any]:
        for part in self.datasets:
            if not isinstance(part, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield part

    def __iter__(self) -> Iterator:
        for part in self._parts():
            yield from part

    def __len__(self) -> int:
        return sum([len(part) for part in self._parts()])


_BOTH = """{} overrides __getitem__ but not __getitems__. \
When subclassing Subset and overriding __getitem__, you must also override \
__getitems__ to ensure DataLoader works correctly with your custom logic. \
A simple implementation:

def __getitems__(self, indices):
    return [self.__getitem__(idx) for idx in indices]"""


class Subset(Dataset[_T_co]):
    """The samples of ``dataset`` at ``indices``.

    NotImplementedError for a subclass with a ``__getitem__`` of its own and no ``__getitems__``:
    a DataLoader would pass over the former.

    >>> from flambeau.utils.data import Subset
    >>> list(Subset("abcd", [2, 0]))
    ['c', 'a']
    """

    dataset: Dataset[_T_co]
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[_T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        kind = type(self)
        if kind.__getitem__ is not Subset.__getitem__:
            if kind.__getitems__ is Subset.__getitems__:
                raise NotImplementedError(_BOTH.format(kind.__name__))

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]) -> list[_T_co]:
        within = [self.indices[i] for i in indices]
        if callable(getattr(self.dataset, "__getitems__", None)):
            return self.dataset.__getitems__(within)  # type: ignore[attr-defined]
        return [self.dataset[i] for i in within]

    def __len__(self) -> int:
        return len(self.indices)


class DataChunk(list):
    """A batch as a list of its samples, with ``as_str`` as its text on one line.

    >>> from flambeau.utils.data import DataChunk
    >>> DataChunk(range(3)).as_str("  ")
    '  [0, 1, 2]'
    """

    def __init__(self, items: Iterable) -> None:
        super().__init__(items)
        self.items = list(self)

    def as_str(self, indent: str = "") -> str:
        """The samples between brackets, after ``indent``."""
        return f"{indent}[{', '.join(map(str, self))}]"

    def raw_iterator(self) -> Iterator:
        """Over the samples as they were given."""
        return iter(self.items)


def random_split(dataset: Dataset[_T], lengths: Sequence[int | float],
                 generator: Generator | None = default_generator) -> list[Subset[_T]]:
    """Random parts of ``dataset`` that do not overlap, of these lengths or fractions.

    Fractions sum to 1; what rounding down leaves over goes to the first parts, one each.
    ValueError where the lengths do not sum to that of the dataset.

    >>> import flambeau as torch
    >>> parts = torch.utils.data.random_split(range(10), [0.7, 0.3], torch.Generator())
    >>> [len(part) for part in parts]
    [7, 3]
    """
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _lengths_of(lengths, len(dataset))  # type: ignore[arg-type]
    if sum(lengths) != len(dataset):  # type: ignore[arg-type]
        raise ValueError("Sum of input lengths does not equal the length of the input dataset!")
    order = randperm(sum(lengths), generator=generator).tolist()  # type: ignore[attr-defined]
    ends = accumulate(lengths)
    return [Subset(dataset, order[end - n:end])  # type: ignore[misc]
            for end, n in zip(ends, lengths)]


def _lengths_of(fractions: Sequence[float], total: int) -> list[int]:
    lengths = []
    for at, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"Fraction at index {at} is not between 0 and 1")
        lengths.append(math.floor(total * fraction))
    for at in range(total - sum(lengths)):
        lengths[at % len(lengths)] += 1
    for at, length in enumerate(lengths):
        if length == 0:
            warnings.warn(f"Length of split at index {at} is 0. "
                          "This might result in an empty dataset.", stacklevel=3)
    return lengths
