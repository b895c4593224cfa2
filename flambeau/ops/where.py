"""Choosing between values by a mask, and filling with one value."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import conversions, fused
from flambeau.backends.conversions import in_rows, laid
from flambeau.backends.passing import is_brief
from flambeau.base.errors import warn_user
from flambeau.base.shapes import broadcast
from flambeau.core.dispatch import TRANSFORMS, Number, finish
from flambeau.core.face import public, show, with_out
from flambeau.core.inplace import bump, overwrite, store
from flambeau.core.kinds import pointwise
from flambeau.core.modes import MODES
from flambeau.core.pointwise import is_plain
from flambeau.core.promote import (
    NUMBERS,
    check_held,
    check_scalars,
    checked_array,
    checked_number,
    fits_all,
    kept_number,
    result_type,
)
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import zero_slope
from flambeau.ops.copy import cast

ndarray = np.ndarray
BOOL = np.dtype(np.bool_)
LARGE = 1 << 15


_PLAIN = (float, int)


def _as_mask(condition: ndarray) -> ndarray:
    return condition if condition.dtype.kind == "b" else condition != 0


def _select(condition: ndarray, x: ndarray, y: ndarray) -> ndarray:
    mask = condition if condition.dtype is BOOL else _as_mask(condition)
    if (mask.size >= LARGE or x.size >= LARGE or y.size >= LARGE) and not (
            is_brief(x) and is_brief(y)):
        found = fused.choose(mask, x, y)
        if found is not None:
            return found
    return np.where(mask, x, y)


WHERE = pointwise(
    "where", _select,
    (None, lambda g, condition: choose(condition, g, 0),
     lambda g, condition: choose(condition, 0, g)),
    inputs=("condition", "input", "other"), places=None).op


def _plain_array(x: Any, held: np.dtype) -> ndarray:
    if isinstance(x, Tensor):
        return x._a if x._a.dtype is held else x._a.astype(held)
    return kept_number(x, held)


def choose(condition: Tensor, input: Any, other: Any) -> Tensor:
    """``input`` where ``condition`` holds, else ``other``; tensors or numbers, broadcast."""
    operands = (condition, input, other)
    arrays: list[Any] = [x._a if isinstance(x, Tensor) else None for x in operands]
    for a in arrays:
        if a is not None and type(a) is not ndarray:
            return TRANSFORMS.process(WHERE, operands, {})
    mask, x, y = arrays
    if y is None and type(other) in _PLAIN and x is not None and x.dtype.kind == "f":
        y = kept_number(other, x.dtype)
    elif x is None or y is None or x.dtype is not y.dtype:
        held = result_type((input, other)).np
        x, y = _plain_array(input, held), _plain_array(other, held)
    try:
        out = laid(_select(mask, x, y), (mask, x, y))
    except ValueError:
        broadcast(broadcast(mask.shape, x.shape), y.shape)
        raise
    wrapped = [x if isinstance(x, Tensor) else Number(x) for x in operands]
    return finish(WHERE, wrapped, {}, out)


def _check_where(condition: Any, input: Any, other: Any) -> None:
    if not isinstance(condition, Tensor):
        raise TypeError("where(): argument 'condition' (position 1) must be Tensor, not "
                        f"{type(condition).__name__}")
    for x in (input, other):
        if not isinstance(x, (Tensor, *NUMBERS)):
            names = ", ".join(type(v).__name__ for v in (condition, input, other) if v is not None)
            raise TypeError("where() received an invalid combination of arguments - got "
                            f"({names}), but expected one of:\n"
                            " * (Tensor condition)\n"
                            " * (Tensor condition, Tensor or Number input, Tensor or Number "
                            "other, *, Tensor out = None)")
    if condition._a.dtype.kind == "b":
        return
    if condition._a.dtype != np.uint8:
        title = condition.dtype.title
        raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor "
                           f"with dtype {title}\n\n  compare first: condition != 0")
    warn_user("where received a uint8 condition tensor. This behavior is deprecated and will be "
              "removed in a future version of PyTorch. Use a boolean condition instead.")


@public("torch", out=True)
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where ``condition`` holds, else ``other``; broadcast and promoted.

    With the condition alone, the indices where it holds, as ``nonzero(as_tuple=True)``.

    >>> import flambeau as torch
    >>> x = torch.tensor([-1.0, 2.0])
    >>> torch.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    if input is None and other is None:
        if not isinstance(condition, Tensor):
            raise TypeError("where(): argument 'condition' (position 1) must be Tensor, not "
                            f"{type(condition).__name__}")
        return condition.nonzero(as_tuple=True)
    _check_where(condition, input, other)
    check_scalars((input, other), (input, other))
    return choose(condition, input, other)


@public("Tensor", name="where")
def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """This tensor's elements where ``condition`` holds, else those of ``other``."""
    _check_where(condition, self, other)
    check_scalars((other,), (self, other))
    return choose(condition, self, other)


# Masks


def _fill_masked(a: ndarray, mask: ndarray, value: ndarray) -> ndarray:
    return _select(mask, value, a)


MASKED_FILL = pointwise(
    "masked_fill", _fill_masked,
    (lambda g, mask: masked_fill(g, mask, 0), None,
     lambda g, mask: choose(mask, g, 0)),
    inputs=("input", "mask", "value"), places=None).op
MASKED_FILL.in_rows = True


def _fill_value(input: Tensor, value: Any) -> Any:
    """``value`` in the dtype of ``input``."""
    if isinstance(value, Tensor):
        if value._a.ndim:
            raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got "
                               f"tensor with {value._a.ndim} dimension(s).")
        check_held(value, input.dtype)
        return cast(value, input.dtype)
    if type(value) is float and input._a.dtype.kind == "f" and fits_all(value):
        return value
    return checked_number(value, input.dtype)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """A copy of ``input`` with ``value``, a number or 0-dim tensor, where ``mask`` holds.

    >>> import flambeau as torch
    >>> torch.zeros(2).masked_fill(torch.tensor([True, False]), 7)
    tensor([7., 0.])
    """
    if mask._a.dtype.kind != "b":
        if mask._a.dtype != np.uint8:
            name = {"Long": "long int", "Double": "double", "Float": "float"}
            title = mask.dtype.title
            raise RuntimeError("masked_fill_ only supports boolean masks, but got mask with "
                               f"dtype {name.get(title, title)}")
        mask = mask != 0
    value = _fill_value(input, value)
    operands = (input, mask, value)
    if any([isinstance(x, Tensor) and type(x._a) is not ndarray for x in operands]):
        return TRANSFORMS.process(MASKED_FILL, operands, {})
    a = input._a
    try:
        out = in_rows(_select(mask._a, _plain_array(value, a.dtype), a))
    except ValueError:
        broadcast(mask._a.shape, a.shape)
        raise
    wrapped = (input, mask, value if isinstance(value, Tensor) else Number(value))
    return finish(MASKED_FILL, wrapped, {}, out)


show(with_out(masked_fill), "masked_fill", "torch")
show(masked_fill, "masked_fill", "Tensor")


@public("Tensor")
def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Put ``value`` where ``mask``, broadcast to this tensor's shape, holds; in place."""
    if self._a.shape != mask._a.shape:
        broadcast(self._a.shape, mask._a.shape)
    return overwrite(self, lambda t: masked_fill(t, mask, value), (value,))


# Filling


def _spread(a: ndarray, value: ndarray) -> ndarray:
    return np.array(np.broadcast_to(value, broadcast(a.shape, value.shape)))


_fill_with_tensor = pointwise("fill_tensor", _spread, (zero_slope, lambda g: g), node="Fill",
                              inputs=("input", "value"), places=None)
_fill_with_number = pointwise("fill", lambda a, value: np.full_like(a, value), (zero_slope,),
                              params=("value",), places=None)


@public("torch")
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like ``input`` with ``value``, a number or 0-dim tensor, everywhere."""
    if isinstance(value, Tensor):
        if value._a.ndim:
            raise RuntimeError("fill_ only supports 0-dimension value tensor but got tensor with "
                               f"{value._a.ndim} dimensions.")
        return _fill_with_tensor(input, cast(value, input.dtype))
    return _fill_with_number(input, value=checked_array(value, input.dtype).item())


def quiet(t: Tensor) -> bool:
    """Whether ``t`` is a plain array whose change nobody records."""
    return type(t._a) is ndarray and (not MODES.grad or is_plain(t))


@public("Tensor", "torch")
def fill_(self: Tensor, value: Any) -> Tensor:
    """Put ``value``, a number or 0-dim tensor, everywhere; in place."""
    if type(value) is float and self._a.dtype.kind == "f" and fits_all(value) and quiet(self):
        store(self, value)
        return self
    return overwrite(self, lambda t: fill(t, value), (value,), reads=False)


@public("Tensor", "torch")
def zero_(self: Tensor) -> Tensor:
    """Put zeros everywhere, in place."""
    if quiet(self):
        if self._a.flags.c_contiguous and self._a.flags.writeable:
            if self._a.size < LARGE or not conversions.write(self._a, 0):
                self._a.fill(0)
            bump(self)
        else:
            store(self, 0)
        return self
    return overwrite(self, zero_slope, reads=False)


__all__ = ["WHERE", "choose", "fill", "fill_", "masked_fill", "masked_fill_", "quiet", "where",
           "zero_"]
