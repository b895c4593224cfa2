"""Questions about tensors that are seldom asked, and the older spellings of their methods."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.base import device as devices
from flambeau.base.device import as_device
from flambeau.base.dtypes import dtype
from flambeau.core import promote
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.promote import NUMBERS
from flambeau.core.storage import address, root_of
from flambeau.core.tensor import Tensor, new_tensor
from flambeau.ops import convert
from flambeau.ops.copy import ALIAS

__all__ = ["dim_order", "result_type"]


@public("torch")
def result_type(tensor1: Any, tensor2: Any) -> dtype:
    """The dtype of an arithmetic operation of two operands, tensors or Python numbers.

    >>> import flambeau as torch
    >>> torch.result_type(torch.tensor([1, 2], dtype=torch.int8), 1.5).is_floating_point
    True
    """
    for x in (tensor1, tensor2):
        if not isinstance(x, (Tensor, *NUMBERS)):
            got = ", ".join([type(x).__name__ for x in (tensor1, tensor2)])
            raise TypeError("result_type() received an invalid combination of arguments - got "
                            f"({got}), but expected one of:\n * (Tensor tensor, Tensor other)\n"
                            " * (Tensor tensor, Number other)\n * (Number scalar, Tensor tensor)"
                            "\n * (Number scalar1, Number scalar2)")
    return promote.result_type((tensor1, tensor2))


def _need_tensor(name: str, argument: str, value: Any, at: int = 1) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}(): argument '{argument}' (position {at}) must be Tensor, not "
                        f"{type(value).__name__}")


def _ask(name: str, method: str | None = None) -> None:
    """Show the method ``name`` of tensors as a function of torch as well."""

    def function(input: Tensor) -> Any:
        _need_tensor(name, "input", input)
        return getattr(input, method or name)()

    function.__doc__ = f"As ``Tensor.{name}``."
    public("torch", name=name)(function)


for _name in ("get_device", "is_inference", "is_signed", "is_nonzero"):
    _ask(_name)


@public("Tensor")
def is_nonzero(self: Tensor) -> bool:
    """Whether the only element is not zero."""
    return bool(self)


@public("torch")
def is_distributed(input: Tensor) -> bool:
    """False: a tensor is never spread over several devices."""
    _need_tensor("is_distributed", "input", input)
    return False


@public()
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    _need_tensor("is_same_size", "other", other)
    return input._a.shape == other._a.shape


@public("Tensor")
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors are the same memory, seen by the same size and strides."""
    _need_tensor("is_set_to", "tensor", tensor)
    a, b = self._a, tensor._a
    return (a.shape == b.shape and a.dtype == b.dtype and a.strides == b.strides
            and address(a) == address(b) and address(root_of(self)) == address(root_of(tensor)))


@public("Tensor")
def is_pinned(self: Tensor, device: Any = None) -> bool:
    """False: there is no accelerator to pin memory for."""
    return False


@public("Tensor")
def pin_memory(self: Tensor, device: Any = None) -> NoReturn:
    """Raises RuntimeError: there is no accelerator to pin memory for."""
    raise RuntimeError("Cannot access accelerator device when none is available.")


@public("Tensor")
def cuda(self: Tensor, device: Any = None, non_blocking: bool = False,
         memory_format: Any = devices.preserve_format) -> NoReturn:
    """Raises AssertionError: no backend serves CUDA."""
    as_device("cuda")
    raise AssertionError("unreachable")


@public("Tensor")
def const_data_ptr(self: Tensor) -> int:
    """The address of the first element; 0 for an empty tensor."""
    return address(self._a) if self._a.size else 0


@public("Tensor")
def dim_order(self: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the one whose elements lie farthest apart to the closest.

    ``ambiguity_check`` True raises RuntimeError where the strides allow more than one order; a
    list of memory formats raises where they allow more than one of those.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3).t().dim_order()
    (1, 0)
    """
    a = self._a
    if ambiguity_check is not False:
        _refuse_ambiguous(self, ambiguity_check)
    if a.flags.c_contiguous:
        return tuple(range(a.ndim))
    order = list(range(a.ndim))
    for last in reversed(range(a.ndim)):
        at = last
        for later in range(last + 1, a.ndim):
            nearer = _compare_places(a, order[at], order[later])
            if nearer > 0:
                break
            if nearer < 0:
                order[at], order[later] = order[later], order[at]
                at = later
    return tuple(order)


def _compare_places(a: Any, first: int, second: int) -> int:
    """Whether dimension ``first`` lies outside (1) or inside (-1) ``second``; 0: cannot tell."""
    one, other = (a.strides[first], a.shape[first]), (a.strides[second], a.shape[second])
    if not (one[0] and other[0]):
        return 0
    if one[0] != other[0]:
        return 1 if one[0] > other[0] else -1
    return -1 if one[1] < other[1] else 0


NO_UNIQUE = "The tensor does not have unique dim order"


def _refuse_ambiguous(t: Tensor, formats: Any) -> None:
    a = t._a
    if isinstance(formats, bool):
        formats = []
    elif not isinstance(formats, list) or not all(isinstance(f, devices.memory_format)
                                                  for f in formats):
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    several = 1 in a.shape or any(s == z for s, z in zip(a.strides, a.strides[1:]))
    fitting = [f for f in formats if t.is_contiguous(memory_format=f)]
    if several and len(fitting) != 1:
        raise RuntimeError(f"{NO_UNIQUE}, or cannot map to exact one of the given memory formats.")
    if 0 in a.strides:
        raise RuntimeError(f"{NO_UNIQUE}.")


@public("Tensor")
def as_subclass(self: Tensor, cls: type) -> Tensor:
    """The same values and history in a tensor of ``cls``, a class derived from Tensor."""
    if not isinstance(cls, type) or not issubclass(cls, Tensor):
        raise TypeError("Creating a Tensor subclass from a class that does not inherit from Tensor "
                        "is not possible. Make sure your class inherits from Tensor.")
    seen = apply(ALIAS, (self,))
    t = new_tensor(cls)
    t._a, t._node, t._v, t._x = seen._a, seen._node, seen._v, seen._x
    return t


def _make_subclass(cls: type, data: Tensor, require_grad: bool = False) -> Tensor:
    """A leaf of ``cls``, a class derived from Tensor, over the memory of ``data``."""
    return as_subclass(data.detach(), cls).requires_grad_(require_grad)


show(staticmethod(_make_subclass), "_make_subclass", "Tensor")


@public("Tensor")
def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What ``load_state_dict`` puts in this tensor's place: itself, overwritten, or ``other``."""
    return other.detach() if assign else self.copy_(other).detach()


# Names of Python 2's protocols, and functions that change their tensor.


@public("Tensor")
def __delitem__(self: Tensor, index: Any) -> NoReturn:
    raise TypeError("Tensor does not support deleting items")


@public("Tensor")
def __long__(self: Tensor) -> int:
    if self._a.size != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return int(self)


show(convert.__bool__, "__nonzero__", "Tensor")
show(Tensor.__itruediv__, "__idiv__", "Tensor")  # type: ignore[attr-defined]
for _name in ("addmv_", "as_strided_", "detach_", "square_", "xlogy_", "resize_as_sparse_"):
    if _name in Tensor.__dict__:
        show(getattr(Tensor, _name), _name, "torch")
