"""Complex numbers: their parts, conjugates, magnitudes and views."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import fused, large
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.inplace import write_out
from flambeau.core.kinds import pointwise, view
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import PAIR, conj_of, zero_slope
from flambeau.ops.where import choose

ndarray = np.ndarray


def is_complex_array(t: Tensor) -> bool:
    """Whether a tensor's dtype is complex."""
    return t._a.dtype.kind == "c"


# Conjugates


_conj_physical = pointwise("conj_physical", np.conjugate, (lambda g: conj_of(g),), places=None)
_conj = pointwise("conj", np.conjugate, (lambda g: conj_of(g),), places=None)


@public("torch", "Tensor", out=True, inplace=True)
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate; real tensors as they are."""
    return _conj_physical(input) if is_complex_array(input) else input


_shown: Any = conj_physical
show(_shown.__wrapped__, "conj_physical", "Tensor")
show(Tensor.conj_physical_, "conj_physical_", "torch")  # type: ignore[attr-defined]


@public()
def conj(input: Tensor) -> Tensor:
    """The complex conjugate, computed at once; real tensors as they are.

    >>> import flambeau as torch
    >>> torch.tensor([1 + 2j]).conj()
    tensor([1.-2.j])
    """
    return _conj(input) if is_complex_array(input) else input


@public()
def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed at once."""
    return False


@public()
def is_neg(input: Tensor) -> bool:
    """False: negatives are computed at once."""
    return False


@public()
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates are computed at once."""
    return input


@public()
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: negatives are computed at once."""
    return input


# Magnitude and direction


def _direction(on: Any, x: Any) -> Any:
    return on.sign(x)


def _sgn(x: ndarray, out: Any = ...) -> ndarray:
    if x.dtype.kind == "b":
        return x.copy()
    if x.size >= fused.MIN_ITEMS and out is ...:
        found = fused.pointwise(_direction, (x,))
        if found is not None:
            return found
    if x.dtype.kind == "f":
        return np.subtract(x > 0, x < 0, out=out, dtype=x.dtype)
    return np.sign(x, out=out)


def _sgn_grad(g: Any, input: Any, out: Any) -> Any:
    if not is_complex_array(input):
        return zero_slope(g)
    size = input.abs()
    along = (conj_of(out) * g).real
    return ((g - along * out) / size).masked_fill(size == 0, 0)


_sgn.formula = _direction  # type: ignore[attr-defined]
# The slope of a complex number's direction is its own adjoint.
sgn = pointwise("sgn", _sgn, (_sgn_grad,), quick=True,
                jvp=lambda tangents, out, input: _sgn_grad(tangents[0], input, out))
sign = pointwise("sign", _sgn, (zero_slope,), quick=True, refuses={"c": NotImplementedError(
    "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn "
    "instead.")})
abs = pointwise("abs", np.absolute, (lambda g, input: g * sgn(input),), result="real",
                aliases=("absolute",), refuses={"b": "abs_cpu"})
Tensor.__abs__ = abs  # type: ignore[attr-defined]


def _angle(x: ndarray) -> ndarray:
    if x.dtype.kind == "c":
        found = large.pointwise("atan2", x.imag, x.real)
        return np.arctan2(x.imag, x.real, out=...) if found is None else found
    zero = x * 0 if x.dtype.kind == "f" else np.zeros(x.shape, x.dtype)
    return np.where(x < 0, np.asarray(np.pi, x.dtype), np.where(np.isnan(x), x, np.abs(zero)))


def _angle_grad(g: Any, input: Any) -> Any:
    if not is_complex_array(input):
        return zero_slope(g)
    size = input.abs()
    return (g * 1j * input / (size * size)).masked_fill(size == 0, 0)


_angle_op = pointwise("angle", _angle, (_angle_grad,), result="real", places=None)


@public(out=True)
def angle(input: Tensor) -> Tensor:
    """The angle of each number in radians: 0 or pi of real ones."""
    if input._a.dtype.kind in "biu":
        input = input * 1.0
    return _angle_op(input)


# Parts, as views


REAL = view("real", lambda a: a.real, lambda g: g, node="Select")
IMAG = view("imag", lambda a: a.imag, lambda g: g * 1j, node="Select")


def real(input: Tensor) -> Tensor:
    """The real part, a view; real tensors as they are."""
    return apply(REAL, (input,), {}) if is_complex_array(input) else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part, a view; RuntimeError for real tensors."""
    if not is_complex_array(input):
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return apply(IMAG, (input,), {})


def _part(function: Any) -> property:
    def change(self: Tensor, value: Any) -> None:
        target = function(self)
        if isinstance(value, Tensor):
            target.copy_(value)
        else:
            target.fill_(value)

    return property(function, change, doc=function.__doc__)


show(real, "real", "torch")
show(imag, "imag", "torch")
show(_part(real), "real", "Tensor")
show(_part(imag), "imag", "Tensor")


def _pairs(a: ndarray) -> ndarray:
    part = a.real
    return np.lib.stride_tricks.as_strided(part, (*a.shape, 2), (*a.strides, part.itemsize))


VIEW_AS_REAL = view("view_as_real", _pairs, lambda g: view_as_complex(g.contiguous()))
VIEW_AS_COMPLEX = view("view_as_complex",
                       lambda a: a.view(FROM_NUMPY[a.dtype].to_complex().np)[..., 0],
                       lambda g: view_as_real(g))


@public("torch")
def view_as_real(input: Tensor) -> Tensor:
    """A view of complex numbers as pairs, in a last dimension of size 2.

    >>> import flambeau as torch
    >>> torch.view_as_real(torch.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    if not is_complex_array(input):
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return apply(VIEW_AS_REAL, (input,), {})


@public("torch")
def view_as_complex(input: Tensor) -> Tensor:
    """A view of pairs, the last dimension, as complex numbers."""
    a = input._a
    if a.dtype not in (np.float32, np.float64):
        raise RuntimeError("view_as_complex is only supported for half, float and double tensors, "
                           f"but got a tensor of scalar type: {input.dtype.title}")
    if not a.ndim:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if a.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if a.strides[-1] != a.itemsize:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % (2 * a.itemsize) for s in a.strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    return apply(VIEW_AS_COMPLEX, (input,), {})


# Complex numbers from parts


def _complex(re: ndarray, im: ndarray) -> ndarray:
    held = FROM_NUMPY[re.dtype].to_complex().np
    out = np.empty(np.broadcast_shapes(re.shape, im.shape), held)
    out.real, out.imag = re, im
    return out


def _polar(size: ndarray, angle: ndarray) -> ndarray:
    return _complex(size * np.cos(angle), size * np.sin(angle))


def _check_parts(first: Any, second: Any, names: tuple[str, str], title: str) -> None:
    for at, (x, name) in enumerate(zip((first, second), names)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{title}(): argument '{name}' (position {at + 1}) must be Tensor, "
                            f"not {type(x).__name__}")
    have, other = FROM_NUMPY[first._a.dtype], FROM_NUMPY[second._a.dtype]
    if not (have.is_floating_point and other.is_floating_point):
        raise RuntimeError("Expected both inputs to be Half, Float or Double tensors but got "
                           f"{have.title} and {other.title}")
    if have is not other:
        raise RuntimeError(f"Expected object of scalar type {have.title} but got scalar type "
                           f"{other.title} for second argument")


def _complex_tangent(tangents: Any, out: Any, real: Any, imag: Any) -> Any:
    re, im = [zero_slope(x) if t is None else t for t, x in zip(tangents, (real, imag))]
    return _complex_op(re, im)


def _polar_tangent(tangents: Any, out: Any, abs: Any, angle: Any) -> Any:
    grown, turned = tangents
    parts = []
    if grown is not None:
        parts.append(grown * _polar_op(zero_slope(abs) + 1, angle))
    if turned is not None:
        parts.append(turned * out * 1j)
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


_complex_op = pointwise("complex", _complex, (lambda g: real(g), lambda g: imag(g)),
                        inputs=("real", "imag"), result="any", places=None, jvp=_complex_tangent)
_polar_op = pointwise(
    "polar", _polar,
    (lambda g, abs, angle: g.real * angle.cos() + g.imag * angle.sin(),
     lambda g, abs, angle: abs * (g.imag * angle.cos() - g.real * angle.sin())),
    inputs=("abs", "angle"), result="any", places=None, jvp=_polar_tangent)


def _written(name: str, result: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return result
    if out._a.dtype != result._a.dtype:
        raise RuntimeError(f"Expected object of scalar type {result.dtype.title} but got scalar "
                           f"type {out.dtype.title} for argument 'out'")
    return write_out(name, out, result)


@public("torch", name="complex")
def complex_(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex numbers of these real and imaginary parts."""
    _check_parts(real, imag, ("real", "imag"), "complex")
    return _written("complex", _complex_op(real, imag), out)


@public("torch")
def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex numbers of these magnitudes and angles."""
    _check_parts(abs, angle, ("abs", "angle"), "polar")
    return _written("polar", _polar_op(abs, angle), out)


__all__ = ["PAIR", "abs", "angle", "choose", "conj", "imag", "is_complex_array",
           "polar", "real", "sgn", "sign", "view_as_complex", "view_as_real"]
