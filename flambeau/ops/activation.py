"""Activation functions: relu and its kin, gelu, silu, softplus, shrinking, gating."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from flambeau.backends import fused
from flambeau.backends.fused import ON_ARRAYS as ON_ARRAYS
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.inplace import overwrite
from flambeau.core.kinds import composite, pointwise
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.pointwise import unary_entry
from flambeau.core.promote import checked_number, number_array
from flambeau.core.tensor import Tensor, wrap
from flambeau.core.written import written
from flambeau.ops.arithmetic import conj_of, zero_slope
from flambeau.ops.where import where

ndarray = np.ndarray
FUNCTIONAL = "nn.functional"
ZEROS = {np.dtype(d): np.zeros((), d) for d in (np.float32, np.float64)}
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

# The same formula serves arrays, kernels and tensors: the functions of tensors that it may use.
ON_TENSORS = SimpleNamespace(
    abs=lambda t: t.abs(),
    conj=conj_of,
    normal_cdf=lambda t: 0.5 * (1 + (t * math.sqrt(0.5)).erf()),
    normal_density=lambda t: (-0.5 * (t * t)).exp() * (1 / math.sqrt(2 * math.pi)),
    exp=lambda t: t.exp(),
    expm1=lambda t: t.expm1(),
    log=lambda t: t.log(),
    log1p=lambda t: t.log1p(),
    tanh=lambda t: t.tanh(),
    erf=lambda t: t.erf(),
    where=where,
    clip=lambda t, low, high: t.clamp(low, high),
    sign=lambda t: t.sign(),
    sigmoid=lambda t: t.sigmoid(),
    softplus=lambda t: softplus(t, 1, math.inf),
)


def require_tensor(name: str, value: Any, argument: str = "input", position: int = 1) -> Any:
    """The array of ``value``; TypeError where it is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be Tensor, "
            f"not {type(value).__name__}"
        )
    return value._a


def require_float(name: str, kernel: str, input: Any, complex: bool = False) -> None:
    """Raise where ``input`` is no tensor of a floating (or complex) dtype."""
    held = FROM_NUMPY[require_tensor(name, input).dtype]
    if held.category != dtypes.FLOAT and not (complex and held.is_complex):
        raise not_implemented(kernel, input)


def not_implemented(kernel: str, input: Tensor) -> NotImplementedError:
    """PyTorch's error for a dtype that a kernel lacks."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{input.dtype.title}'")


def run(op: Op, input: Tensor, params: dict[str, Any], inplace: bool) -> Tensor:
    """``op`` on ``input``, overwriting it where ``inplace``."""
    if inplace:
        if written(op, input, (input,), params):
            return input
        return overwrite(input, lambda t: apply(op, (t,), params))
    return apply(op, (input,), params)


def quick(op: Op, g: Tensor, x: Tensor, **params: Any) -> Tensor:
    """``op`` on a gradient and a saved tensor; straight to the arrays where nothing records."""
    a, b = g._a, x._a
    if MODES.grad or type(a) is not ndarray or type(b) is not ndarray or a.dtype.itemsize < 4:
        return apply(op, (g, x), params)
    return wrap(np.asarray(op.forward(a, b, **params)))


def declare(
    name: str,
    forward: Callable,
    grad: Callable,
    params: tuple[str, ...] = (),
    node: str | None = None,
) -> Op:
    """A pointwise operator without a public name of its own."""
    return pointwise(name, forward, (grad,), params=params, node=node, places=None).op


TIED = pointwise("tied", lambda a, x: a.copy(), (lambda g: g, zero_slope), inputs=("grad", "input"),
                 places=None).op


def _of_curved(slope: Callable, g: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return slope(ON_TENSORS, g, *args, **kwargs)  # type: ignore[no-any-return]


def _of_straight(slope: Callable, g: Tensor, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _tied(slope(ON_TENSORS, g, input, *args, **kwargs), input)


def _tied(found: Tensor, input: Tensor) -> Tensor:
    """``found``, with zeros for ``input`` as its gradient where that is recorded."""
    return apply(TIED, (found, input)) if MODES.grad and input._node is not None else found


def activation(
    name: str,
    value: Callable,
    slope: Callable,
    params: tuple[str, ...] = (),
    node: str | None = None,
    straight: bool = False,
) -> Op:
    """A pointwise operator of one input from two formulas that serve arrays, kernels and tensors.

    ``value(on, x, *params)``; ``slope(on, g, ...)`` names what it needs as other formulas do. One
    that is ``straight`` is made of straight lines: the slope of its slope is zero, not missing.
    """
    tensors: Any = functools.partial(_of_straight if straight else _of_curved, slope)
    arrays: Any = fused.forward(slope)
    code = slope.__code__
    for formula in (tensors, arrays):
        formula.names = code.co_varnames[2 : code.co_argcount]
    op = declare(name, fused.forward(value), tensors, params, node)
    op.on_arrays(arrays)
    return op


def in_place(function: Callable, name: str, *places: str) -> None:
    """Show ``function`` with ``inplace=True`` as ``name`` in ``places``."""

    def twin(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, inplace=True, **kwargs)

    twin.__name__ = twin.__qualname__ = name
    twin.__doc__ = f"In-place version of ``{name.removesuffix('_')}``."
    twin.pure = function  # type: ignore[attr-defined]
    show(twin, name, *places)


# relu: zero where the result is, also of an infinite gradient


def _zero_where_low(g: ndarray, x: ndarray, threshold: float) -> ndarray:
    if g.size >= fused.MIN_ITEMS:
        found = fused.pointwise(_zero_below, (g, x, threshold))
        if found is not None:
            return found
    zero = ZEROS.get(g.dtype)
    return np.where(x <= threshold, g.dtype.type(0) if zero is None else zero, g)


def _zero_below(on: Any, g: Any, x: Any, threshold: Any) -> Any:
    return on.where(x <= threshold, 0.0, g)


THRESHOLD_BACKWARD: Op = pointwise(
    "threshold_backward",
    _zero_where_low,
    (lambda g, input, threshold: quick(THRESHOLD_BACKWARD, g, input, threshold=threshold),
     zero_slope),
    inputs=("grad", "input"),
    params=("threshold",),
    places=None,
    node="ThresholdBackward",
).op


def _relu_forward(x: ndarray, out: Any = None) -> ndarray:
    return np.maximum(x, ZEROS.get(x.dtype, 0), out=out)


RELU = declare("relu", _relu_forward, lambda g, out: quick(THRESHOLD_BACKWARD, g, out, threshold=0))
_relu_floats = unary_entry(RELU, _relu_forward)


def _relu(input: Tensor) -> Tensor:
    """max(input, 0), elementwise.

    >>> import flambeau as torch
    >>> torch.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    try:
        kind = input._a.dtype.kind
    except AttributeError:
        require_tensor("relu", input)
        raise
    if kind == "b":
        raise RuntimeError("Boolean inputs not supported for relu")
    if kind == "c":
        raise NotImplementedError("clamp is not supported for complex types")
    return _relu_floats(input)


_relu.__name__ = _relu.__qualname__ = "relu"
show(_relu, "relu", "torch", "Tensor")


@public(FUNCTIONAL)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise; ``inplace`` overwrites the input."""
    if not inplace:
        return _relu(input)
    return input if written(RELU, input, (input,)) else overwrite(input, _relu)


in_place(relu, "relu_", "torch", "Tensor", FUNCTIONAL)

THRESHOLD = declare(
    "threshold",
    fused.forward(lambda on, x, threshold, value: on.where(x <= threshold, value, x)),
    lambda g, input, threshold: quick(THRESHOLD_BACKWARD, g, input, threshold=threshold),
    ("threshold", "value"),
)


@public("torch", FUNCTIONAL, out=True)
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``input`` where it is greater than ``threshold``, else ``value``."""
    if require_tensor("threshold", input).dtype.kind in "bc":
        raise not_implemented("threshold_cpu", input)
    numbers = {"threshold": _held_number(threshold, input), "value": _held_number(value, input)}
    return run(THRESHOLD, input, numbers, inplace)


def _held_number(x: Any, like: Tensor) -> Any:
    """The number ``x`` (which may be in a tensor) as the dtype of ``like`` holds it."""
    number = checked_number(x.item() if isinstance(x, Tensor) else x, like.dtype)
    whole = like.dtype.category == dtypes.INT
    return number_array(number, like.dtype.np).item() if whole else number


in_place(threshold, "threshold_", "torch", FUNCTIONAL)

LEAKY_RELU = activation(
    "leaky_relu",
    lambda on, x, negative_slope: on.where(x > 0, x, x * negative_slope),
    lambda on, g, input, negative_slope: on.where(input > 0, g, g * negative_slope),
    ("negative_slope",),
    straight=True,
)


@public(FUNCTIONAL, out=True)
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``input`` where positive, else ``negative_slope * input``."""
    require_float("leaky_relu", "leaky_relu_cpu", input)
    return run(LEAKY_RELU, input, {"negative_slope": negative_slope}, inplace)


in_place(leaky_relu, "leaky_relu_", FUNCTIONAL)


PRELU_SLOPE = composite(
    "prelu_slope", lambda g, input, weight: where(input > 0, g, g * weight),
    fused.forward(lambda on, g, input, weight: on.where(input > 0, g, g * weight)),
    inputs=("grad", "input", "weight"))
PRELU_WEIGHT_SLOPE = composite(
    "prelu_weight_slope", lambda g, input: where(input > 0, 0.0, g * input),
    fused.forward(lambda on, g, input: on.where(input > 0, 0.0, g * input)),
    inputs=("grad", "input"))
PRELU = pointwise(
    "prelu",
    fused.forward(lambda on, x, w: on.where(x > 0, x, x * w)),
    (lambda g, input, weight: _tied(apply(PRELU_SLOPE, (g, input, weight)), input),
     lambda g, input: apply(PRELU_WEIGHT_SLOPE, (g, input))),
    inputs=("input", "weight"),
    node="PreluKernel",
    places=None,
).op


@public("torch", "Tensor", FUNCTIONAL)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """``input`` where positive, else ``weight * input``; one weight, or one per channel (dim 1)."""
    require_tensor("prelu", input)
    require_tensor("prelu", weight, "weight", 2)
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype.title} and {weight.dtype.title}"
        )
    require_float("prelu", "prelu_cpu", input)
    rank, count = input._a.ndim, weight._a.size
    if count != 1:
        if not rank:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input._a.shape[1] if rank > 1 else 1
        if channels != count:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found "
                f"parameter numbers = {count} and channel size = {channels}."
            )
    if weight._a.ndim > 1:
        raise RuntimeError(
            "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim "
            f"= {weight._a.ndim}"
        )
    shape = [count if i == 1 else 1 for i in range(rank)] if count != 1 else [1] * rank
    return apply(PRELU, (input, weight.reshape(shape)))


# elu, selu, celu: one formula


def _elu_value(on: Any, x: Any, alpha: Any, scale: Any, input_scale: Any) -> Any:
    low = on.expm1(on.clip(x, None, 0.0) * input_scale) * (alpha * scale)
    return on.where(x <= 0, low, x * scale)


def _elu_slope(on: Any, g: Any, input: Any, alpha: Any, scale: Any, input_scale: Any) -> Any:
    low = on.exp(on.clip(input, None, 0.0) * input_scale) * (alpha * scale * input_scale)
    return on.where(input <= 0, g * low, g * scale)


_ELU_PARAMS = ("alpha", "scale", "input_scale")
ELU = activation("elu", _elu_value, _elu_slope, _ELU_PARAMS)
CELU = activation("celu", _elu_value, _elu_slope, _ELU_PARAMS)


@public(FUNCTIONAL, out=True)
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` where positive, else ``alpha * (exp(input) - 1)`` (arXiv:1511.07289)."""
    require_float("elu", "elu_cpu", input)
    return run(ELU, input, {"alpha": alpha, "scale": 1.0, "input_scale": 1.0}, inplace)


@public("torch", FUNCTIONAL)
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu scaled to keep mean 0 and variance 1 (arXiv:1706.02515)."""
    require_float("selu", "elu_cpu", input)
    params = {"alpha": SELU_ALPHA, "scale": SELU_SCALE, "input_scale": 1.0}
    return run(ELU, input, params, inplace)


@public("torch", FUNCTIONAL)
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`` (arXiv:1704.07483)."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    require_float("celu", "elu_cpu", input)
    return run(CELU, input, {"alpha": alpha, "scale": 1.0, "input_scale": 1.0 / alpha}, inplace)


in_place(elu, "elu_", FUNCTIONAL)
in_place(selu, "selu_", "torch", FUNCTIONAL)
in_place(celu, "celu_", "torch", FUNCTIONAL)

# gelu and silu have their slopes computed in one go, too

_GELU_INNER = math.sqrt(2 / math.pi)
_GELU_CUBE = 0.044715


def _gelu_value(on: Any, x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + on.tanh(_GELU_INNER * (x + _GELU_CUBE * (x * x * x))))
    return x * on.normal_cdf(x)


def _gelu_slope(on: Any, g: Any, x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        square = x * x
        t = on.tanh(_GELU_INNER * (x + _GELU_CUBE * (square * x)))
        inner = _GELU_INNER * (1 + 3 * _GELU_CUBE * square)
        return g * (0.5 * (1 + t) + 0.5 * x * ((1 - t * t) * inner))
    return g * (on.normal_cdf(x) + x * on.normal_density(x))


GELU_BACKWARD = composite(
    "gelu_backward",
    functools.partial(_gelu_slope, ON_TENSORS),
    fused.forward(_gelu_slope),
    inputs=("grad", "input"),
    params=("approximate",),
    node="GeluBackward",
)
GELU = composite(
    "gelu",
    functools.partial(_gelu_value, ON_TENSORS),
    fused.forward(_gelu_value),
    grads=(lambda g, input, approximate: quick(GELU_BACKWARD, g, input, approximate=approximate),),
    inputs=("input",),
    params=("approximate",),
)


@public(FUNCTIONAL, out=True)
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """``x * Phi(x)``, Phi the normal distribution function (arXiv:1606.08415).

    ``approximate="tanh"`` uses the paper's formula with tanh in place of erf.

    >>> import flambeau as torch
    >>> torch.nn.functional.gelu(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8413])
    """
    require_float("gelu", "GeluKernelImpl", input)
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return apply(GELU, (input,), {"approximate": approximate})


def _silu_slope(on: Any, g: Any, x: Any) -> Any:
    s = on.sigmoid(x)
    return g * on.conj(s * (1 + x * (1 - s)))


SILU_BACKWARD = composite(
    "silu_backward",
    functools.partial(_silu_slope, ON_TENSORS),
    fused.forward(_silu_slope),
    inputs=("grad", "input"),
    node="SiluBackward",
)
SILU = declare(
    "silu",
    fused.forward(lambda on, x: x / (1 + on.exp(-x))),
    lambda g, input: quick(SILU_BACKWARD, g, input),
)


@public(FUNCTIONAL)
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    require_float("silu", "silu_cpu", input, complex=True)
    return run(SILU, input, {}, inplace)


def _mish_slope(on: Any, g: Any, input: Any) -> Any:
    t = on.tanh(on.softplus(input))
    return g * (t + input * on.sigmoid(input) * (1 - t * t))


MISH = activation("mish", lambda on, x: x * on.tanh(on.softplus(x)), _mish_slope)


@public(FUNCTIONAL)
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * tanh(softplus(x))`` (arXiv:1908.08681)."""
    require_float("mish", "mish_cpu", input)
    return run(MISH, input, {}, inplace)


def _softplus_value(on: Any, x: Any, beta: Any, threshold: Any) -> Any:
    z = x * beta
    return on.where(z > threshold, x, on.softplus(z) / beta)


def _softplus_slope(on: Any, g: Any, input: Any, beta: Any, threshold: Any) -> Any:
    z = input * beta
    return on.where(z > threshold, g, g * on.sigmoid(z))


SOFTPLUS = activation("softplus", _softplus_value, _softplus_slope, ("beta", "threshold"))


@public(FUNCTIONAL, out=True)
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """``log(1 + exp(beta * x)) / beta``; the input itself where ``beta * x > threshold``."""
    require_float("softplus", "softplus_cpu", input)
    return apply(SOFTPLUS, (input,), {"beta": beta, "threshold": threshold})


LOGSIGMOID = activation(
    "logsigmoid",
    lambda on, x: -on.softplus(-x),
    lambda on, g, input: g * on.sigmoid(-input),
    node="LogSigmoid",
)
LOGSIGMOID.in_rows, LOGSIGMOID.as_operands = True, False


@public(FUNCTIONAL, out=True)
def logsigmoid(input: Tensor) -> Tensor:
    """``log(1 / (1 + exp(-x)))``, without overflow."""
    require_float("logsigmoid", "log_sigmoid_cpu", input)
    return apply(LOGSIGMOID, (input,))


@public(FUNCTIONAL)
def softsign(input: Tensor) -> Tensor:
    """``x / (1 + |x|)``."""
    if require_tensor("softsign", input).dtype.kind == "b":
        raise not_implemented("abs_cpu", input)
    return input / (input.abs() + 1)


@public(FUNCTIONAL)
def tanhshrink(input: Tensor) -> Tensor:
    """``x - tanh(x)``."""
    return input - input.tanh()
