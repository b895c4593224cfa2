"""Views of a part of a tensor: select, narrow, diagonal, unfold, as_strided."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.base.device import strided
from flambeau.base.shapes import contiguous_strides, wrap_dim
from flambeau.core import dispatch, index_ops
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.inplace import bump
from flambeau.core.kinds import linear, view
from flambeau.core.levels import Handle
from flambeau.core.op import OPS, Op
from flambeau.core.storage import (
    UntypedStorage,
    address,
    bytes_of,
    restrided,
    root_of,
    start_of,
)
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.shape import shifting, sizes_of, unsqueeze


@public()
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The view at position ``index`` of dimension ``dim``, which is left out.

    >>> import flambeau as torch
    >>> torch.tensor([[1, 2], [3, 4]]).select(1, 0)
    tensor([1, 3])
    """
    shape = input._a.shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim, at = wrap_dim(dim, len(shape)), operator.index(index)
    n = shape[dim]
    if not -n <= at < n:
        raise IndexError(f"select(): index {at} out of range for tensor of size {list(shape)} at "
                         f"dimension {dim}")
    return index_ops.select(input, dim, at)


@public()
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """The view of ``length`` positions of dimension ``dim`` from ``start``."""
    shape = input._a.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim = wrap_dim(dim, len(shape))
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if isinstance(start, Tensor) and (start._a.ndim or start._a.dtype.kind not in "iu"):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    at, n = operator.index(start), shape[dim]
    if not -n <= at <= n:
        raise IndexError(f"start out of range (expected to be in range of [-{n}, {n}], but got "
                         f"{at})")
    at = at + n if at < 0 else at
    if at + length > n:
        raise RuntimeError(f"start ({at}) + length ({length}) exceeds dimension size ({n}).")
    return index_ops.slice_of(input, dim, at, at + length)


def _diagonal_view(a: np.ndarray, offset: int, dim1: int, dim2: int) -> np.ndarray:
    # Without arguments it is quicker.
    found = a.diagonal() if not offset and not dim1 and dim2 == 1 else (
        a.diagonal(offset, dim1, dim2))
    try:
        found.setflags(True)  # type: ignore[call-arg]  # quicker than by name
    except ValueError:
        pass  # the array itself is read-only
    return found


def _diagonal_place(g: np.ndarray, shape: tuple, offset: int, dim1: int,
                    dim2: int) -> np.ndarray:
    whole = np.zeros(shape, g.dtype)
    _diagonal_view(whole, offset, dim1, dim2)[...] = g
    return whole


DIAGONAL: Op = view(
    "diagonal", _diagonal_view,
    lambda g, input_shape, offset, dim1, dim2: apply(
        DIAGONAL_PLACE, (g,),
        {"shape": input_shape, "offset": offset, "dim1": dim1, "dim2": dim2}),
    params=("offset", "dim1", "dim2"), batch=shifting("dim1", "dim2"))
DIAGONAL_PLACE: Op = linear(
    "diagonal_backward", _diagonal_place,
    lambda g, offset, dim1, dim2: apply(
        DIAGONAL, (g,), {"offset": offset, "dim1": dim1, "dim2": dim2}),
    params=("shape", "offset", "dim1", "dim2"), batch=shifting("dim1", "dim2"))


_MAIN_DIAGONAL = {"offset": 0, "dim1": 0, "dim2": 1}


def two_dims(dim1: int, dim2: int, rank: int) -> tuple[int, int]:
    """Two different dimensions, counted from the front."""
    first, second = wrap_dim(dim1, rank), wrap_dim(dim2, rank)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return first, second


@public()
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of the diagonal of two dimensions, which becomes the last dimension."""
    a = input._a
    params = _MAIN_DIAGONAL
    if offset or dim1 or dim2 != 1 or a.ndim < 2:
        dim1, dim2 = two_dims(dim1, dim2, a.ndim)
        params = {"offset": offset, "dim1": dim1, "dim2": dim2}
    if type(a) is not np.ndarray:
        return apply(DIAGONAL, (input,), params)
    return dispatch.make_view(DIAGONAL, input, _diagonal_view(a, offset, dim1, dim2), params)


# Windows.


def _unfold_forward(a: np.ndarray, dimension: int, size: int, step: int) -> np.ndarray:
    count = (a.shape[dimension] - size) // step + 1
    shape = (*a.shape[:dimension], count, *a.shape[dimension + 1:], size)
    along = a.strides[dimension]
    strides = (*a.strides[:dimension], along * step, *a.strides[dimension + 1:], along)
    return np.lib.stride_tricks.as_strided(a, shape, strides,
                                           writeable=a.flags.writeable and step >= size)


def _fold(g: np.ndarray, shape: tuple, dimension: int, size: int, step: int) -> np.ndarray:
    """The sum of windows laid back to where they were taken from, ``step`` elements at a time."""
    whole = np.zeros(shape, g.dtype)
    pieces = np.moveaxis(g, dimension, -2)
    count = pieces.shape[-2]
    if not count or not size:
        return whole
    lines = np.moveaxis(whole, dimension, -1)
    parts = -(-size // step)
    sums = np.zeros((*lines.shape[:-1], count + parts - 1, step), g.dtype)
    for k in range(parts):
        part = pieces[..., k * step:(k + 1) * step]
        sums[..., k:k + count, :part.shape[-1]] += part
    used = (count - 1) * step + size
    lines[..., :used] = sums.reshape(*lines.shape[:-1], -1)[..., :used]
    return whole


UNFOLD: Op = view(
    "unfold", _unfold_forward,
    lambda g, input_shape, dimension, size, step: apply(
        FOLD, (g,), {"shape": input_shape, "dimension": dimension, "size": size, "step": step}),
    params=("dimension", "size", "step"), batch=shifting("dimension"))
FOLD: Op = linear(
    "unfold_backward", _fold,
    lambda g, dimension, size, step: apply(
        UNFOLD, (g,), {"dimension": dimension, "size": size, "step": step}),
    params=("shape", "dimension", "size", "step"), widen=True, batch=shifting("dimension"))


@public("Tensor")
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of all windows of ``size`` along ``dimension``, every ``step``, in a new last one.

    >>> import flambeau as torch
    >>> torch.arange(4).unfold(0, 2, 1)
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    shape = self._a.shape
    dimension = wrap_dim(dimension, len(shape))
    limit = shape[dimension] if shape else 1
    if size > limit:
        raise RuntimeError(f"maximum size for tensor at dimension {dimension} is {limit} but size "
                           f"is {size}")
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not shape:
        return index_ops.slice_of(unsqueeze(self, 0), 0, 0, size)
    return apply(UNFOLD, (self,), {"dimension": dimension, "size": size, "step": step})


# Any strides over the storage. ``layout`` is the shape and strides of the input, in elements,
# ``shift`` how many elements after the input's first the result's first lies.


def _strided_forward(a: np.ndarray, size: tuple, stride: tuple, shift: int,
                     layout: tuple) -> np.ndarray:
    n = a.itemsize
    if not all(size):
        return np.empty(size, a.dtype)
    first = np.lib.stride_tricks.as_strided(a, (1,), (n,), writeable=a.flags.writeable)
    span = 1 + sum((m - 1) * s for m, s in zip(size, stride))
    if shift >= 0:
        whole = np.lib.stride_tricks.as_strided(first, (shift + span,), (n,),
                                                writeable=a.flags.writeable)
        start = whole[shift:]
    else:
        whole = np.lib.stride_tricks.as_strided(first, (1 - shift,), (-n,),
                                                writeable=a.flags.writeable)
        start = whole[-shift:]
    return np.lib.stride_tricks.as_strided(start, size, tuple([s * n for s in stride]),
                                           writeable=a.flags.writeable)


def _positions(size: Sequence[int], stride: Sequence[int], shift: int) -> np.ndarray:
    found = np.array(shift)
    for n, s in zip(size, stride):
        found = found[..., None] + np.arange(n) * s
    return found


def places(size: tuple, stride: tuple, shift: int, layout: tuple) -> tuple:
    """Where input and result lie in a buffer that holds both, and its length."""
    low = min(shift, 0)
    inside = _positions(layout[0], layout[1], -low)
    outside = _positions(size, stride, shift - low)
    count = 1 + max(inside.max(initial=0), outside.max(initial=0))
    return inside, outside, count


def _strided_back(g: np.ndarray, size: tuple, stride: tuple, shift: int,
                  layout: tuple) -> np.ndarray:
    inside, outside, count = places(size, stride, shift, layout)
    buffer = np.zeros(count, g.dtype)
    np.add.at(buffer, outside.ravel(), g.ravel())
    shared = np.bincount(inside.ravel(), minlength=count)
    if shared.max(initial=0) > 1:
        buffer /= np.maximum(shared, 1).astype(buffer.real.dtype)
    return buffer[inside]


def _strided_copy(a: np.ndarray, size: tuple, stride: tuple, shift: int,
                  layout: tuple) -> np.ndarray:
    inside, outside, count = places(size, stride, shift, layout)
    buffer = np.zeros(count, a.dtype)
    buffer[inside] = a
    return buffer[outside]


_GEOMETRY = ("size", "stride", "shift", "layout")


def _geometry(size: tuple, stride: tuple, shift: int, layout: tuple) -> dict:
    return {"size": size, "stride": stride, "shift": shift, "layout": layout}


def _strided_grad(g: Tensor, size: tuple, stride: tuple, shift: int, layout: tuple) -> Tensor:
    return apply(AS_STRIDED_BACK, (g,), _geometry(size, stride, shift, layout))


def strided_copy(g: Tensor, size: tuple, stride: tuple, shift: int, layout: tuple) -> Tensor:
    """As ``as_strided`` would read a tensor laid out as ``layout`` with the values ``g``."""
    return apply(AS_STRIDED_COPY, (g,), _geometry(size, stride, shift, layout))


def _strided_batch(op: Any, inputs: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple:
    n = inputs[0]._a.shape[dims[0]]
    parts = [apply(AS_STRIDED_COPY, (inputs[0].select(dims[0], i),), params).unsqueeze(0)
             for i in range(n)]
    return apply(OPS["cat"], parts, {"dim": 0}), 0


AS_STRIDED = view("as_strided", _strided_forward, _strided_grad, params=_GEOMETRY,
                  batch=_strided_batch)
AS_STRIDED.jvp = lambda tangents, out, input, **geometry: (
    None if tangents[0] is None else apply(AS_STRIDED_COPY, (tangents[0],), geometry))
AS_STRIDED_COPY: Op = linear("as_strided_copy", _strided_copy, _strided_grad, params=_GEOMETRY)
AS_STRIDED_BACK = linear("as_strided_backward", _strided_back, strided_copy, params=_GEOMETRY)


@public()
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of any size and strides (in elements) of the tensor's storage, within its bounds."""
    size, stride = sizes_of((size,)), sizes_of((stride,))
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError("as_strided: Negative strides are not supported at the moment, got "
                           f"strides: {list(stride)}")
    if storage_offset is not None and storage_offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {storage_offset}")
    if type(input._a) is not np.ndarray:
        return apply(AS_STRIDED, (input,), _stand_in_geometry(input, size, stride, storage_offset))
    start = start_of(input)
    offset = start if storage_offset is None else storage_offset
    check_bounds(size, stride, offset, input)
    layout = (input._a.shape, input.stride())  # type: ignore[attr-defined]
    return apply(AS_STRIDED, (input,), _geometry(size, stride, offset - start, layout))


def _stand_in_geometry(input: Tensor, size: tuple, stride: tuple, offset: int | None) -> dict:
    """What of the memory behind a stand-in a view is; all of it unless that memory is at hand."""
    a = input._a
    layout = (a.shape, contiguous_strides(a.shape) if a.whole is None else a.steps())
    shift = 0 if offset is None else offset - start_of(input)
    last = sum((m - 1) * s for m, s in zip(*layout))
    if all(size) and not 0 <= shift <= last - sum((m - 1) * s for m, s in zip(size, stride)):
        check_bounds(size, stride, shift + start_of(input), input)
    return _geometry(size, stride, shift, layout)


def check_bounds(size: Sequence[int], stride: Sequence[int], offset: int, t: Tensor) -> None:
    """Raise where a view would reach outside the storage of ``t``."""
    n = t._a.itemsize
    need = 0 if not all(size) else n * (
        offset + 1 + sum((m - 1) * s for m, s in zip(size, stride)))
    root = root_of(t)
    whole = root.whole if isinstance(root, Handle) else root
    have = root.size * n if whole is None else bytes_of(whole).size
    if need > have:
        raise RuntimeError(f"setStorage: sizes {list(size)}, strides {list(stride)}, storage "
                           f"offset {offset}, and itemsize {n} requiring a storage size of {need} "
                           f"are out of bounds for storage of size {have}")


def _restate(self: Tensor, array: np.ndarray) -> Tensor:
    self._a = array
    bump(self)
    return self


@public("Tensor")
def as_strided_(self: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """In-place version of ``as_strided``."""
    found = as_strided(self, size, stride, storage_offset)
    meta = self._meta()
    meta.root = root_of(found)
    self._node = found._node
    return _restate(self, found._a)


@public("Tensor")
def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Give this tensor another size: the same storage where it is long enough, else a longer one.

    Elements beyond the old ones are not initialised.
    """
    size = sizes_of(sizes)
    if self._node is not None:
        raise RuntimeError("cannot resize variables that require grad")
    if any(n < 0 for n in size):
        raise RuntimeError(f"Trying to create tensor with negative dimension "
                           f"{min(size)}: {list(size)}")
    if size == self._a.shape:
        return self
    held, memory, start = self._a.dtype, bytes_of(root_of(self)), start_of(self)
    stride = contiguous_strides(size)
    need = held.itemsize * (start + int(np.prod(size, dtype=np.int64)))
    if need <= memory.size:
        self._meta().root = root_of(self)
        return _restate(self, restrided(memory, held, size, stride, start))
    longer = np.zeros(need, np.uint8)
    longer[:memory.size] = memory
    whole = longer.view(held)
    self._meta().root = whole
    return _restate(self, restrided(bytes_of(whole), held, size, stride, start))


@public("torch", "Tensor")
def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Give this tensor the size of another."""
    return resize_(self, the_template._a.shape)


def _storage_for(t: Tensor, source: Any) -> tuple[np.ndarray, np.ndarray]:
    """The array behind a storage that ``t`` shall read, and its bytes."""
    if not hasattr(source, "untyped"):
        raise TypeError("set_() received an invalid combination of arguments - got "
                        f"({type(source).__name__}), but expected one of:\n * ()\n"
                        " * (torch.Storage source)\n * (torch.Storage source, int storage_offset, "
                        "tuple of ints size, tuple of ints stride = None)\n * (Tensor source)\n"
                        " * (Tensor source, int storage_offset, tuple of ints size, tuple of ints "
                        "stride = None)")
    held = getattr(source, "dtype", t.dtype)
    if held is not t.dtype:
        raise RuntimeError(f"Expected a Storage of type {t.dtype.title.lower()} or an "
                           f"UntypedStorage, but got type {held.title} for argument 1 'storage'")
    storage = source.untyped()
    storage._alone = False
    return storage._root, bytes_of(storage._root)


@public("Tensor")
def set_(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None,
         stride: Any = None) -> Tensor:
    """Make this tensor read the memory of ``source``, a tensor or a storage; empty without one."""
    held = self._a.dtype
    if source is None:
        self._meta().root = None
        return _restate(self, np.empty(0, held))
    if not isinstance(source, Tensor):
        root, memory = _storage_for(self, source)
        if size is None:
            size = (memory.size // held.itemsize,)
    else:
        if source._a.dtype != held:
            raise RuntimeError(f"Could not set tensor of type {source.dtype} to a tensor of type "
                               f"{self.dtype}")
        root = root_of(source)
        if size is None:
            self._meta().root = root
            return _restate(self, source._a)
        memory = bytes_of(root)
    size = sizes_of((size,))
    steps = contiguous_strides(size) if stride is None else sizes_of((stride,))
    check_bounds(size, steps, storage_offset, wrap(memory.view(held)))
    self._meta().root = root
    return _restate(self, restrided(memory, held, size, steps, storage_offset))


def _data_ptr(self: Tensor) -> int:
    """The address of the first element; 0 for an empty tensor."""
    return address(self._a) if self._a.size else 0


def _untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that this tensor shares with its views."""
    if self.layout is not strided:
        raise NotImplementedError("Cannot access storage of SparseTensorImpl")
    return UntypedStorage.of(root_of(self))


def _element_size(self: Tensor) -> int:
    """The bytes of one element."""
    return self._a.itemsize


def _nbytes(self: Tensor) -> int:
    """The bytes of all elements."""
    if self.is_sparse:
        raise RuntimeError("nbytes is not defined for sparse tensors.  If you want the size of the "
                           "constituent tensors, add the nbytes of the indices and values.  If you "
                           "want the size of the  equivalent dense tensor, multiply numel() by "
                           "element_size()")
    return self._a.itemsize * self._a.size


show(_data_ptr, "data_ptr", "Tensor")
show(start_of, "storage_offset", "Tensor")
show(_untyped_storage, "untyped_storage", "Tensor")
show(_element_size, "element_size", "Tensor")
show(UntypedStorage, "UntypedStorage", "torch")
show(property(lambda self: self._a.itemsize, doc="The bytes of one element."), "itemsize",
     "Tensor")
show(property(_nbytes), "nbytes", "Tensor")

__all__ = ["AS_STRIDED", "DIAGONAL", "as_strided", "diagonal", "narrow", "places", "select",
           "strided_copy", "two_dims", "unfold"]
