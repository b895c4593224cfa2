"""Leaving and entering tensors: NumPy, Python numbers, text, pickles, DLPack."""

from __future__ import annotations

import copy as copying
from typing import Any

import numpy as np

from flambeau.base import naming
from flambeau.base.device import device, strided
from flambeau.base.dtypes import ALL, BOOL, COMPLEX, FROM_NUMPY, INT, dtype
from flambeau.base.errors import told
from flambeau.core.face import public, show
from flambeau.core.levels import MANY_DIMS, SPARSE, TRACED, Batched
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF
from flambeau.core.printing import format_tensor
from flambeau.core.stand_in_text import text_of
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast, detach

NO_NUMPY = frozenset(
    (
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
    )
)

Tensor._text = staticmethod(text_of)  # type: ignore[method-assign]
show(format_tensor, "__format__", "Tensor")


_NO_VALUE = (
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling "
    ".item() on a Tensor, please try to rewrite what you're doing with other operations. If error "
    "is occurring somewhere inside PyTorch internals, please file a bug report."
)
_NO_BRANCH = (
    "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We "
    "don't support that yet, please file an issue at "
    "https://github.com/pytorch/pytorch/issues .\n\n"
    "  the condition differs over the batch: use torch.where() to choose elementwise."
)


def plain(t: Tensor, what: str) -> np.ndarray:
    """The array of ``t``; RuntimeError inside vmap, where it has one value per example."""
    a = t._a
    while type(a) is not np.ndarray:
        if a.level == TRACED:
            return a.read()
        if a.level == SPARSE:
            return _sparse_array(t, what)
        if a.level == MANY_DIMS and what in (".numpy()", ".tolist()"):
            raise ValueError("number of dimensions must be within [0, 64]")
        if what == ".numpy()":
            raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")
        if isinstance(a, Batched) or not a.readable:
            raise RuntimeError(_NO_VALUE if what == ".item()" else _NO_BRANCH)
        a = a.value._a
    return a


def _sparse_array(t: Tensor, what: str) -> np.ndarray:
    if what == ".numpy()":
        raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")
    if what == ".tolist()":
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")
    return t.detach().to_dense()._a


@public("Tensor")
def item(self: Tensor) -> Any:
    """The only element, as a Python number."""
    a = self._a
    if a.size != 1:
        raise RuntimeError(f"a Tensor with {a.size} elements cannot be converted to Scalar")
    if MODES.tracer is not None and type(a) is not np.ndarray and a.level == TRACED:
        return MODES.tracer.item(self)
    return plain(self, ".item()").item()


@public("Tensor")
def tolist(self: Tensor) -> Any:
    """Nested lists of Python numbers; one number for a 0-dim tensor."""
    a = plain(self, ".tolist()")
    return a.astype(np.float64).tolist() if a.dtype.kind == "V" else a.tolist()


@public("Tensor")
def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """The array this tensor is over: a change of either shows in both."""
    if force:
        self = detach(self)
    elif self._node is not None:
        raise RuntimeError(
            told(
                "Can't call numpy() on Tensor that requires grad. Use "
                "tensor.detach().numpy() instead.",
                "numpy",
                (self,),
            )
        )
    a = plain(self, ".numpy()")
    if a.dtype.kind == "V":
        raise TypeError(f"Got unsupported ScalarType {self.dtype.title}")
    return a


@public("Tensor")
def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    a = numpy(self)
    if dtype is not None and a.dtype != dtype:
        return a.astype(dtype)
    return a.copy() if copy else a


@public("Tensor")
def __array_wrap__(
    self: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False
) -> Any:
    return wrap(np.asarray(array))


@public("Tensor")
def __buffer__(self: Tensor, flags: int) -> memoryview:
    return memoryview(numpy(self))


@public("Tensor")
def __bool__(self: Tensor) -> bool:
    a = self._a
    if a.size != 1:
        if not a.size:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError(
            told(
                "Boolean value of Tensor with more than one value is ambiguous",
                "bool",
                (self,),
                count=a.size,
                shape=list(a.shape),
            )
        )
    return bool(plain(self, "bool()").reshape(()))


def _as_number(name: str, kind: type) -> None:
    def convert(self: Tensor) -> Any:
        a = self._a
        if a.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return kind(plain(self, f"{kind.__name__}()").item())

    convert.__name__ = name
    show(convert, name, "Tensor")


_as_number("__float__", float)
_as_number("__int__", int)
_as_number("__complex__", complex)


@public("Tensor")
def __index__(self: Tensor) -> int:
    a = self._a
    if a.size != 1 or FROM_NUMPY[a.dtype].category > INT:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(plain(self, "index()").item())


def _deepcopy(self: Tensor, memo: dict) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the "
            "deepcopy protocol at the moment.  If you were attempting to deepcopy a "
            "module, this may be because of a torch.nn.utils.weight_norm usage, see "
            "https://github.com/pytorch/pytorch/pull/103001"
        )
    new = object.__new__(type(self))
    memo[id(self)] = new
    new._a = _copied_memory(self, memo) if self.layout is strided else self.detach().clone()._a
    new._node = self._node
    new._v = None
    new._x = None
    if self._x is not None and self._x.grad is not None:
        new._meta().grad = copying.deepcopy(self._x.grad, memo)
    new.__dict__.update(copying.deepcopy(self.__dict__, memo))
    return new


def _copied_memory(self: Tensor, memo: dict) -> np.ndarray:
    """A copy of the whole storage, once per storage, seen through this tensor's strides."""
    a = plain(self, "deepcopy()")
    root = a if self._x is None or self._x.root is None else self._x.root
    if root is a:
        if id(a) not in memo:
            memo[id(a)] = np.array(a, order="K")
        return memo[id(a)]
    if id(root) not in memo:
        memo[id(root)] = np.array(root, order="K")
    start = a.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    copied = memo[id(root)]
    if start < 0 or not root.flags.forc:
        return np.array(a, order="K")
    flat = copied.ravel(order="K").view(np.uint8)
    return np.ndarray(a.shape, a.dtype, flat, start, a.strides)


show(_deepcopy, "__deepcopy__", "Tensor")


def rebuild(kind: type, array: np.ndarray, name: str, requires_grad: bool, state: dict) -> Tensor:
    """A tensor from its pickled parts."""
    t: Tensor = object.__new__(kind)
    t._a = array if array.dtype.kind != "u" or not name.startswith(("b", "float8")) else array
    t._node = LEAF if requires_grad else None
    t._v = None
    t._x = None
    t.__dict__.update(state)
    return t


def _reduce(self: Tensor, protocol: int) -> tuple:
    if not self.is_leaf:
        raise RuntimeError(
            "cowardly refusing to serialize non-leaf tensor which requires_grad, "
            "since autograd does not support crossing process boundaries.  If you "
            "just want to transfer the data, call detach() on the tensor before "
            "serializing (e.g., putting it on the queue)."
        )
    if self.layout is not strided:
        # At start-up it would cost time that only sparse tensors need.
        from flambeau.ops.sparse.copies import reduced_sparse
        return reduced_sparse(self)
    a = plain(self, "pickle")
    return rebuild, (type(self), a, self.dtype.name, self.requires_grad, dict(self.__dict__))


show(_reduce, "__reduce_ex__", "Tensor")


@public("Tensor")
def __dlpack__(self: Tensor, **kwargs: Any) -> Any:
    if self._node is not None:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    return plain(self, "DLPack").__dlpack__(**kwargs)


@public("Tensor")
def __dlpack_device__(self: Tensor) -> tuple:
    return (1, 0)


@public("Tensor", name="type")
def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The legacy type name, or this tensor as another dtype.

    >>> import flambeau as torch
    >>> torch.ones(1).type().rpartition(".")[2]
    'FloatTensor'
    """
    if dtype is None:
        sparse = "" if self.layout is strided else "sparse."
        return f"{naming.prefix()}.{sparse}{self.dtype.title}Tensor"
    if isinstance(dtype, str):
        title = dtype.rpartition(".")[2].removesuffix("Tensor")
        found = next((d for d in ALL if d.title == title), None)
        if found is None:
            raise ValueError(f"invalid type: '{dtype}'")
        return cast(self, found)
    return cast(self, getattr(dtype, "dtype", dtype))


@public("Tensor")
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor in the dtype of ``other``."""
    return cast(self, other.dtype)


@public()
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return input.dtype.is_floating_point


@public()
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.dtype.category == COMPLEX


@public("Tensor")
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.dtype.is_signed


@public("Tensor")
def element_size(self: Tensor) -> int:
    """Bytes per element."""
    return self._a.itemsize


@public("Tensor")
def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """This tensor on the CPU: itself."""
    return self


@public("Tensor")
def get_device(self: Tensor) -> int:
    """The device's index; -1 on the CPU."""
    return -1


@public("torch")
def numel(input: Tensor) -> int:
    """The number of elements."""
    return input._a.size


@public("torch")
def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a tensor."""
    return isinstance(obj, Tensor)


@public("torch")
def typename(obj: Any) -> str:
    """The name of a tensor's type, such as "torch.FloatTensor", or of another object's class.

    >>> import flambeau as torch
    >>> torch.typename(torch.tensor(1)), torch.typename([])
    ('torch.LongTensor', 'list')
    """
    if isinstance(obj, Tensor):
        return f"{naming.prefix()}.{obj.dtype.title}Tensor"
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    owner = obj
    if not isinstance(name, str):
        owner = type(obj)
        name = owner.__qualname__
    module = naming.public_name(getattr(owner, "__module__", None) or "")
    return name if module in ("", "builtins", "__builtin__") else f"{module}.{name}"


__all__ = ["BOOL", "device", "dtype", "item", "numpy", "plain", "tolist", "typename"]
