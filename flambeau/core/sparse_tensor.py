"""Values that stand in for the array of a sparse tensor: where its elements are, and which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends.numpy.sparse import expand_pointers
from flambeau.base.device import layout, sparse_bsc, sparse_bsr, sparse_coo, sparse_csr
from flambeau.base.errors import told
from flambeau.core.dispatch import Number
from flambeau.core.dispatch import record as record_node
from flambeau.core.levels import RULES, SPARSE, Handle
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap

__all__ = ["BY_ROW", "Compressed", "Coo", "RULES_OF", "Sparse", "finish", "is_sparse", "rule",
           "run", "unsupported"]

ndarray = np.ndarray
# The layouts whose pointers run over rows, and those of blocks.
BY_ROW = frozenset((sparse_csr, sparse_bsr))
BLOCKED = frozenset((sparse_bsr, sparse_bsc))
# What runs an operator one of whose inputs is sparse: by the operator's name,
# a function of the operator, its inputs and its parameters.
RULES_OF: dict[str, Callable] = {}


class _Flags:
    """What NumPy tells of an array's memory: the elements of sparse ones do not lie in a row."""

    c_contiguous = f_contiguous = forc = False
    writeable = True


class Sparse(Handle):
    """A sparse tensor: ``value`` is the plain tensor of its elements, of shape ``sizes``."""

    __slots__ = ("sizes",)
    flags = _Flags()
    layout: layout

    def __init__(self, value: ndarray, sizes: Sequence[int]) -> None:
        super().__init__(SPARSE, wrap(value))
        self.sizes = tuple(sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def strides(self) -> tuple[int, ...]:
        return (0,) * len(self.sizes)

    @property
    def __array_interface__(self) -> dict:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    @property
    def values(self) -> ndarray:
        """The elements."""
        return self.value._a

    def with_values(self, values: ndarray) -> Any:
        """The same places with other elements."""
        raise NotImplementedError

    def places(self) -> tuple[ndarray, ...]:
        """Index arrays that read the elements, in the shape of ``values``, out of a whole array.

        There are as many as sparse and batch dimensions; without any the elements are a whole
        array each.
        """
        raise NotImplementedError


class Coo(Sparse):
    """Elements with their coordinates.

    ``indices`` is an int64 array (sparse dimensions, elements). What is beside them in ``sizes``
    are dense dimensions: then an element is itself an array. ``coalesced`` says that places are
    in order and appear once; otherwise elements of one place are added.
    """

    __slots__ = ("coalesced", "indices")
    layout = sparse_coo

    def __init__(self, indices: ndarray, values: ndarray, sizes: Sequence[int],
                 coalesced: bool = False) -> None:
        super().__init__(values, sizes)
        self.indices = indices
        self.coalesced = coalesced

    @property
    def sparse_dim(self) -> int:
        """How many dimensions are sparse."""
        return self.indices.shape[0]

    @property
    def count(self) -> int:
        """How many elements are kept."""
        return self.indices.shape[1]

    def with_values(self, values: ndarray) -> Coo:
        return Coo(self.indices, values, self.sizes, self.coalesced)

    def places(self) -> tuple[ndarray, ...]:
        return tuple(self.indices)


class Compressed(Sparse):
    """Matrices whose elements (or blocks) lie row by row, or column by column.

    ``pointers`` says per row, and ``plain`` per element, as ``crow_indices`` and ``col_indices``
    do of ``sparse_csr``; for the layouts by column they are ``ccol_indices``, ``row_indices``.
    """

    __slots__ = ("kind", "plain", "pointers")

    def __init__(self, kind: layout, pointers: ndarray, plain: ndarray, values: ndarray,
                 sizes: Sequence[int]) -> None:
        super().__init__(values, sizes)
        self.kind = kind
        self.pointers = pointers
        self.plain = plain

    @property
    def layout(self) -> layout:  # type: ignore[override]
        return self.kind

    @property
    def count(self) -> int:
        """How many elements or blocks are kept, of the batch's first matrix."""
        return self.plain.shape[-1]

    @property
    def block(self) -> tuple[int, int] | None:
        """The shape of a block; None where elements are kept one by one."""
        if self.kind not in BLOCKED:
            return None
        first = self.plain.ndim
        return self.values.shape[first], self.values.shape[first + 1]

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch dimensions."""
        return self.plain.shape[:-1]

    def with_values(self, values: ndarray) -> Compressed:
        return Compressed(self.kind, self.pointers, self.plain, values, self.sizes)

    def lines(self) -> ndarray:
        """The row (or column) of each element, in the shape of ``plain``."""
        if not self.batch:
            return expand_pointers(self.pointers)
        flat = self.pointers.reshape(-1, self.pointers.shape[-1])
        rows = [expand_pointers(p) for p in flat]
        return np.array(rows, np.int64).reshape(self.plain.shape)

    def places(self) -> tuple[ndarray, ...]:
        lines = self.lines()
        pair = (lines, self.plain) if self.kind in BY_ROW else (self.plain, lines)
        batch = np.indices(self.plain.shape)[:-1] if self.batch else ()
        if self.block is None:
            return (*batch, *pair)
        height, width = self.block
        rows = pair[0][..., None, None] * height + np.arange(height)[:, None]
        columns = pair[1][..., None, None] * width + np.arange(width)
        return (*[b[..., None, None] for b in batch], rows, columns)


def is_sparse(t: Any) -> bool:
    """Whether ``t`` is a sparse tensor of any layout."""
    return isinstance(t, Tensor) and isinstance(t._a, Sparse)


_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
_BACKENDS = {sparse_coo: "SparseCPU"}


def unsupported(name: str, operands: Sequence[Any]) -> NotImplementedError:
    """The error for an operator that sparse tensors do not have."""
    found = [t for t in operands if is_sparse(t)]
    if name in _COMPARISONS:
        name += ".Tensor" if all(isinstance(x, Tensor) for x in operands) else ".Scalar"
    first = f"Could not run 'aten::{name}' with arguments from the "
    if not found:
        return NotImplementedError(first + "'CPU' backend.")
    backend = _BACKENDS.get(found[0]._a.layout, "SparseCsrCPU")
    return NotImplementedError(told(f"{first}'{backend}' backend.", "sparse", found, False))


def rule(*names: str) -> Callable[[Callable], Callable]:
    """Declare how the operators ``names`` run where an input is sparse."""

    def declare(function: Callable) -> Callable:
        for name in names:
            RULES_OF[name] = function
        return function

    return declare


def process(op: Op, inputs: Sequence[Any], params: dict[str, Any], level: float) -> Any:
    """Run ``op`` on sparse tensors by its rule."""
    found = RULES_OF.get(op.name)
    if found is None:
        raise unsupported(op.name, inputs)
    return found(op, inputs, params)


def finish(op: Op, inputs: Sequence[Any], params: dict[str, Any], out: Any) -> Tensor:
    """A tensor over ``out``, with the node of ``op`` where a gradient is due."""
    result = wrap(out if isinstance(out, Sparse) else np.asarray(out))
    if op.differentiable and MODES.grad:
        own = [t if t is None or isinstance(t, Tensor) else Number(t) for t in inputs]
        if any(t is not None and t._node is not None for t in own):
            record_node(op, own, params, result)
    return result


def run(op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Tensor:
    """An operator of sparse tensors: its forward takes and gives arrays and their stand-ins."""
    return finish(op, inputs, params,
                  op.forward(*[None if t is None else t._a for t in inputs], **params))


for _kind in (Coo, Compressed):
    RULES[_kind] = process
