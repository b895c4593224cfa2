"""Sizes, broadcasting and dimension arithmetic, with PyTorch's errors."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from math import prod

from flambeau.base import naming

__all__ = ["Size", "broadcast", "contiguous_strides", "infer_size", "wrap_dim", "wrap_dims"]


class Size(tuple):
    """A tensor's shape: a tuple of ints that knows its number of elements.

    >>> import flambeau as torch
    >>> torch.Size([2, 3]).numel()
    6
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[int] = ()) -> Size:
        self = tuple.__new__(cls, sizes)
        for i, n in enumerate(self):
            if type(n) is not int:
                return cls._from_integers(self, i)
        return self

    @classmethod
    def _from_integers(cls, sizes: tuple, at: int) -> Size:
        try:
            return tuple.__new__(cls, [operator.index(n) for n in sizes])
        except TypeError:
            raise TypeError(f"{naming.prefix()}.Size() takes an iterable of 'int' (item {at} is "
                            f"'{type(sizes[at]).__name__}')") from None

    def numel(self) -> int:
        """The product of the sizes."""
        return prod(self)

    def __repr__(self) -> str:
        return f"{naming.prefix()}.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __add__(self, other: tuple) -> Size:  # type: ignore[override]
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: tuple) -> Size:
        return Size(tuple.__add__(tuple(other), self))

    def __mul__(self, times: int) -> Size:  # type: ignore[override]
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__  # type: ignore[assignment]

    def __getitem__(self, key):  # type: ignore[no-untyped-def, override]
        found = tuple.__getitem__(self, key)
        return Size(found) if isinstance(key, slice) else found

    def __reduce__(self) -> tuple:
        return Size, (tuple(self),)


def broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The shape both broadcast to, aligned at the last dimension; RuntimeError if none."""
    if len(a) < len(b):
        a_full, b_full = (1,) * (len(b) - len(a)) + tuple(a), tuple(b)
    else:
        a_full, b_full = tuple(a), (1,) * (len(a) - len(b)) + tuple(b)
    out = list(a_full)
    for i in reversed(range(len(out))):
        n, m = a_full[i], b_full[i]
        if n == m:
            continue
        if n != 1 and m != 1:
            raise RuntimeError(f"The size of tensor a ({n}) must match the size of tensor b ({m}) "
                               f"at non-singleton dimension {i}")
        out[i] = m if n == 1 else n
    return tuple(out)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a row-major tensor of this shape."""
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= max(n, 1)
    return tuple(reversed(steps))


def wrap_dim(dim: int, rank: int, scalar_ok: bool = True) -> int:
    """``dim`` counted from the front; IndexError where it is out of range."""
    if type(dim) is not int:
        dim = operator.index(dim)
    if 0 <= dim < rank:
        return dim
    if -rank <= dim < 0:
        return dim + rank
    if rank == 0:
        if scalar_ok and dim in (0, -1):
            return 0
        if not scalar_ok:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    low, high = (-rank, rank - 1) if rank else (-1, 0)
    raise IndexError(f"Dimension out of range (expected to be in range of [{low}, {high}], "
                     f"but got {dim})")


def wrap_dims(dims: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """All of ``dims`` counted from the front; ``None`` or empty mean every dimension."""
    if dims is None:
        return tuple(range(rank))
    if isinstance(dims, (int,)) or not isinstance(dims, (tuple, list)):
        return (wrap_dim(dims, rank),)  # type: ignore[arg-type]
    if not dims:
        return tuple(range(rank))
    found = tuple(wrap_dim(d, rank) for d in dims)
    if len(set(found)) != len(found):
        twice = next(d for i, d in enumerate(found) if d in found[:i])
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return found


def infer_size(shape: Sequence[int], numel: int) -> tuple[int, ...]:
    """``shape`` with its one -1, if any, replaced so that it holds ``numel`` elements."""
    sizes = tuple(shape)
    count = prod(sizes)
    if count == numel and (count > 0 and min(sizes, default=1) > 0):
        return sizes
    unknown = [i for i, n in enumerate(sizes) if n == -1]
    if len(unknown) > 1:
        raise RuntimeError("only one dimension can be inferred")
    for n in sizes:
        if n < -1:
            raise RuntimeError(f"invalid shape dimension {n}")
    known = prod(n for n in sizes if n != -1)
    shown = "[" + ", ".join(map(str, sizes)) + "]"
    if not unknown:
        if known != numel:
            raise RuntimeError(f"shape '{shown}' is invalid for input of size {numel}")
        return sizes
    if known == 0:
        if numel:
            raise RuntimeError(f"shape '{shown}' is invalid for input of size {numel}")
        raise RuntimeError(f"cannot reshape tensor of 0 elements into shape {shown} because the "
                           "unspecified dimension size -1 can be any value and is ambiguous")
    if numel % known:
        raise RuntimeError(f"shape '{shown}' is invalid for input of size {numel}")
    i = unknown[0]
    return (*sizes[:i], numel // known, *sizes[i + 1:])
