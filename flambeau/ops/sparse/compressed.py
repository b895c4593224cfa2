"""Making sparse tensors that lie by row or by column, and the checks of their invariants."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.device import (
    as_device,
    layout,
    sparse_bsc,
    sparse_bsr,
    sparse_csc,
    sparse_csr,
    strided,
)
from flambeau.base.dtypes import dtype, int32, int64
from flambeau.core.face import public
from flambeau.core.sparse_tensor import BLOCKED, BY_ROW, Compressed
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import cast
from flambeau.ops.create import tensor
from flambeau.ops.sparse.layouts import layout_name
from flambeau.ops.sparse.make import INVARIANTS
from flambeau.ops.sparse.parts import with_values

__all__ = ["sparse_compressed_tensor"]

ndarray = np.ndarray


def _indices(t: Any) -> ndarray:
    found = t if isinstance(t, Tensor) else tensor(t)
    return (found if found.dtype in (int32, int64) else cast(found, int64))._a


def _inferred(kind: layout, pointers: ndarray, plain: ndarray, values: ndarray) -> tuple:
    """The size that holds everything."""
    lines, places = pointers.shape[-1] - 1, int(plain.max(initial=-1)) + 1
    height = width = 1
    first = plain.ndim
    if kind in BLOCKED:
        height, width = values.shape[first:first + 2]
        first += 2
    pair = (lines, places) if kind in BY_ROW else (places, lines)
    return (*plain.shape[:-1], pair[0] * height, pair[1] * width, *values.shape[first:])


def _names(kind: layout) -> tuple[str, str, str, str]:
    if kind in BY_ROW:
        return "crow_indices", "col_indices", "nrows", "ncols"
    return "ccol_indices", "row_indices", "ncols", "nrows"


def _check(a: Compressed) -> None:
    """Raise where the parts do not fit together."""
    one, other, lines, places = _names(a.kind)
    block = a.block or (1, 1)
    rank = len(a.batch)
    rows, columns = a.sizes[rank] // block[0], a.sizes[rank + 1] // block[1]
    count, width = (rows, columns) if a.kind in BY_ROW else (columns, rows)
    pointers, plain = a.pointers, a.plain
    if pointers.shape[-1] != count + 1:
        raise RuntimeError(f"{one}.shape[-1] must be equal to the number of {lines} + 1 as "
                           f"defined by size, i.e. {count + 1}, but got {pointers.shape[-1]}")
    if plain.shape[-1] != a.values.shape[rank]:
        raise RuntimeError(f"number of specified elements must match: {other} has "
                           f"{plain.shape[-1]}, values has {a.values.shape[rank]}")
    steps = np.diff(pointers, axis=-1)
    rules = [
        ((pointers[..., 0] == 0).all(), f"`{one}[..., 0] == 0`"),
        ((pointers[..., -1] == plain.shape[-1]).all(), f"`{one}[..., -1] == nnz`"),
        (((steps >= 0) & (steps <= width)).all(),
         f"`0 <= {one}[..., 1:] - {one}[..., :-1] <= {places}`"),
        (((plain >= 0) & (plain < width)).all(), f"`0 <= {other} < {places}`"),
    ]
    for holds, text in rules:
        if not holds:
            raise RuntimeError(f"{text} is not satisfied.")
    order = a.lines() * max(width, 1) + plain
    if (np.diff(order, axis=-1) <= 0).any():
        raise RuntimeError(f"`{other}[..., {one}[..., i - 1]:{one}[..., i]] for all i = 1, ..., "
                           f"{lines} are sorted and distinct along the last dimension values` is "
                           "not satisfied.")


def _make(kind: layout, pointers: Any, plain: Any, values: Any, size: Any, to: dtype | None,
          requires_grad: bool, check_invariants: bool | None) -> Tensor:
    elements = values if isinstance(values, Tensor) else tensor(values)
    elements = elements if to is None else cast(elements, to)
    first, second = _indices(pointers), _indices(plain)
    if size is None:
        size = _inferred(kind, first, second, elements._a)
    pattern = Compressed(kind, first, second, elements._a, tuple([int(n) for n in size]))
    if INVARIANTS.checked if check_invariants is None else check_invariants:
        _check(pattern)
    made = with_values(elements, pattern)
    return made.requires_grad_(True) if requires_grad else made


@public("torch")
def sparse_compressed_tensor(compressed_indices: Any, plain_indices: Any, values: Any,
                             size: Any = None, *, dtype: dtype | None = None,
                             layout: layout | None = None, device: Any = None,
                             pin_memory: bool = False, requires_grad: bool = False,
                             check_invariants: bool | None = None) -> Tensor:
    """A sparse tensor of any layout by row or by column, which ``layout`` says."""
    as_device(device)
    if layout is None or layout is strided:
        raise RuntimeError("sparse_compressed_tensor expected sparse compressed tensor layout but "
                           f"got {'none' if layout is None else layout_name(layout)}")
    return _make(layout, compressed_indices, plain_indices, values, size, dtype, requires_grad,
                 check_invariants)


def _constructor(kind: layout, doc: str) -> None:
    name = f"{kind.name}_tensor"
    first, second, _, _ = _names(kind)

    def make(*parts: Any, dtype: dtype | None = None, layout: layout | None = None,
             device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
             check_invariants: bool | None = None, **named: Any) -> Tensor:
        as_device(device)
        if layout is not None and layout is not kind:
            raise RuntimeError(f"{name}: layout must be {layout_name(kind)} but got "
                               f"{layout_name(layout)}")
        found = dict(zip((first, second, "values", "size"), parts), **named)
        missing = [n for n in (first, second, "values") if n not in found]
        if missing or len(found) > 4:
            got = ", ".join([type(p).__name__ for p in parts])
            raise TypeError(f"{name}() received an invalid combination of arguments - got ({got}),"
                            f" but expected one of:\n * (object {first}, object {second}, object "
                            f"values, tuple of ints size, ...)\n * (object {first}, object "
                            f"{second}, object values, ...)")
        return _make(kind, found[first], found[second], found["values"], found.get("size"), dtype,
                     requires_grad, check_invariants)

    make.__doc__ = doc
    public("torch", name=name)(make)


_constructor(sparse_csr, """Matrices row by row, of crow_indices, col_indices, values and size.

    ``crow_indices`` says where each row begins (and the last ends), ``col_indices`` the column of
    each element.

    >>> import flambeau as torch
    >>> torch.sparse_csr_tensor([0, 1, 2], [1, 0], [3.0, 4.0]).to_dense()
    tensor([[0., 3.],
            [4., 0.]])
    """)
_constructor(sparse_csc, "Matrices column by column, of ccol_indices, row_indices, values, size.")
_constructor(sparse_bsr, "Matrices in blocks, row by row; values is (blocks, height, width).")
_constructor(sparse_bsc, "Matrices in blocks, column by column; values is (blocks, height, width).")
