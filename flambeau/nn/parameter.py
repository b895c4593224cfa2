"""Parameters and buffers: tensors that a module counts as its own."""

from __future__ import annotations

import sys
from types import MethodType
from typing import Any

import numpy as np

from flambeau.base.device import as_device
from flambeau.base.dtypes import get_default_dtype
from flambeau.base.errors import told, user_frame
from flambeau.core.levels import RULES, Handle
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor, wrap

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter",
           "UninitializedTensorMixin", "is_lazy"]


class _Marked(type):
    """The type of Parameter and Buffer: other tensors that carry the mark are instances, too."""

    mark: str

    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        mark = cls.__dict__.get("mark")
        return mark is not None and isinstance(instance, Tensor) and getattr(instance, mark, False)


class Parameter(Tensor, metaclass=_Marked):
    """A leaf tensor that a module registers when it is assigned as an attribute.

    It shares the memory of ``data`` and records operations unless ``requires_grad`` is False.

    >>> import flambeau as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    mark = "_is_param"

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = wrap(np.empty(0, get_default_dtype().np))
        shared = data.detach()
        if requires_grad and shared._a.dtype.kind in "biu":
            raise RuntimeError(told("Only Tensors of floating point and complex dtype can require "
                                    "gradients", "integer_grad", (data,)))
        t = object.__new__(cls)
        t._a, t._v, t._x = shared._a, shared._v, shared._x
        t._node = LEAF if requires_grad else None
        return t

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """All is done by ``__new__``."""

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) not in memo:
            copied = self.data.clone()
            memo[id(self)] = type(self)(copied, self.requires_grad)
        return memo[id(self)]

    def __repr__(self, *,  # type: ignore[override]
                 tensor_contents: str | None = None) -> str:
        inside = super().__repr__()
        if type(self) is not Parameter:
            inside = f"Parameter({inside})"
        return "Parameter containing:\n" + inside


class Buffer(Tensor, metaclass=_Marked):
    """A tensor that a module registers as a buffer when it is assigned as an attribute.

    >>> import flambeau as torch
    >>> net = torch.nn.Module()
    >>> net.scale = torch.nn.Buffer(torch.ones(2))
    >>> list(net.state_dict())
    ['scale']
    """

    mark = "_is_buffer"

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = wrap(np.empty(0, get_default_dtype().np))
        t = data.detach().requires_grad_(data.requires_grad)
        t.persistent = persistent
        t._is_buffer = True
        return t


class _Unknown(Handle):
    """Stands for the array of a tensor whose shape is not known yet."""

    __slots__ = ("kind",)

    def __init__(self, held: np.dtype, kind: type) -> None:
        super().__init__(_ABOVE_ALL, wrap(np.empty(0, held)))
        self.kind = kind

    ndim = 1

    @property
    def shape(self) -> Any:
        frame, name = sys._getframe(1), "?"
        user = user_frame()
        while frame is not None and frame is not user:
            if frame.f_code.co_name not in _WRAPPERS:
                name = frame.f_code.co_name
            frame = frame.f_back  # type: ignore[assignment]
        raise _uninitialized(name, self.kind)


_WRAPPERS = ("call", "like")
_ABOVE_ALL = 1 << 40  # the level of a transform that goes before every other one
_UNINITIALIZED = (
    "Attempted to use an uninitialized parameter in {what}. This error happens when you are using "
    "a `LazyModule` or explicitly manipulating `torch.nn.parameter.{kind}` objects. When using "
    "LazyModules Call `forward` with a dummy batch to initialize the parameters before calling "
    "torch functions")
_NO_SHAPE = (
    "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
    "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. "
    "Call `forward` to initialize the parameters before accessing their attributes.")
_NOT_SHARED = (
    "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the "
    "parameters before calling `module.share_memory()`.")


def _uninitialized(name: str, kind: type) -> ValueError:
    what = f"<method '{name}' of 'torch._C.TensorBase' objects>"
    return ValueError(_UNINITIALIZED.format(what=what, kind=kind.__name__))


def _refuse(op: Any, inputs: Any, params: dict, level: float) -> Any:
    """What running an operator on such a tensor comes to."""
    raise _uninitialized(op.name, next(type(t) for t in inputs if is_lazy(t)))


RULES[_Unknown] = _refuse
_CONVERSIONS = ("to", "half", "float", "double", "char", "short", "int", "long", "cpu", "cuda")
_ALLOWED = frozenset(("materialize", "share_memory_", "size", "copy_", "is_complex",
                      "is_floating_point", "get_device", *_CONVERSIONS))


class UninitializedTensorMixin:
    """A tensor of a lazy module: it has a dtype, but no shape and no values yet.

    ``materialize`` gives it a shape; from then on it is a tensor of class ``cls_to_become``.
    Everything but conversions raises ValueError before.
    """

    __slots__ = ()
    cls_to_become: type
    _a: Any
    _x: Any

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if type(value) is MethodType and name[:1] != "_" and name not in _ALLOWED:
            def refused(*args: Any, **kwargs: Any) -> Any:
                raise _uninitialized(name, type(self))
            return refused
        return value

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give the tensor its shape, with whatever values the memory holds."""
        as_device(device)
        held = self._a.value.dtype if dtype is None else dtype
        self._a = np.empty(tuple(shape), held.np)
        self.__class__ = self.cls_to_become  # type: ignore[assignment]

    @property
    def shape(self) -> Any:
        """Not known: raises RuntimeError."""
        raise RuntimeError(_NO_SHAPE)

    @property
    def data(self) -> Tensor:
        """An empty tensor of the dtype; of a buffer, itself."""
        return self._a.value if isinstance(self, Parameter) else self  # type: ignore[return-value]

    @data.setter
    def data(self, value: Tensor) -> None:
        if is_lazy(value):
            self._a = value._a
        elif value._a.shape == (0,):
            self._a = _Unknown(value.dtype.np, type(self))
        else:
            self._a = value._a

    def size(self, dim: int | None = None) -> Any:
        """The size of an empty tensor."""
        return self._a.value.size(dim)

    def copy_(self, src: Any, non_blocking: bool = False) -> Any:
        """Take over nothing from an empty tensor; others do not fit."""
        if not is_lazy(src):
            self._a.value.copy_(src)
        return self

    def share_memory_(self) -> Any:
        """Raises RuntimeError: there is no memory yet."""
        raise RuntimeError(_NOT_SHARED)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self.requires_grad,)  # type: ignore[attr-defined]


def _conversion(name: str) -> Any:
    def convert(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = getattr(self._a.value, name)(*args, **kwargs)
        if found.dtype == self.dtype:
            return self
        if isinstance(self, UninitializedBuffer):
            return type(self)(dtype=found.dtype, persistent=self.persistent)
        return found

    convert.__name__ = name
    convert.__doc__ = f"``{name}`` of an empty tensor."
    return convert


def _refusal(name: str) -> Any:
    def refused(self: Any, *args: Any) -> Any:
        raise _uninitialized(name, type(self))

    return refused


for _name in ("__len__", "__getitem__", "__setitem__", "__iter__", "__bool__", "__float__",
              "__int__", "__array__", "__contains__"):
    setattr(UninitializedTensorMixin, _name, _refusal(_name))
for _name in _CONVERSIONS:
    setattr(UninitializedTensorMixin, _name, _conversion(_name))


def is_lazy(param: Any) -> bool:
    """Whether ``param`` waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # type: ignore[misc]
    """A parameter whose shape is not known yet; ``materialize`` makes it a Parameter.

    >>> import flambeau as torch
    >>> weight = torch.nn.parameter.UninitializedParameter()
    >>> weight
    <UninitializedParameter>
    >>> weight.materialize((2, 3))
    >>> weight.shape
    torch.Size([2, 3])
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None,
                dtype: Any = None) -> UninitializedParameter:
        return _unknown_tensor(cls, requires_grad, device, dtype)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        """All is done by ``__new__``."""

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, None, self._a.value.dtype)
        return memo[id(self)]


class UninitializedBuffer(UninitializedTensorMixin, Tensor):  # type: ignore[misc]
    """A buffer whose shape is not known yet; ``materialize`` makes it a tensor."""

    cls_to_become = Tensor

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None,
                persistent: bool = True) -> UninitializedBuffer:
        t = _unknown_tensor(cls, requires_grad, device, dtype)
        t.persistent = persistent
        t._is_buffer = True
        return t

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None,
                 persistent: bool = True) -> None:
        """All is done by ``__new__``."""


def _unknown_tensor(kind: type, requires_grad: bool, place: Any, dtype: Any) -> Any:
    as_device(place)
    t: Any = object.__new__(kind)
    t._a = _Unknown((dtype or get_default_dtype()).np, kind)
    t._v = t._x = None
    t._node = LEAF if requires_grad else None
    return t
